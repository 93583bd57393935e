"""From LR pictures to SR pictures, a batch of one shape at a time: tag, prompt, sample, decode, mend the colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srcache.engine.interface import Failure, Tiling, Upscaled, upscaled_side
from srcache.errors import ImageError

from .colorfix import FIXES
from .geometry import control_picture, final_picture
from .loading import Networks
from .networks.text import prompt_text
from .sampling.noise import Noise, seed_of_reference
from .sampling.sampler import Prompts, Sampler
from .sampling.schedule import make_schedule
from .sampling.windows import Windows, lay_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a recipe says about SeeSR; see the engine's options."""

    scale: int
    process_size: int
    steps: int
    guidance: float
    start: str
    prompt: str
    added_prompt: str
    negative_prompt: str
    parity: bool
    precision: str
    tiling: Tiling | None
    color_fix: str | None


class Pipeline:
    """SeeSR with its networks loaded.

    `captured` wraps the prediction of noise, the inner call of the loop, in whatever runs it faster; `mode` names that
    for the records.
    """

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        device: torch.device,
        mode: str = "eager",
        captured: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
    ) -> None:
        self.networks, self.settings, self._device, self.mode = networks, settings, device, mode
        schedule = make_schedule(networks.scheduler, settings.steps)
        negative = networks.text.encode([settings.negative_prompt])
        self.sampler = Sampler(networks.unet, networks.controlnet, schedule, settings.guidance, negative)
        self.captured = captured is not None and device.type == "cuda"
        if captured is not None:
            self.sampler.run = captured(self.sampler.predict)

    def upscale(self, images: Tensor, seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`."""
        control = self._control(images)
        try:
            windows = lay_windows(control.shape[-2] // 8, control.shape[-1] // 8, self.settings.tiling)
        except ImageError as error:
            return [Failure(error.reason, str(error))] * len(images)
        tags, embeds = self.networks.tagger(images.to(self._device))
        prompts = [prompt_text(each, self.settings.prompt, self.settings.added_prompt) for each in tags]
        latents = self._sampled(control, Prompts(self.networks.text.encode(prompts), embeds), seeds, windows)
        height, width = (upscaled_side(side, self.settings.scale) for side in images.shape[-2:])
        shared = {"network": list(control.shape[-2:]), "windows": len(windows.places) if windows else 1}
        outcomes: list[Upscaled | Failure] = []
        for number, (decoded, decoding) in enumerate(self._decoded(latents)):
            if isinstance(decoded, Failure):
                outcomes.append(decoded)
                continue
            notes = {"tags": tags[number], "prompt": prompts[number], **shared, **self._run_notes(images, decoding)}
            notes |= {"reference_seed": seed_of_reference(seeds[number])} if self.settings.parity else {}
            outcomes.append(Upscaled(self._finished(decoded, control[number], (height, width)), notes))
        return outcomes

    def _control(self, images: Tensor) -> Tensor:
        """The pictures that the networks see: uint8 (N, 3, H, W)."""
        pixels = _bytes(images).permute(0, 2, 3, 1).contiguous().numpy()
        controls = [control_picture(each, self.settings.scale, self.settings.process_size) for each in pixels]
        return torch.from_numpy(np.stack(controls)).permute(0, 3, 1, 2).contiguous().to(self._device)

    def _sampled(self, control: Tensor, prompts: Prompts, seeds: Sequence[int], windows: Windows | None) -> Tensor:
        """Latents in the VAE's own units."""
        pictures = control.float() / 255
        size = control.shape[-2] // 8, control.shape[-1] // 8
        noise = Noise(seeds, size, self._device, parity=self.settings.parity, guided=self.sampler.is_guided)
        start = noise.draw()
        if self.settings.start == "lr":
            encoded = self._encoded(pictures, noise.draw_posterior())
            start = self.sampler.schedule.started(encoded * self.networks.vae.scaling_factor, start)
        return self.sampler.sample(pictures, prompts, start, noise, windows) / self.networks.vae.scaling_factor

    def _encoded(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """A sample of the VAE's posterior for each picture."""
        moments = self.networks.vae.encode(pictures * 2 - 1)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise

    def _decoded(self, latents: Tensor) -> list[tuple[Tensor | Failure, str]]:
        """Each picture, uint8 (3, H, W), and in what it was decoded: again in float32 if half precision overflowed."""
        pictures = self.networks.vae.decode(latents)
        found: list[tuple[Tensor | Failure, str]] = []
        for number, fault in enumerate(_faults(pictures)):
            picture, decoding = pictures[number], self.settings.precision
            if fault and decoding != "fp32":
                picture, decoding = self.networks.vae.decode32(latents[number : number + 1])[0], "fp32"
                (fault,) = _faults(picture[None])
            done = Failure(*fault) if fault else _bytes((picture / 2 + 0.5).clamp(0, 1))
            found.append((done, decoding))
        return found

    def _finished(self, picture: Tensor, control: Tensor, size: tuple[int, int]) -> Tensor:
        """Colours mended, at the size that was asked for: float32 (3, H, W) in [0, 1], on the CPU."""
        if self.settings.color_fix is not None:
            picture = FIXES[self.settings.color_fix](picture[None], control[None])[0]
        picture = picture.cpu()
        if picture.shape[-2:] != size:
            pixels = final_picture(picture.permute(1, 2, 0).numpy(), size)
            picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        return picture.float() / 255

    def _run_notes(self, images: Tensor, decoding: str) -> dict[str, Any]:
        """How the batch was run: it moves pixels by rounding only."""
        return {"mode": self.mode, "batch": len(images), "decoded_in": decoding}


def _faults(pictures: Tensor) -> list[tuple[str, str] | None]:
    """What is wrong with each decoded picture, before it is clamped: a VAE that works gives no flat colour."""
    low, high = pictures.amin((1, 2, 3)), pictures.amax((1, 2, 3))
    words: dict[int, tuple[str, str] | None] = {
        0: None,
        1: ("blank", "the VAE decoded one flat colour"),
        2: ("not_finite", "the VAE decoded values that are not numbers"),
    }
    kinds = torch.where((low - high).isfinite(), (low == high).int(), 2)
    return [words[kind] for kind in kinds.tolist()]


def _bytes(values: Tensor) -> Tensor:
    """[0, 1] as 8 bits, rounded."""
    return (values * 255).round().to(torch.uint8)
