"""Numbers as a reader meets them; what is not there, or not a number, is a dash."""

import math
from typing import Any

NOTHING = "–"

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


def real(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        plain = float(value)
    except OverflowError:
        return None
    return plain if math.isfinite(plain) else None


def percent(value: Any, places: int = 1) -> str:
    """0.824 → 82.4 %."""
    share = real(value)
    return NOTHING if share is None else f"{100 * share:.{places}f} %"


def percent_range(low: Any, high: Any) -> str:
    """0.79, 0.86 → 79.0 to 86.0 %."""
    ends = real(low), real(high)
    return NOTHING if None in ends else f"{_points(ends[0])} to {_points(ends[1])} %"


def points(value: Any) -> str:
    """A difference of shares in percentage points, with its sign: 0.02 → +2.0."""
    share = real(value)
    return NOTHING if share is None else f"{100 * share:+.1f}".replace("-", "−")


def p_value(value: Any) -> str:
    """A probability with as many digits as it deserves: 0.0275, 0.41, < 0.0001."""
    p = real(value)
    if p is None:
        return NOTHING
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.3f}"


def number(value: Any, places: int = 3) -> str:
    """A plain number; whole ones without a point."""
    plain = real(value)
    if plain is None:
        return NOTHING
    if isinstance(value, int):
        return str(value)
    return f"{plain:.{places}f}".replace("-", "−")


def score(metric: str, value: Any) -> str:
    """A quality figure in its usual digits; `inf` for pictures that are equal."""
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    decibels = metric.startswith(("psnr", "back_projection"))
    return f"{number(value, 2)} dB" if decibels and real(value) is not None else number(value, 4)


def metric_name(metric: str) -> str:
    """psnr → PSNR."""
    return _METRICS.get(metric, metric.replace("_", " "))


def duration(seconds: Any) -> str:
    """A time in the unit that fits."""
    span = real(seconds)
    if span is None:
        return NOTHING
    if span < 60:
        return f"{span:.1f} s"
    return f"{span / 60:.1f} min" if span < 3600 else f"{span / 3600:.1f} h"


def counted(count: int, thing: str) -> str:
    """1 picture, 2 pictures; 1 class, 2 classes."""
    if count == 1:
        return f"1 {thing}"
    return f"{count} {thing}es" if thing.endswith("s") else f"{count} {thing}s"


def arm_title(arm: str) -> str:
    """The four domains in capitals as papers write them; other arms as they are called."""
    return {"lr": "LR", "sr": "SR", "hr": "HR", "bicubic": "Bicubic"}.get(arm, arm)


def _points(share: float | None) -> str:
    return f"{100 * (share or 0):.1f}".replace("-", "−")
