"""From LR images to SR images, a batch of one shape at a time: tag, prompt, sample, decode, mend the colours.

What the device does is between two parts that the host does alone, and that any thread may do: control images are
prepared before it, colours are mended and the final size is made after it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srcache.engine.interface import Failure, Tiling, Unfinished, Upscaled, upscaled_side
from srcache.errors import ImageError

from .colorfix import FIXES
from .geometry import CELL, control_image, final_image, resize_steps
from .loading import Networks
from .networks.text import prompt_text
from .sampling.noise import Noise, NoiseSource, seed_of_reference
from .sampling.sampler import Prompts, Sampler
from .sampling.schedule import Schedule, make_schedule
from .sampling.solver import make_solver
from .sampling.windows import Windows, lay_windows

SOLVERS: dict[str, Callable[[Mapping[str, Any], int], Schedule]] = {"ddpm": make_schedule, "dpm++": make_solver}
"""What makes the steps of a sampler, by the names that recipes give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How images are made: the recipe's fields and the options of the engine, by the same names.

    Attributes:
        scale: what sides are multiplied by.
        process_size: in pixels, the least that the shorter side of what the networks see has.
        steps: of the sampler.
        guidance: how far to go from the negative prompt; above 1, each image is predicted twice.
        start: `lr`, from the LR image and noise, or `noise`.
        prompt: the user's words, put after the tags.
        added_prompt: words put after all others.
        negative_prompt: what to lead away from.
        parity: draw noise as the authors' program does for the one image of a run.
        precision: fp32, bf16 or fp16.
        solver: `ddpm`, the authors', or `dpm++`.
        guided_share: the share of the steps, from the first on, that is guided.
        tiling: windows of large latents, in cells of 8 pixels; None for latents in one piece.
        color_fix: adain, wavelet or None.
    """

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
    solver: str = "ddpm"
    guided_share: float = 1.0

    @property
    def guided_steps(self) -> int:
        """How many of the first steps are guided."""
        return math.ceil(self.guided_share * self.steps - 1e-9)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as the device needs it, all on the CPU.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1], the LR images.
        control: uint8 (N, 3, H', W'), the same as the ControlNet and the VAE see them.
    """

    images: Tensor
    control: Tensor

    def part(self, start: int, stop: int) -> "Prepared":
        """Some images of the batch."""
        return Prepared(self.images[start:stop], self.control[start:stop])


