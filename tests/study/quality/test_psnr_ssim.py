"""PSNR and SSIM against an independent implementation, published conventions, and pairs that cannot be measured."""

import json
import math
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from srcache.errors import ConfigError, ImageError, MissingExtraError
from srcache.images import Pixels, decode, resize
from srcache.recipe.degradation import Degradation
from srcache.study.quality import psnr_ssim
from srcache.study.quality.psnr_ssim import Convention, luma, measure_image, resized

RGB = Convention()
Y4 = Convention(channel="y", crop_border=4)
PICTURE = arrays.arrays(np.uint8, (13, 17, 3))


def noisy(seed: int, height: int = 40, width: int = 33) -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(seed)
    clean = np.cumsum(rng.integers(-9, 10, (height, width, 3)), axis=1) + 128
    dirty = clean + rng.normal(0, 12, clean.shape)
    return dirty.clip(0, 255).astype(np.uint8), clean.clip(0, 255).astype(np.uint8)


def plain_luma(rgb: Pixels) -> np.ndarray:
    return np.round(rgb.astype(float) @ np.array([65.481, 128.553, 24.966]) / 255 + 16)


def plain_psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """One channel, window by window as the definition says; windows that stick out of the image do not count."""
    ramp = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(ramp, ramp) / ramp.sum() ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (plane[top : top + 11, left : left + 11].astype(float) for plane in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            both = (weights * (x - mx) * (y - my)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("seed", range(4))
def test_rgb_agrees_with_the_definition(seed: int) -> None:
    got, wanted = noisy(seed)
    quality = measure_image(got, wanted, RGB)
    assert quality.psnr == pytest.approx(plain_psnr(got, wanted), abs=1e-9)
    channels = [plain_ssim(got[..., place], wanted[..., place]) for place in range(3)]
    assert quality.ssim == pytest.approx(np.mean(channels), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_y_with_a_border_agrees_with_the_definition(seed: int) -> None:
    got, wanted = noisy(seed)
    quality = measure_image(got, wanted, Y4)
    left, right = (plain_luma(rgb)[4:-4, 4:-4] for rgb in (got, wanted))
    assert quality.psnr == pytest.approx(plain_psnr(left, right), abs=1e-9)
    assert quality.ssim == pytest.approx(plain_ssim(left, right), abs=1e-9)


@pytest.mark.medium
def test_a_known_photo_has_its_known_scores() -> None:
    """Astronaut, 512 px, bicubic down and up by 4. The values hold for any tool that follows the convention."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    photo = decode((Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png").read_bytes())
    blurred = resize(Degradation(factor=4).apply(photo), (512, 512), "bicubic")
    assert measure_image(blurred, photo, RGB).psnr == pytest.approx(25.37842, abs=2e-5)
    quality = measure_image(blurred, photo, Y4)
    assert quality.psnr == pytest.approx(26.83424, abs=2e-5)
    assert quality.ssim == pytest.approx(0.84168, abs=1e-5)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_luma_of_every_colour_is_rounded_and_in_limited_range(colour: tuple[int, int, int]) -> None:
    level = int(luma(np.array([[colour]], np.uint8))[0, 0])
    exact = 16 + (65.481 * colour[0] + 128.553 * colour[1] + 24.966 * colour[2]) / 255
    assert abs(level - exact) <= 0.5 + 1e-9
    assert 16 <= level <= 235


def test_luma_of_black_white_and_the_primaries() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert luma(np.array([colours], np.uint8)).tolist() == [[16, 235, 81, 145, 41]]


@given(PICTURE)
def test_identical_images_have_infinite_psnr(picture: Pixels) -> None:
    quality = measure_image(picture, picture.copy(), RGB)
    assert quality.psnr == math.inf
    assert quality.ssim == 1.0
    assert quality.identical


@pytest.mark.medium
@given(PICTURE, PICTURE)
def test_the_order_of_a_pair_does_not_matter(left: Pixels, right: Pixels) -> None:
    one, other = measure_image(left, right, RGB), measure_image(right, left, RGB)
    assert one.psnr == other.psnr
    assert one.ssim == pytest.approx(other.ssim, abs=1e-12)
    assert -1 <= one.ssim <= 1


def test_a_cropped_border_is_not_looked_at() -> None:
    got, wanted = noisy(0)
    framed = wanted.copy()
    framed[4:-4, 4:-4] = got[4:-4, 4:-4]
    assert measure_image(framed, wanted, Y4) == measure_image(got, wanted, Y4)
    assert measure_image(framed, wanted, RGB) != measure_image(got, wanted, RGB)


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(ImageError, match="one size, but the image is 20×30 and its reference 80×120") as caught:
        measure_image(np.zeros((30, 20, 3), np.uint8), np.zeros((120, 80, 3), np.uint8), RGB)
    assert caught.value.reason == "size_mismatch"


@pytest.mark.parametrize(("side", "border"), [(10, 0), (18, 4), (6, 4)])
def test_images_smaller_than_a_window_are_refused(side: int, border: int) -> None:
    small = np.zeros((side, 30, 3), np.uint8)
    with pytest.raises(ImageError, match="at least 11×11") as caught:
        measure_image(small, small, Convention(crop_border=border))
    assert caught.value.reason == "too_small"


@pytest.mark.parametrize(
    "array", [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 3))]
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="uint8 RGB"):
        measure_image(array, array, RGB)


def test_identical_images_have_a_reason_instead_of_an_infinite_number() -> None:
    _, wanted = noisy(0)
    plain = measure_image(wanted, wanted, RGB).plain()
    assert (plain["psnr"], plain["psnr_reason"]) == (None, "the pictures are identical")
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize("side", ["picture", "reference"])
def test_one_of_a_pair_is_brought_to_the_size_of_the_other(side: str) -> None:
    image, reference = noisy(0, 24, 30)[0], noisy(1, 48, 60)[1]
    left, right = resized(image, reference, Convention(resize=f"{side}:lanczos"))
    if side == "picture":
        assert np.array_equal(left, resize(image, (48, 60), "lanczos"))
        assert right is reference
    else:
        assert left is image
        assert np.array_equal(right, resize(reference, (24, 30), "lanczos"))


def test_without_a_resize_both_stay_as_they_are() -> None:
    image, reference = noisy(0, 24, 30)[0], noisy(1, 48, 60)[1]
    assert resized(image, reference, RGB) == (image, reference)


def test_every_number_says_how_it_was_measured() -> None:
    plain = measure_image(*noisy(0), Y4).plain()
    assert plain["convention"] == {
        "channel": "y",
        "crop_border": 4,
        "data_range": 255,
        "resize": "none",
        "library": "scikit-image",
        "version": version("scikit-image"),
        "mod_crop": 1,
    }
    assert "psnr_reason" not in plain
    assert str(Y4).startswith("Y (BT.601, 16–235, rounded), 4 px cropped, range 255, scikit-image ")


def test_impossible_conventions_are_refused() -> None:
    with pytest.raises(ConfigError, match="one of rgb, y, but got 'luma'"):
        Convention(channel="luma")
    with pytest.raises(ConfigError, match="at least 0, but is -1"):
        Convention(crop_border=-1)


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(psnr_ssim, "version", absent)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[eval\]'"):
        Convention()
