"""Any single-image SR checkpoint that the spandrel library detects: ESRGAN, Compact, SwinIR, HAT, DAT, SPAN …

Scale, size rules, tiling and half precision come from the checkpoint's own descriptor. The recipe names the checkpoint
by its digest (`weights`), so that a file that was moved or renamed makes the same images, and another one does not.
Needs the extra `spandrel`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Setup, Upscaled
from srcache.errors import EngineError
from srcache.weights.checkpoint import check_of, load_tensors

from .network import PRECISIONS, SpandrelNetwork, detect

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
        devices=("cpu", "cuda", "mps", "xpu"),
        weights_licenses=("as the checkpoint's author says",),
    )

    def __init__(self, setup: Setup) -> None:
        _require_kept_promises(str(setup.weights))
        self._network = SpandrelNetwork(load_tensors(str(setup.weights)), setup)

    @staticmethod
    def checkpoint_setup(digest: str) -> Setup:
        """How this engine would run an adopted checkpoint.

        Raises:
            EngineError: it would not.
            MissingExtraError: spandrel is not installed.
        """
        return Setup(scale=detect(load_tensors(digest)).scale, weights=digest)

    def batch_width(self, height: int, width: int) -> int:
        """How many images of a size one call should have, see `SpandrelNetwork.width`."""
        return self._network.width(height, width, self.info.batch)

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; seeds change nothing, but for a network that draws noise."""
        outcomes = self._network.upscale(images, seeds)
        if self._network.draws and not self.info.stochastic:
            self.info = replace(self.info, stochastic=True)  # of this checkpoint's engine alone
        return outcomes


def _require_kept_promises(digest: str) -> None:
    """Refuse a checkpoint that was found, when it was converted, to break what a cache stands on."""
    check = check_of(digest)
    if check is not None and check.engine == Spandrel.info.name and check.problem:
        raise EngineError(
            f"checkpoint {digest} cannot fill a cache: {check.problem}\n(found when it was converted; "
            "`srcache models convert` checks it again where other versions are installed)"
        )
