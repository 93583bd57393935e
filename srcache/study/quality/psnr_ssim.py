"""PSNR and SSIM of an image against its reference, each number with its convention.

A PSNR without its convention says little: on one photo the same result reads 25.4 dB on RGB, 26.9 dB on the Y of
super-resolution papers, and 25.6 dB on a full-range luma. So there is one place that computes, and a `Convention`
travels with what it computed:

    rgb    PSNR over all three channels; SSIM per channel, averaged
    y      luma of BT.601 in limited range (16–235), rounded to integer levels as an 8-bit file would hold it

SSIM is the original's: a Gaussian window with sigma 1.5 (11×11) and population statistics. Both come from scikit-image.
Images are never resized by measuring: whoever compares different sizes says how in the convention, and calls
`resized` before.
"""

from dataclasses import dataclass, field
from importlib.metadata import version
from math import inf, isinf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.errors import ConfigError, ImageError, needs_extra
from srcache.images import AS_EVER, FILTERS, Colors, Pixels, divisible_part, resize

CHANNELS = ("rgb", "y")
SMALLEST = 11
"""The least height and width in pixels, after cropping: one window of SSIM."""

_PURPOSE = "measuring image quality"
_LUMA = (65.481, 128.553, 24.966)


def _library_version() -> str:
    with needs_extra("scikit-image", "eval", _PURPOSE):
        return version("scikit-image")


RESIZES = ("none", *(f"{side}:{name}" for side in ("picture", "reference") for name in FILTERS))
"""What a convention's `resize` may be."""