class Pipeline:
    """SeeSR with its networks loaded: LR images → SR images.

    Args:
        networks: on `device`.
        settings: of the recipe.
        device: where everything is computed.
        mode: how the inner call of the loop is run, in words, for the records.
        wrap: what makes the inner call, the prediction of noise, faster: CUDA graphs, compiled code, or nothing.
        noise: makes the noise of a call, of its seeds and the (height, width) of its latents; if left out, `Noise` as
            the settings say. Whoever compares with another program gives it that program's noise here.

    Attributes:
        in_graphs: whether the inner call is run from CUDA graphs, which keep memory aside.
    """

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        device: torch.device,
        mode: str = "eager",
        wrap: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
        noise: Callable[[Sequence[int], tuple[int, int]], NoiseSource] | None = None,
    ) -> None:
        self.networks, self.settings, self._device, self.mode = networks, settings, device, mode
        self._noise = noise
        schedule = SOLVERS[settings.solver](networks.scheduler, settings.steps)
        negative = networks.text.encode([settings.negative_prompt])
        denoisers = networks.unet, networks.controlnet
        self.sampler = Sampler(*denoisers, schedule, settings.guidance, negative, settings.guided_steps)
        self.in_graphs = wrap is not None and device.type == "cuda"
        if wrap is not None:
            self.sampler.run = wrap(self.sampler.predict)

    def upscale(self, images: Tensor, seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Upscale images of one size; arguments and outcomes as in `SREngine.upscale`."""
        computed = self.compute(self.prepare(images), seeds)
        return [each.finish() if isinstance(each, Unfinished) else each for each in computed]

    def prepare(self, images: Tensor) -> Prepared:
        """The host's part before the device's."""
        return Prepared(images, self.control_images(images))

    def compute(self, prepared: Prepared, seeds: Sequence[int]) -> list[Unfinished | Failure]:
        """The device's part; outcomes are as those of `upscale`, but for their colours and their size."""
        images, control = prepared.images, prepared.control.to(self._device)
        try:
            windows = lay_windows(control.shape[-2] // CELL, control.shape[-1] // CELL, self.settings.tiling)
        except ImageError as error:
            return [Failure(error.reason, str(error))] * len(images)
        tags, embeds = self.networks.tagger(images.to(self._device))
        prompts = [prompt_text(each, self.settings.prompt, self.settings.added_prompt) for each in tags]
        latents = self.sample(control, Prompts(self.networks.text.encode(prompts), embeds), seeds, windows)
        height, width = (upscaled_side(side, self.settings.scale) for side in images.shape[-2:])
        shared = {"network": list(control.shape[-2:]), "windows": len(windows.places) if windows else 1}
        outcomes: list[Unfinished | Failure] = []
        for number, (decoded, decoding) in enumerate(self.decode(latents)):
            if isinstance(decoded, Failure):
                outcomes.append(decoded)
                continue
            notes = {"tags": tags[number], "prompt": prompts[number], **shared, **self._run_notes(images, decoding)}
            notes |= {"reference_seed": seed_of_reference(seeds[number])} if self.settings.parity else {}
            finish = partial(
                finished, decoded.cpu(), prepared.control[number], (height, width), self.settings.color_fix
            )
            outcomes.append(Unfinished(partial(_upscaled, finish, notes)))
        return outcomes

    def width(self, height: int, width: int) -> int:
        """How many LR images of a size fill a GPU together; it follows from the size and the settings alone."""
        sides = resize_steps(height, width, self.settings.scale, self.settings.process_size)[-1]
        size = sides[0] // CELL, sides[1] // CELL
        try:
            return self.sampler.width(*size, lay_windows(*size, self.settings.tiling))
        except ImageError:  # the call says what is wrong with them
            return 1

    def control_images(self, images: Tensor) -> Tensor:
        """LR images as the ControlNet and the VAE see them: uint8 (N, 3, H, W), on the CPU."""
        pixels = _to_uint8(images).permute(0, 2, 3, 1).contiguous().numpy()
        controls = [control_image(each, self.settings.scale, self.settings.process_size) for each in pixels]
        return torch.from_numpy(np.stack(controls)).permute(0, 3, 1, 2).contiguous()

    def sample(self, control: Tensor, prompts: Prompts, seeds: Sequence[int], windows: Windows | None) -> Tensor:
        """The latents of a batch, denoised, in the VAE's own units."""
        control_images = control.float() / 255
        size = control.shape[-2] // CELL, control.shape[-1] // CELL
        noise = (self._noise or self._own_noise)(seeds, size)
        start = noise.draw()
        if self.settings.start == "lr":
            encoded = self._encode(control_images, noise.draw_posterior())
            start = self.sampler.schedule.start_latent(encoded * self.networks.vae.scaling_factor, start)
        return self.sampler.sample(control_images, prompts, start, noise, windows) / self.networks.vae.scaling_factor

    def _own_noise(self, seeds: Sequence[int], size: tuple[int, int]) -> NoiseSource:
        return Noise(seeds, size, self._device, parity=self.settings.parity, guided=self.sampler.is_guided)

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """A sample of the VAE's posterior for each image."""
        moments = self.networks.vae.encode(images * 2 - 1)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise

    def decode(self, latents: Tensor) -> list[tuple[Tensor | Failure, str]]:
        """Each image, uint8 (3, H, W), and the precision of its decoding: float32 if half precision overflowed."""
        images = self.networks.vae.decode(latents)
        found: list[tuple[Tensor | Failure, str]] = []
        for number, fault in enumerate(_decoding_faults(images)):
            image, decoding = images[number], self.settings.precision
            if fault and decoding != "fp32":
                image, decoding = self.networks.vae.decode32(latents[number : number + 1])[0], "fp32"
                (fault,) = _decoding_faults(image[None])
            outcome = Failure(*fault) if fault else _to_uint8((image / 2 + 0.5).clamp(0, 1))
            found.append((outcome, decoding))
        return found

    def _run_notes(self, images: Tensor, decoding: str) -> dict[str, Any]:
        """How the batch was run, which moves pixels by rounding only."""
        return {"mode": self.mode, "batch": len(images), "decoded_in": decoding}


def _upscaled(finish: Callable[[], Tensor], notes: Mapping[str, Any]) -> Upscaled:
    return Upscaled(finish(), notes)


@torch.inference_mode()
def finished(image: Tensor, control: Tensor, size: tuple[int, int], color_fix: str | None) -> Tensor:
    """An image with its colours mended, at the size asked for.

    Args:
        image: uint8 (3, H, W), as decoded; on the CPU, as its control image.
        control: likewise.
        size: (height, width) of the result.
        color_fix: the name of a fix, or None.

    Returns:
        float32 (3, height, width) in [0, 1], integer steps of 1/255.
    """
    if color_fix is not None:
        image = FIXES[color_fix](image[None], control[None])[0]
    if image.shape[-2:] != size:
        pixels = final_image(image.permute(1, 2, 0).numpy(), size)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    return image.float() / 255


def _decoding_faults(images: Tensor) -> list[tuple[str, str] | None]:
    """What is wrong with each decoded image, before it is clamped: a VAE that works gives no flat colour."""
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    faults: dict[int, tuple[str, str] | None] = {
        0: None,
        1: ("blank", "the VAE decoded one flat colour"),
        2: ("not_finite", "the VAE decoded values that are not numbers"),
    }
    kinds = torch.where((low - high).isfinite(), (low == high).int(), 2)
    return [faults[kind] for kind in kinds.tolist()]


def _to_uint8(values: Tensor) -> Tensor:
    """[0, 1] as 8 bits, rounded."""
    return (values * 255).round().to(torch.uint8)
