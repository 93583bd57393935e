"""Sets of metrics with a convention, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Metrics and the convention of PSNR and SSIM; `about` is one line for people."""

    metrics: tuple[str, ...]
    channel: str
    crop_border: int
    about: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "seesr-paper": Preset(
            metrics=("psnr", "ssim", "lpips", "dists", "fid", "niqe", "musiq", "maniqa-pipal", "clipiqa"),
            channel="y",
            crop_border=0,
            about="as SeeSR's paper (Wu et al., CVPR 2024): PSNR and SSIM on limited-range Y, nothing cropped",
        ),
        "thesis-as-published": Preset(
            metrics=("pyiqa:psnry", "pyiqa:ssim", "lpips", "dists", "fid", "niqe", "musiq", "maniqa", "clipiqa"),
            channel="y",
            crop_border=0,
            about="pyiqa's own defaults (PSNR and SSIM on a full-range luma), for comparison only",
        ),
    }
)
