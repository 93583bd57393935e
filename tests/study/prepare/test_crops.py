"""Paired crops: parts of their images, at places that key, seed and number decide alone, in every release."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prepare_commands import images

from srcache.errors import ConfigError
from srcache.images import Pixels
from srcache.keys import image_key
from srcache.study.prepare.crops import CropSettings, crop, make_crops


def test_crops_are_cut_from_their_images(photos: Path, tmp_path: Path) -> None:
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, factor=4, per_image=3))
    assert (done.written, done.kept, done.failures) == (72, 0, ())
    assert done.folders == (tmp_path / "hr", tmp_path / "lr")
    high, low = images(tmp_path / "hr"), images(tmp_path / "lr")
    assert high.keys() == low.keys()
    assert sorted(high)[:3] == ["bark/bark0_000.png", "bark/bark0_001.png", "bark/bark0_002.png"]
    for name in high:
        square = Image.open(tmp_path / "hr" / name)
        photo = next((photos / Path(name).parent).glob(f"{Path(name).stem[:-4]}.*"))
        assert is_part(np.asarray(square), np.asarray(Image.open(photo)))
        expected = square.resize((4, 4), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "lr" / name)), np.asarray(expected))


def is_part(square: Pixels, photo: Pixels) -> bool:
    views = np.lib.stride_tricks.sliding_window_view(photo, square.shape)
    return bool((views == square).all((-3, -2, -1)).any())


def test_crops_come_from_key_seed_and_number_alone(photos: Path, tmp_path: Path) -> None:
    make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, per_image=2))
    first = images(tmp_path / "hr")
    (tmp_path / "few").mkdir()
    shutil.copy(photos / "moss/moss1.png", tmp_path / "few/renamed.png")
    make_crops(tmp_path / "few", tmp_path / "hr2", tmp_path / "lr2", CropSettings(size=16, per_image=5))
    second = images(tmp_path / "hr2")
    assert [second[f"renamed_00{n}.png"] for n in (0, 1)] == [first[f"moss/moss1_00{n}.png"] for n in (0, 1)]
    make_crops(tmp_path / "few", tmp_path / "hr3", tmp_path / "lr3", CropSettings(size=16, per_image=5, seed=1))
    assert images(tmp_path / "hr3") != second


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12), st.text(max_size=5))
def test_a_crop_is_inside(size: int, more_rows: int, more_columns: int, name: str) -> None:
    rows, columns = np.mgrid[0 : size + more_rows, 0 : size + more_columns]
    photo = np.dstack([rows, columns, rows]).astype(np.uint8)
    square = crop(photo, size, name)
    assert square.shape == (size, size, 3)
    top, left = square[0, 0, :2]
    np.testing.assert_array_equal(square, photo[top : top + size, left : left + size])


def test_crops_reach_every_place() -> None:
    photo = np.dstack([*np.mgrid[0:5, 0:4], np.zeros((5, 4))]).astype(np.uint8)
    corners = Counter(tuple(crop(photo, 2, str(n))[0, 0, :2]) for n in range(2400))
    assert len(corners) == 4 * 3
    assert all(130 < count < 270 for count in corners.values()), "each place about 200 times"


def test_crop_positions_are_frozen() -> None:
    photo = np.dstack([*np.mgrid[0:200, 0:200], np.zeros((200, 200))]).astype(np.uint8)
    places = [tuple(int(v) for v in crop(photo, 10, f"0/{image_key(b'')}/{n}")[0, 0, :2]) for n in range(3)]
    assert places == [(140, 38), (40, 140), (115, 55)], "the same data and seed must be the same crops in every release"


def test_images_smaller_than_a_crop_fail(photos: Path, tmp_path: Path) -> None:
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=32, factor=4, per_image=1))
    assert done.failed == {"too_small": 9}
    assert done.written == 2 * 3, "one image of each class is 32×32"
    assert "32×24 pixels are smaller than a square of 32" in done.failures[0].detail


@pytest.mark.parametrize("bad", [{"size": 10, "factor": 4}, {"size": 0}, {"per_image": 0}, {"size": -4}, {"factor": 1}])
def test_crops_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        CropSettings(**bad)


def test_crops_folders_must_lie_apart(photos: Path, tmp_path: Path) -> None:
    for high, low in (("out", "out"), ("out", "out/lr"), ("out/hr", "out")):
        with pytest.raises(ConfigError, match="must lie apart"):
            make_crops(photos, tmp_path / high, tmp_path / low, CropSettings(size=16))
    with pytest.raises(ConfigError, match="must lie apart"):
        make_crops(photos, tmp_path / "hr", photos / "lr", CropSettings(size=16))
    assert not (tmp_path / "hr").exists()
