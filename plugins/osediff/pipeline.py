"""OSEDiff from LR images to SR images: tag the enlarged image, encode it, take one step, decode.

What its authors' program does, quirks included: the tagger sees the image that the networks see, that image's last
resize is Lanczos', the VAE's posterior is sampled, and what is decoded is truncated to 8 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..stable_diffusion import pipeline as shared
from ..stable_diffusion.geometry import CELL
from ..stable_diffusion.networks.text import prompt_text
from ..stable_diffusion.one_call import OneCall
from ..stable_diffusion.pipeline import Latents, Prepared
from ..stable_diffusion.windows import Windows
from .loading import Networks
from .step import TIME, make_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(shared.Settings):
    """As the shared ones; `posterior` is whether its `sample` or its `mean` is taken."""

    posterior: str = "sample"


class Pipeline(shared.Pipeline):
    """OSEDiff with its networks loaded: LR images → SR images; arguments as the shared one has them."""

    last_resize = "lanczos"
    networks: Networks
    settings: Settings

    def open_inner(self) -> OneCall:
        """The UNet's prediction at the time of the step."""
        self.step = make_step(self.networks.scheduler)
        return OneCall(self.networks.unet, TIME)

    def latents(self, prepared: Prepared, control: Tensor, seeds: Sequence[int], windows: Windows | None) -> Latents:
        """The latents of a batch; arguments as in the shared pipeline."""
        seen = control.float() / 255
        tags, _ = self.networks.tagger(seen)
        prompts = [prompt_text(each, self.settings.prompt) for each in tags]
        vae, text = self.networks.vae, self.networks.text.encode(prompts)
        noise = self.noise(seeds, (control.shape[-2] // CELL, control.shape[-1] // CELL))
        latent = self.encode(seen, noise.draw_posterior() if self.settings.posterior == "sample" else None)
        clean = self.step.clean_latent(latent, self.inner.predicted(latent, text, windows)) / vae.scaling_factor
        return Latents(clean, [{"tags": one, "prompt": other} for one, other in zip(tags, prompts, strict=True)])

    def levels(self, decoded: Tensor) -> Tensor:
        """A decoded image in 8 bits, truncated."""
        return (decoded.clamp(-1, 1) * 0.5 + 0.5).mul(255).to(torch.uint8)
