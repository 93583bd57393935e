"""Any single-image SR checkpoint that the spandrel library detects: ESRGAN, Compact, SwinIR, HAT, DAT, SPAN …

Scale, size rules, tiling and half precision come from the checkpoint's own descriptor. The recipe names the checkpoint
by its digest (`weights`), so that a file that was moved or renamed makes the same images, and another one does not.
Needs the extra `spandrel`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Setup, Upscaled
from srcache.weights.checkpoint import load_tensors

from .network import PRECISIONS, SpandrelNetwork

if TYPE_CHECKING:
    from torch import Tensor


class Spandrel:
    """The engine `spandrel`: runs the checkpoint that the recipe names."""

    info = EngineInfo(
        name="spandrel",
        summary="any single-image SR checkpoint that spandrel detects; tiles in LR pixels",
        scales=None,
        loads=True,
        precisions=PRECISIONS,
        compiles=True,
        tiles=True,
        pads_on_cpu=False,
        batch=8,
        weights_licenses=("as the checkpoint's author says",),
    )

    def __init__(self, setup: Setup) -> None:
        self._network = SpandrelNetwork(load_tensors(str(setup.weights)), setup)

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; seeds change nothing."""
        return self._network.upscale(images)
