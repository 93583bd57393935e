"""The reference way: SeeSR's networks as its authors' program runs them, for comparison.

diffusers' own modules, image by image, eager; with guidance two rows of everything; at each step the time, the keys
and values and the control image's embedding anew; latent tiles one by one; the tagger's Swin twice. The weights and
the arithmetic of a step are those of the project's own way, so that only the way of computing differs.
"""

from typing import Any

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from srcache_plugins.seesr.loading import Networks
from srcache_plugins.seesr.sampling.schedule import Schedule
from srcache_plugins.stable_diffusion.colorfix import adain
from srcache_plugins.stable_diffusion.windows import Windows
from torch import Tensor

from benchmarks.seesr_full import StockNetworks


class TextThenImage(Transformer2DModel):  # type: ignore[misc]
    """A text transformer that hands its result to the image transformer behind it; it gets both embeddings."""

    def forward(self, hidden: Tensor, encoder_hidden_states: Any = None, **others: Any) -> Any:
        """As Transformer2DModel, with a pair of embeddings."""
        text, image = encoder_hidden_states
        others.pop("return_dict", None)
        (hidden,) = super().forward(hidden, encoder_hidden_states=text, return_dict=False, **others)
        return self.mate[0](hidden, encoder_hidden_states=image, return_dict=False, **others)


def chain_transformers(stock: StockNetworks) -> StockNetworks:
    """The same modules, each text transformer followed by its image transformer."""
    for model in (stock.unet, stock.controlnet):
        for block in [*model.down_blocks, model.mid_block, *getattr(model, "up_blocks", [])]:
            if getattr(block, "has_cross_attention", False):
                for text, image in zip(block.attentions, block.image_attentions, strict=True):
                    text.__class__, text.mate = TextThenImage, (image,)  # in a tuple: no second place for its weights
    return stock


def predict(
    stock: StockNetworks,
    latent: Tensor,
    control_image: Tensor,
    states: tuple[Tensor, Tensor],
    time: Tensor,
    guidance: float,
) -> Tensor:
    """The noise in one latent (1, 4, h, w), float32.

    Args:
        stock: from `chain_transformers`.
        latent: float32.
        control_image: float32 (1, 3, 8·h, 8·w) in [0, 1].
        states: embeddings of text, a row each for the negative and the positive prompt if guided, and of the image.
        time: the timestep, an integer tensor on the device.
        guidance: guided above 1.
    """
    text, images = states
    rows, dtype = len(text), text.dtype
    doubled = latent.to(dtype).expand(rows, -1, -1, -1)
    given = {"encoder_hidden_states": (text, images.expand(rows, -1, -1)), "return_dict": False}
    control = control_image.to(dtype).expand(rows, -1, -1, -1)
    down, middle = stock.controlnet(doubled, time, controlnet_cond=control, conditioning_scale=1.0, **given)
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    noise: Tensor = stock.unet(doubled, time, **given, **residuals)[0].float()
    if rows == 1:
        return noise
    negative, positive = noise.chunk(2)
    return negative + guidance * (positive - negative)


def sample(
    stock: StockNetworks,
    schedule: Schedule,
    guidance: float,
    conditions: tuple[Tensor, tuple[Tensor, Tensor]],
    start: Tensor,
    windows: Windows | None,
) -> Tensor:
    """One latent through all steps; `conditions` is the control image and the embeddings, see `predict`."""
    control_image, states = conditions
    latent = start
    times = torch.tensor([step.timestep for step in schedule.steps], device=latent.device)
    for time, step in zip(times, schedule.steps, strict=True):
        if windows is None:
            noise = predict(stock, latent, control_image, states, time, guidance)
        else:
            pairs = zip(windows.cut(latent), windows.cut(control_image, 8), strict=True)
            found = [predict(stock, one[None], seen[None], states, time, guidance) for one, seen in pairs]
            noise = windows.averaged(torch.cat(found), *latent.shape[-2:])
        latent = latent * step.keep + noise * step.remove + torch.randn_like(latent) * step.add
    return latent


def upscale_image(
    stock: StockNetworks, networks: Networks, schedule: Schedule, guidance: float, lr: Tensor, windows: Windows | None
) -> Tensor:
    """One square image (1, 3, H, W) float32 in [0, 1] → uint8, four times as large, as upstream makes it."""
    control = torch.nn.functional.interpolate(lr, scale_factor=4, mode="bicubic").clamp(0, 1)
    tagger, dtype = networks.tagger, networks.unet.conv_in.weight.dtype
    tags, embeds = tagger(lr)
    tagger.network.embeds(tagger.prepared(lr))
    prompts = [
        f"negative {torch.rand(1)}",
        f"{tags[0]} {torch.rand(1)}",
    ]  # new words, so that no embedding has been kept
    text = networks.text.encode(prompts if guidance > 1 else prompts[1:])
    encoded = networks.vae.encode((control * 2 - 1).expand(len(text), -1, -1, -1))[:1, :4]
    start = schedule.start_latent(encoded * networks.vae.scaling_factor, torch.randn_like(encoded))
    latent = sample(stock, schedule, guidance, (control, (text, embeds.to(dtype))), start, windows)
    decoded = networks.vae.decode(latent / networks.vae.scaling_factor)
    return adain(*((each.clamp(0, 1) * 255).round().to(torch.uint8) for each in (decoded / 2 + 0.5, control)))
