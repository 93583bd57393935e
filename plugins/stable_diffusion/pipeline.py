"""From LR images to SR images, a batch of one shape at a time: the way that engines over Stable Diffusion share.

Resize, make latents of the batch (which is the engine's own part), decode, mend the colours, resize. What the device
does is between two parts that the host does alone, and that any thread may do: control images are prepared before it,
colours are mended and the final size is made after it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from srcache.engine.interface import Failure, Tiling, Unfinished, Upscaled, upscaled_side
from srcache.errors import ImageError

from .colorfix import FIXES
from .geometry import CELL, control_image, final_image, resize_steps
from .noise import Noise, NoiseSource, seed_of_reference
from .windows import Windows, lay_windows

if TYPE_CHECKING:
    from .memory import Memory, MemoryPredictor

FULL_CELLS = 65536
"""Cells of latents, each counted twice where there is guidance, that just fill an H100 without windows: 8 images of
64x64. An estimate, not measured. Of those 8, the matrix products at 16x16 cells, which hold a third of the work, are
320 tiles of 128x128 on 132 processors: 2.4 rounds, done in 3. Twice as many images would make an image about 5 %
cheaper, and an image without company twice as dear; half as many, about 8 % dearer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How images are made: the recipe's fields and the options of the engine, by the same names.

    Attributes:
        scale: what sides are multiplied by.
        process_size: in pixels, the least that the shorter side of what the networks see has.
        prompt: the user's words, put after the tags.
        parity: draw noise as the authors' program does for the one image of a run.
        precision: fp32, bf16 or fp16.
        tiling: windows of large latents, in cells of 8 pixels; None for latents in one piece.
        color_fix: adain, wavelet or None.
    """

    scale: int
    process_size: int
    prompt: str
    parity: bool
    precision: str
    tiling: Tiling | None
    color_fix: str | None

    def shortest(self) -> Self:
        """The settings of a run that takes as much memory, and the least time."""
        return self


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as the device needs it, all on the CPU.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1], the LR images.
        control: uint8 (N, 3, H', W'), the same as the networks see them.
    """

    images: Tensor
    control: Tensor

    def part(self, start: int, stop: int) -> "Prepared":
        """Some images of the batch."""
        return Prepared(self.images[start:stop], self.control[start:stop])


@dataclass(frozen=True, slots=True)
class Latents:
    """What an engine makes of a batch.

    Attributes:
        values: float32 (N, 4, h, w), in the VAE's own units.
        notes: of each image, for its record.
    """

    values: Tensor
    notes: Sequence[dict[str, Any]]


class InnerCall(Protocol):
    """What an engine computes over and over.

    Attributes:
        predict: a function of tensors alone. It does not know its owner, so that what is made of it (a recording,
            compiled code) keeps nothing alive that keeps it alive.
        run: does the same, and may be replaced by something that does it faster.
    """

    predict: Callable[..., Tensor]
    run: Callable[..., Tensor]


