"""The default engine: a small network trained by this project, x2 and x4, its weights in this folder.

`MODEL_CARD.md` says what it was trained on, what it reaches and where its limits are; the weights were made by
`benchmarks/train_compact.py`.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Setup, Upscaled
from srcache.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor

SCALES = (2, 4)
FULL_PIXELS = 131_072
"""Pixels of LR images in one call that just fill a GPU: eight of 128x128. An estimate, not measured."""

_FOLDER = files(__name__)


def _weights_digest() -> str:
    """SHA-256 over the files of all scales, one after the other, in the order of their names."""
    digest = hashlib.sha256()
    for scale in SCALES:
        digest.update((_FOLDER / f"compact-x{scale}.safetensors").read_bytes())
    return digest.hexdigest()


class Compact:
    """The engine `compact`: super-resolution without a download; what it adds to bicubic is learned from photos."""

    info = EngineInfo(
        name="compact",
        summary="a small convolutional network with its weights in the package",
        scales=SCALES,
        precisions=("fp32", "bf16"),
        pads_on_cpu=False,
        batch=16,
        devices=("cpu", "cuda", "mps", "xpu"),
        weights=_weights_digest(),
        weights_licenses=("Apache-2.0",),
    )

    def __init__(self, setup: Setup) -> None:
        import torch

        from .network import load_network

        if setup.scale not in SCALES:
            raise EngineError(f"compact enlarges by 2 or 4, but the recipe's scale is {setup.scale}")
        scale = int(setup.scale)
        dtype = torch.bfloat16 if setup.precision == "bf16" else torch.float32
        self._device = torch.device(setup.device)
        network = load_network(_FOLDER / f"compact-x{scale}.safetensors", scale).to(self._device, dtype)
        self._network = network.to(memory_format=torch.channels_last)

    def batch_width(self, height: int, width: int) -> int:
        """How many images of a size one call should have."""
        most = self.info.batch
        return most if self._device.type == "cpu" else max(1, min(most, FULL_PIXELS // (height * width)))

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; seeds change nothing."""
        import torch

        parts = [image[None] for image in images] if self._device.type == "cpu" else [images]
        with torch.inference_mode():
            return [Upscaled(output) for part in parts for output in self._enlarge(part)]

    def _enlarge(self, images: "Tensor") -> "Tensor":
        import torch

        ready = images.to(self._device, memory_format=torch.channels_last)
        enlarged: Tensor = self._network(ready).clamp(0, 1).contiguous()
        return enlarged
