"""Arms and metrics by the names and in the digits that papers give them."""

import math
from typing import Any

from srcache.wording import number, real

_METRICS = {
    "psnr": "PSNR",
    "psnr_y": "PSNR-Y",
    "ssim": "SSIM",
    "ssim_y": "SSIM-Y",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "dists": "DISTS",
    "niqe": "NIQE",
    "fid": "FID",
    "musiq": "MUSIQ",
    "maniqa": "MANIQA",
    "clipiqa": "CLIPIQA",
}


def score(metric: str, value: Any) -> str:
    """A quality figure in its usual digits; `inf` for images that are equal."""
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    decibels = metric.startswith(("psnr", "back_projection"))
    return f"{number(value, 2)} dB" if decibels and real(value) is not None else number(value, 4)


def metric_name(metric: str) -> str:
    """psnr → PSNR."""
    return _METRICS.get(metric, metric.replace("_", " "))


def arm_title(arm: str) -> str:
    """The four domains in capitals as papers write them; other arms as they are called."""
    return "Bicubic" if arm == "bicubic" else arm_word(arm)


def arm_word(arm: str) -> str:
    """An arm's name within a sentence."""
    return {"lr": "LR", "sr": "SR", "hr": "HR"}.get(arm, arm)