def require_resize(resize: str) -> None:
    """Refuse what is no `resize` of a convention.

    Raises:
        ConfigError: with what may be.
    """
    if resize not in RESIZES:
        raise ConfigError(
            f"resize is none, or picture or reference with a filter ({', '.join(FILTERS)}) behind a colon, such as "
            f"picture:bicubic, but got {resize!r}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How a number was measured.

    Attributes:
        channel: `rgb` or `y`.
        crop_border: pixels cut off on every side before measuring.
        resize: `none` (images of different sizes are refused), or which of a pair was brought to the other's size and
            by which filter: `picture:bicubic`, `reference:lanczos` …
        mod_crop: what of the references is compared, before anything else: the top-left part whose sides are multiples
            of this factor; 1 for all. None: `measure_folders` finds the factor that the sizes tell; see `mod_crop`.
        colors: how the colours of images in folders became RGB. None: as in the recipe of a cache that is measured.
        data_range: distance between the darkest and the brightest level.
        library, version: who computed.

    Raises:
        ConfigError: no such channel, resize or filter, a negative border, or a factor below 1.
        MissingExtraError: scikit-image is not installed.
    """

    channel: str = "rgb"
    crop_border: int = 0
    resize: str = "none"
    mod_crop: int | None = None
    colors: Colors | None = None
    data_range: int = field(default=255, init=False)
    library: str = field(default="scikit-image", init=False)
    version: str = field(default_factory=_library_version)

    def __post_init__(self) -> None:
        if self.channel not in CHANNELS:
            raise ConfigError(f"a channel is one of {', '.join(CHANNELS)}, but got {self.channel!r}")
        if self.crop_border < 0:
            raise ConfigError(f"crop_border must be an integer of at least 0, but is {self.crop_border}")
        if self.mod_crop is not None and self.mod_crop < 1:
            raise ConfigError(f"mod_crop must be a factor of at least 1, but is {self.mod_crop}")
        require_resize(self.resize)

    def __str__(self) -> str:
        channel = "Y (BT.601, 16–235, rounded)" if self.channel == "y" else "RGB"
        return f"{channel}, {self.geometry}, range {self.data_range}, {self.library} {self.version}"

    @property
    def geometry(self) -> str:
        """What was cut off and resized, in words."""
        factor = self.mod_crop or 1
        mod = f"references cut to multiples of {factor} (mod-crop), " if factor > 1 else ""
        side, _, resample = self.resize.partition(":")
        crop = f"{self.crop_border} px cropped" if self.crop_border else "no crop"
        colors = f"{self.colors}, " if self.colors not in (None, AS_EVER) else ""
        return colors + mod + (crop if self.resize == "none" else f"{side} resized ({resample}), {crop}")

    @property
    def chosen_colors(self) -> dict[str, str]:
        """How colours became RGB, as JSON values, where that was not as ever."""
        if self.colors is None or self.colors == AS_EVER:
            return {}
        return {"color_profile": self.colors.profile, "background": self.colors.background}

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("channel", "crop_border", "data_range", "resize", "library", "version")
        return {**{name: getattr(self, name) for name in names}, "mod_crop": self.mod_crop or 1, **self.chosen_colors}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One image against its reference: PSNR in dB (infinite if they are identical) and SSIM (at most 1)."""

    psnr: float
    ssim: float
    convention: Convention

    @property
    def identical(self) -> bool:
        """Whether no compared pixel differs."""
        return isinf(self.psnr)

    def plain(self) -> dict[str, Any]:
        """As JSON values; an infinite PSNR is null beside a reason."""
        psnr = {"psnr": None, "psnr_reason": "the pictures are identical"} if self.identical else {"psnr": self.psnr}
        return {**psnr, "ssim": self.ssim, "convention": self.convention.plain()}


def measure_image(image: Pixels, reference: Pixels, convention: Convention) -> Quality:
    """PSNR and SSIM of an image against its reference, both uint8 RGB of one shape (height, width, 3).

    Raises:
        ImageError: `size_mismatch`, `too_small` for a window of SSIM after cropping, or `unsupported` arrays.
        MissingExtraError: scikit-image is not installed.
    """
    structural_similarity, peak_signal_noise_ratio = _metrics()
    _require_pair(image, reference, convention.crop_border)
    left, right = (_compared_pixels(rgb, convention) for rgb in (image, reference))
    if np.array_equal(left, right):
        return Quality(psnr=inf, ssim=1.0, convention=convention)
    ssim = structural_similarity(
        right,
        left,
        data_range=convention.data_range,
        channel_axis=2 if right.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    psnr = peak_signal_noise_ratio(right, left, data_range=convention.data_range)
    return Quality(psnr=float(psnr), ssim=float(ssim), convention=convention)


def resized(image: Pixels, reference: Pixels, convention: Convention) -> tuple[Pixels, Pixels]:
    """An image and what is compared of its reference, one of them brought to the other's size if it is so said."""
    reference = divisible_part(reference, convention.mod_crop or 1)
    side, _, resample = convention.resize.partition(":")
    if side == "picture":
        return resize(image, reference.shape[:2], resample), reference
    if side == "reference":
        return image, resize(reference, image.shape[:2], resample)
    return image, reference


def luma(rgb: Pixels) -> NDArray[np.uint8]:
    """Y of BT.601 in limited range, uint8 in 16–235 of shape (height, width), rounded to the nearest level."""
    red, green, blue = (rgb[..., place].astype(np.float64) * weight for place, weight in enumerate(_LUMA))
    return np.rint((red + green + blue) / 255 + 16).astype(np.uint8)


def _compared_pixels(rgb: Pixels, convention: Convention) -> NDArray[np.uint8]:
    """What is left of an image to compare: without its border, in the channel asked for."""
    border = convention.crop_border
    inner = rgb[border : rgb.shape[0] - border, border : rgb.shape[1] - border]
    return luma(inner) if convention.channel == "y" else inner


def _require_pair(image: Pixels, reference: Pixels, border: int) -> None:
    for what, rgb in (("image", image), ("reference", reference)):
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ImageError(
                "unsupported", f"expected the {what} as uint8 RGB (height, width, 3), but got {rgb.dtype} {rgb.shape}"
            )
    if image.shape != reference.shape:
        raise ImageError(
            "size_mismatch",
            f"expected two images of one size, but the image is {_size(image)} and its reference "
            f"{_size(reference)}; bring them to one size first, and say how",
        )
    if min(image.shape[:2]) - 2 * border < SMALLEST:
        raise ImageError(
            "too_small",
            f"expected at least {SMALLEST}×{SMALLEST} pixels after cropping {border} on every side, "
            f"but the images are {_size(image)}",
        )


def _size(rgb: Pixels) -> str:
    return f"{rgb.shape[1]}×{rgb.shape[0]}"


def _metrics() -> tuple[Any, Any]:
    with needs_extra("scikit-image", "eval", _PURPOSE):
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    return structural_similarity, peak_signal_noise_ratio
