"""Near-duplicates: other sizes, codecs and brightness are found, other images are not, and no pair is missed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_folder import texture

from srcache.catalog.scanning import scan
from srcache.images import encode, resize
from srcache.study.prepare.near_duplicates import (
    DISTANCE,
    Looks,
    NearDuplicate,
    compare_looks,
    difference_hash,
    find_near_duplicates,
)


def _write(folder, images):
    folder.mkdir(parents=True)
    for name, (rgb, codec) in images.items():
        (folder / f"{name}.{codec.partition(':')[0]}").write_bytes(encode(rgb, codec))
    return scan(folder)


def _brighter(rgb):
    return np.clip(rgb.astype(int) + 12, 0, 255).astype(np.uint8)


def test_copies_of_other_size_codec_and_brightness_are_found(tmp_path):
    train = _write(tmp_path / "train/a", {f"t{at}": (texture(at, 48), "png") for at in range(12)})
    copies = {
        "smaller": (resize(texture(3, 48), (31, 31), "bicubic"), "png"),
        "coarser": (texture(5, 48), "jpeg:60"),
        "brighter": (_brighter(texture(7, 48)), "png"),
    }
    others = {f"o{at}": (texture(100 + at, 48), "png") for at in range(12)}
    seen = []
    test = _write(tmp_path / "test/a", copies | others)
    found = find_near_duplicates(train, test, lambda done, total: seen.append((done, total)))
    assert {one.test.partition(".")[0]: one.train for one in found} == {
        "smaller": "t3.png",
        "coarser": "t5.png",
        "brighter": "t7.png",
    }
    assert seen[-1] == (27, 27)


def test_a_mirrored_image_and_one_that_cannot_be_read_are_none(tmp_path):
    train = _write(tmp_path / "train", {"t": (texture(1, 32), "png")})
    test = _write(tmp_path / "test", {"m": (texture(1, 32)[:, ::-1].copy(), "png"), "x": (texture(2, 32), "png")})
    (tmp_path / "test/x.png").write_bytes(b"no image")
    assert find_near_duplicates(train, test) == ()


def test_blank_images_of_other_greys_are_different(tmp_path):
    train = _write(tmp_path / "train", {"dark": (np.full((9, 9, 3), 10, np.uint8), "png")})
    blank = {str(grey): (np.full((9, 9, 3), grey, np.uint8), "png") for grey in (11, 200)}
    (found,) = find_near_duplicates(train, _write(tmp_path / "test", blank))
    assert found == NearDuplicate(test="11.png", train="dark.png", distance=0)


def test_the_hash_says_where_an_image_gets_brighter():
    rising = np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], 3, axis=2).repeat(80, axis=0)
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising[:, ::-1].copy()) == 0
    half = np.concatenate([rising[:40], rising[:40, ::-1]])
    assert difference_hash(half) == (2**32 - 1) << 32


def _looks(hashes):
    names = tuple(f"n{at}" for at in range(len(hashes)))
    return Looks(names=names, hashes=np.array(hashes, np.uint64), thumbnails=np.zeros((len(hashes), 256), np.float32))


_hash = st.integers(0, 2**64 - 1)


@given(_hash, st.lists(st.integers(0, 63), max_size=10, unique=True), st.lists(_hash, max_size=5))
def test_every_pair_within_the_distance_is_found_and_no_other(bits, flipped, others):
    other = bits
    for at in flipped:
        other ^= 1 << at
    train = [*others, other]
    apart = [bin(bits ^ one).count("1") for one in train]
    found = compare_looks(_looks(train), _looks([bits]))
    nearest = min(apart)
    assert [(one.distance, one.train) for one in found] == (
        [(nearest, f"n{apart.index(nearest)}")] if nearest <= DISTANCE else []
    )


@pytest.mark.medium
def test_many_are_compared_piece_by_piece(monkeypatch):
    monkeypatch.setattr("srcache.study.prepare.near_duplicates._PAIRS", 7)
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 2**63, count, dtype=np.uint64) for count in (50, 40))
    test[[3, 17, 39]] = train[[4, 4, 49]] ^ np.uint64(0b101)
    found = compare_looks(_looks(train.tolist()), _looks(test.tolist()))
    assert [(one.test, one.train, one.distance) for one in found] == [
        ("n3", "n4", 2),
        ("n17", "n4", 2),
        ("n39", "n49", 2),
    ]
