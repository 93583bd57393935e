"""SeeSR's ControlNet, and one prediction of noise by both of its networks.

Its embedding of the control image is made once for all steps.
"""

from typing import Any

from torch import Tensor

from ...stable_diffusion.networks.denoiser import Conditioning, DenoisingNetwork, UNet


class ControlNet(DenoisingNetwork):
    """SeeSR's ControlNet: a second down path that sees the control image, and whose outputs are added to the UNet's.

    Args:
        model: a stock ControlNetModel with image transformers, see `stock.load_controlnet`; its modules are taken over.
        scale: the weight of its outputs (`conditioning_scale` of a recipe).
    """

    def __init__(self, model: Any, scale: float) -> None:
        super().__init__(model)
        self.embedding, self.scale = model.controlnet_cond_embedding, scale
        self.outputs, self.middle_output = model.controlnet_down_blocks, model.controlnet_mid_block

    def forward(self, latent: Tensor, control: Tensor, conditioning: Conditioning) -> list[Tensor]:
        """Residuals for the UNet, the middle's last.

        Args:
            latent: (B, 4, h, w).
            control: (B, C, h, w), from `embedding` of the control image (B, 3, 8·h, 8·w) in [0, 1].
            conditioning: of B rows, or of 2·B with the negative prompts' first.
        """
        hidden, skips = self.descend(self.conv_in(latent) + control, conditioning)
        found = [output(skip) for output, skip in zip(self.outputs, skips, strict=True)] + [self.middle_output(hidden)]
        return found if self.scale == 1 else [each * self.scale for each in found]


def predict_noise(
    unet: UNet,
    controlnet: ControlNet,
    latent: Tensor,
    control: Tensor,
    conditioning: tuple[Conditioning, Conditioning],
    guidance: float,
) -> Tensor:
    """The noise in a latent, guided if the conditioning has two rows for each row of the latent.

    Args:
        unet: and `controlnet`, on one device, in one dtype.
        latent: float32 (B, 4, h, w).
        control: see `ControlNet.forward`.
        conditioning: of the UNet and of the ControlNet.
        guidance: how far to go from the negative prompt's prediction towards the positive one's, and beyond.

    Returns:
        float32 (B, 4, h, w).
    """
    ready = latent.to(control.dtype)
    noise = unet(ready, conditioning[0], controlnet(ready, control, conditioning[1])).float()
    if noise.shape[0] == latent.shape[0]:
        return noise  # type: ignore[no-any-return]
    negative, positive = noise.chunk(2)
    return negative + guidance * (positive - negative)  # type: ignore[no-any-return]