class Pipeline(ABC):
    """LR images → SR images; an engine's own says what its inner call is, and how it makes latents.

    Args:
        networks: on `device`.
        settings: of the recipe.
        device: where everything is computed.
        mode: how networks are run, in words, for the records.
        wrap: what makes the inner call and the VAE's calls faster: CUDA graphs, compiled code, or nothing.
        noise: makes the noise of a call, of its seeds and the (height, width) of its latents; if left out, `Noise` as
            the settings say. Whoever compares with another program gives it that program's noise here.

    Attributes:
        inner: the inner call.
        in_graphs: whether these are run from CUDA graphs, which keep memory aside.
    """

    last_resize = "bicubic"
    """The filter of the resize to sides that are multiples of 8."""

    def __init__(
        self,
        networks: Any,
        settings: Any,
        device: torch.device,
        mode: str = "eager",
        wrap: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
        noise: Callable[[Sequence[int], tuple[int, int]], NoiseSource] | None = None,
    ) -> None:
        self.networks, self.settings, self.device, self.mode, self._noise = networks, settings, device, mode, noise
        self.inner = self.open_inner()
        self.in_graphs = wrap is not None and device.type == "cuda"
        if wrap is not None:
            self.inner.run = wrap(self.inner.predict)
            networks.vae.run_by(wrap)
        self._memory: MemoryPredictor | None = None

    @abstractmethod
    def open_inner(self) -> Any:
        """The inner call, an `InnerCall`."""

    @abstractmethod
    def latents(self, prepared: Prepared, control: Tensor, seeds: Sequence[int], windows: Windows | None) -> Latents:
        """The latents of a batch.

        Args:
            prepared: the batch.
            control: its control images, on the device.
            seeds: one per image.
            windows: how latents are divided, if they are.
        """

    @property
    def is_guided(self) -> bool:
        """Whether each image is predicted twice, with its own and with another prompt."""
        return False

    def levels(self, decoded: Tensor) -> Tensor:
        """A decoded image, about [-1, 1], in 8 bits: rounded, unless the engine has another rule."""
        return _rounded((decoded / 2 + 0.5).clamp(0, 1))

    def upscale(self, images: Tensor, seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Upscale images of one size; arguments and outcomes as in `SREngine.upscale`."""
        computed = self.compute(self.prepare(images), seeds)
        return [each.finish() if isinstance(each, Unfinished) else each for each in computed]

    def prepare(self, images: Tensor) -> Prepared:
        """The host's part before the device's."""
        return Prepared(images, self.control_images(images))

    def compute(self, prepared: Prepared, seeds: Sequence[int]) -> list[Unfinished | Failure]:
        """The device's part; outcomes are as those of `upscale`, but for their colours and their size."""
        images, control = prepared.images, prepared.control.to(self.device)
        try:
            windows = lay_windows(control.shape[-2] // CELL, control.shape[-1] // CELL, self.settings.tiling)
        except ImageError as error:
            return [Failure(error.reason, str(error))] * len(images)
        made = self.latents(prepared, control, seeds, windows)
        height, width = (upscaled_side(side, self.settings.scale) for side in images.shape[-2:])
        shared = {"network": list(control.shape[-2:]), "windows": len(windows.places) if windows else 1}
        outcomes: list[Unfinished | Failure] = []
        for number, (decoded, decoding) in enumerate(self.decode(made.values)):
            if isinstance(decoded, Failure):
                outcomes.append(decoded)
                continue
            notes = {**made.notes[number], **shared, **self._run_notes(images, decoding)}
            notes |= {"reference_seed": seed_of_reference(seeds[number])} if self.settings.parity else {}
            outcomes.append(self._unfinished(decoded.cpu(), prepared.control[number], (height, width), notes))
        return outcomes

    def _unfinished(self, image: Tensor, control: Tensor, size: tuple[int, int], notes: dict[str, Any]) -> Unfinished:
        color_fix = self.settings.color_fix
        return Unfinished(lambda: Upscaled(finished(image, control, size, color_fix), notes))

    def width(self, height: int, width: int) -> int:
        """How many LR images of a size fill a GPU together; it follows from the size and the settings alone.

        One alone does where its latent is divided into windows.
        """
        sides = resize_steps(height, width, self.settings.scale, self.settings.process_size)[-1]
        size = sides[0] // CELL, sides[1] // CELL
        try:
            windows = lay_windows(*size, self.settings.tiling)
        except ImageError:  # the call says what is wrong with them
            return 1
        return 1 if windows else max(1, FULL_CELLS // ((1 + self.is_guided) * size[0] * size[1]))

    def memory(self, height: int, width: int, batch: int) -> "Memory":
        """What a call on LR images of a size takes; how it is found is in `memory`."""
        from .memory import MemoryPredictor

        if self._memory is None:
            self._memory = MemoryPredictor(type(self), self.networks, self.settings, in_graphs=self.in_graphs)
        return self._memory.predicted(height, width, batch)

    def control_images(self, images: Tensor) -> Tensor:
        """LR images as the networks see them: uint8 (N, 3, H, W), on the CPU."""
        pixels = _rounded(images).permute(0, 2, 3, 1).contiguous().numpy()
        sizes = self.settings.scale, self.settings.process_size
        controls = [control_image(each, *sizes, self.last_resize) for each in pixels]
        return torch.from_numpy(np.stack(controls)).permute(0, 3, 1, 2).contiguous()

    def noise(self, seeds: Sequence[int], size: tuple[int, int]) -> NoiseSource:
        """The noise of a call, for latents of a size (height, width)."""
        if self._noise is not None:
            return self._noise(seeds, size)
        return Noise(seeds, size, self.device, parity=self.settings.parity, guided=self.is_guided)

    def encode(self, images: Tensor, noise: Tensor | None) -> Tensor:
        """A sample of the VAE's posterior for each image in [0, 1], or without noise its mean, scaled for diffusion."""
        moments = self.networks.vae.encode(images * 2 - 1)
        mean, log_variance = moments.chunk(2, dim=1)
        sample = mean if noise is None else mean + (0.5 * log_variance.clamp(-30, 20)).exp() * noise
        return sample * self.networks.vae.scaling_factor  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> list[tuple[Tensor | Failure, str]]:
        """Each image, uint8 (3, H, W), and the precision of its decoding: float32 if half precision overflowed."""
        images = self.networks.vae.decode(latents)
        found: list[tuple[Tensor | Failure, str]] = []
        for number, fault in enumerate(_decoding_faults(images)):
            image, decoding = images[number], self.settings.precision
            if fault and decoding != "fp32":
                image, decoding = self.networks.vae.decode32(latents[number : number + 1])[0], "fp32"
                (fault,) = _decoding_faults(image[None])
            found.append((Failure(*fault) if fault else self.levels(image), decoding))
        return found

    def _run_notes(self, images: Tensor, decoding: str) -> dict[str, Any]:
        """How the batch was run, which moves pixels by rounding only."""
        return {"mode": self.mode, "batch": len(images), "decoded_in": decoding}


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


def _rounded(values: Tensor) -> Tensor:
    """[0, 1] as 8 bits, rounded."""
    return (values * 255).round().to(torch.uint8)
