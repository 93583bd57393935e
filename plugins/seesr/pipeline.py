"""SeeSR from LR images to SR images: tag the LR image, sample over all steps, decode."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from ..stable_diffusion import pipeline as shared
from ..stable_diffusion.geometry import CELL
from ..stable_diffusion.networks.text import prompt_text
from ..stable_diffusion.noise import NoiseSource as NoiseSource
from ..stable_diffusion.pipeline import Latents, Prepared
from ..stable_diffusion.windows import Windows
from .loading import Networks
from .sampling.sampler import Prompts, Sampler
from .sampling.schedule import Schedule, make_schedule
from .sampling.solver import make_solver

SOLVERS: dict[str, Callable[[Mapping[str, Any], int], Schedule]] = {"ddpm": make_schedule, "dpm++": make_solver}
"""What makes the steps of a sampler, by the names that recipes give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(shared.Settings):
    """How images are made: beside the shared settings, by the names of the engine's options.

    Attributes:
        steps: of the sampler.
        guidance: how far to go from the negative prompt; above 1, each image is predicted twice.
        start: `lr`, from the LR image and noise, or `noise`.
        added_prompt: words put after all others.
        negative_prompt: what to lead away from.
        solver: `ddpm`, the authors', or `dpm++`.
        guided_share: the share of the steps, from the first on, that is guided.
    """

    steps: int
    guidance: float
    start: str
    added_prompt: str
    negative_prompt: str
    solver: str = "ddpm"
    guided_share: float = 1.0

    @property
    def guided_steps(self) -> int:
        """How many of the first steps are guided."""
        return math.ceil(self.guided_share * self.steps - 1e-9)

    def shortest(self) -> Self:
        """The same in one step, guided if any is."""
        return replace(self, steps=1, guided_share=1.0 if self.guided_share else 0.0)


class Pipeline(shared.Pipeline):
    """SeeSR with its networks loaded: LR images → SR images; arguments as the shared one has them."""

    networks: Networks
    settings: Settings

    def open_inner(self) -> Sampler:
        """The sampler, whose inner call is one prediction of noise."""
        networks, settings = self.networks, self.settings
        schedule = SOLVERS[settings.solver](networks.scheduler, settings.steps)
        negative = networks.text.encode([settings.negative_prompt])
        denoisers = networks.unet, networks.controlnet
        return Sampler(*denoisers, schedule, settings.guidance, negative, settings.guided_steps)

    @property
    def sampler(self) -> Sampler:
        """What `inner` is here."""
        return self.inner  # type: ignore[no-any-return]

    @property
    def is_guided(self) -> bool:
        """Whether each image is predicted twice, with its own and with the negative prompt."""
        return self.sampler.is_guided

    def latents(self, prepared: Prepared, control: Tensor, seeds: Sequence[int], windows: Windows | None) -> Latents:
        """The latents of a batch; arguments as in the shared pipeline."""
        tags, embeds = self.networks.tagger(prepared.images.to(self.device))
        prompts = [prompt_text(each, self.settings.prompt, self.settings.added_prompt) for each in tags]
        values = self.sample(control, Prompts(self.networks.text.encode(prompts), embeds), seeds, windows)
        return Latents(values, [{"tags": one, "prompt": other} for one, other in zip(tags, prompts, strict=True)])

    def sample(self, control: Tensor, prompts: Prompts, seeds: Sequence[int], windows: Windows | None) -> Tensor:
        """The latents of a batch, denoised, in the VAE's own units."""
        control_images = control.float() / 255
        noise = self.noise(seeds, (control.shape[-2] // CELL, control.shape[-1] // CELL))
        start = noise.draw()
        if self.settings.start == "lr":
            encoded = self.encode(control_images, noise.draw_posterior())
            start = self.sampler.schedule.start_latent(encoded, start)
        return self.sampler.sample(control_images, prompts, start, noise, windows) / self.networks.vae.scaling_factor
