"""SeeSR's networks run the plain way: stock diffusers models that compute everything at each call.

An image transformer is called behind each text transformer; the conditions travel as a pair.
"""

from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from seesr_fixtures import weights
from torch import nn


class TextThenImage(Transformer2DModel):
    """A text transformer that knows the image transformer behind it."""

    def forward(self, hidden_states: Any, encoder_hidden_states: Any = None, **rest: Any) -> Any:
        text, image = encoder_hidden_states
        rest["return_dict"] = False
        (hidden,) = super().forward(hidden_states, encoder_hidden_states=text, **rest)
        return self.behind[0](hidden, encoder_hidden_states=image, **rest)


def stock(letter: str) -> tuple[Any, Any]:
    """UNet and ControlNet with the golden weights of a letter."""
    return _filled(UNet2DConditionModel, f"unet_{letter}"), _filled(ControlNetModel, f"controlnet_{letter}")


def stock_step(
    networks: tuple[Any, Any], latent: Any, control_image: Any, step: tuple[int, Any, Any], scale: float
) -> Any:
    """The predicted noise; `step` is the timestep, and text and image embeddings, all of as many rows as the latent."""
    unet, controlnet = networks
    timestep, *states = step
    given = {"encoder_hidden_states": tuple(states), "return_dict": False}
    down, mid = controlnet(latent, timestep, controlnet_cond=control_image, conditioning_scale=scale, **given)
    added = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    return unet(latent, timestep, **given, **added)[0]


def _filled(kind: Any, name: str) -> Any:
    config, tensors = weights(name)
    model = kind(**{key: value for key, value in config.items() if key != "use_image_cross_attention"})
    for block in [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", [])]:
        if getattr(block, "has_cross_attention", False):
            texts = block.attentions
            block.image_attentions = nn.ModuleList(Transformer2DModel(**_settings(text)) for text in texts)
            for text, image in zip(texts, block.image_attentions, strict=True):
                text.__class__, text.behind = TextThenImage, (image,)  # in a tuple: names stay the checkpoint's
    model.load_state_dict(tensors, strict=True)
    return model.eval().requires_grad_(False)


def _settings(text: Any) -> dict[str, Any]:
    return {key: value for key, value in text.config.items() if key[0] != "_"} | {"cross_attention_dim": 512}
