"""Enlarging by interpolation (Pillow): the baselines that super-resolution has to beat."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Upscaled, upscaled_side
from srcache.images import from_tensor, resize, to_batch

if TYPE_CHECKING:
    from torch import Tensor


class Resample:
    """The engine `resample`: Pillow's resize on 8-bit pixels, bit for bit what `PIL.Image.resize` gives."""

    info = EngineInfo(
        name="resample",
        summary="nearest, bilinear, bicubic or Lanczos interpolation by Pillow",
        scales=None,
        options={
            "filter": Option(
                default="bicubic",
                help="Pillow's resampling filter",
                choices=("nearest", "bilinear", "bicubic", "lanczos"),
            )
        },
        pads=False,
        batch=16,
        devices=("cpu", "cuda", "mps", "xpu"),
    )

    def __init__(self, setup: Setup) -> None:
        self._scale = setup.scale
        self._filter = str(setup.options["filter"])

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; seeds change nothing."""
        return [self._one(image) for image in images]

    def _one(self, image: "Tensor") -> Upscaled:
        pixels = from_tensor(image)
        size = upscaled_side(pixels.shape[0], self._scale), upscaled_side(pixels.shape[1], self._scale)
        return Upscaled(to_batch([resize(pixels, size, self._filter)])[0])
