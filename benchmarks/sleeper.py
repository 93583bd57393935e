"""An engine that takes time but no CPU, as one on a GPU does: it sleeps for each batch, then enlarges by 4.

`install` makes it a distribution on the path, found through entry points like any other engine.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from srcache.engine.interface import EngineInfo, Failure, Option, Setup, Upscaled

if TYPE_CHECKING:
    from torch import Tensor


class Sleeper:
    """Sleeps `seconds` per call; each pixel then becomes 4 × 4, with grain so that results compress as photos do."""

    info = EngineInfo(
        name="bench-sleeper",
        summary="sleeps",
        scales=(4,),
        options={
            "seconds": Option(default=0.0, help="how long each call takes"),
            "grain": Option(default=0.1, help="how much grain, 0 to 0.1; more of it compresses less"),
        },
        batch=64,
    )

    def __init__(self, setup: Setup) -> None:
        self._seconds = float(setup.options["seconds"])
        self._grain = float(setup.options["grain"])

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Enlarge after a pause; arguments and outcomes as in `SREngine.upscale`."""
        started = time.perf_counter()
        grain = _grain(4 * images.shape[-2], 4 * images.shape[-1], self._grain)
        enlarged = _enlarged(images * 0.9).add_(grain)
        time.sleep(max(0.0, self._seconds - (time.perf_counter() - started)))
        return [Upscaled(image) for image in enlarged]


def _enlarged(images: "Tensor") -> "Tensor":
    """Each pixel as 4 × 4, in one copy."""
    count, channels, height, width = images.shape
    blocks = images[:, :, :, None, :, None].expand(-1, -1, -1, 4, -1, 4)
    return blocks.reshape(count, channels, 4 * height, 4 * width)


@cache
def _grain(height: int, width: int, most: float) -> "Tensor":
    import torch

    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * most


def install() -> None:
    """Put the engine on the path of this process and of its children."""
    root = Path(tempfile.mkdtemp(prefix="srcache-bench-"))
    metadata = root / "srcache_bench-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: srcache-bench\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[srcache.engines]\nbench-sleeper = benchmarks.sleeper:Sleeper\n")
    sys.path.append(str(root))
    paths = [str(Path(__file__).parent.parent), str(root), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
