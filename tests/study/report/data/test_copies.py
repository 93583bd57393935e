"""Copies of images: pixels as they are where there is room, within the budget always."""

import io
from base64 import b64decode

import numpy as np
import pytest
from color_files import WIDE
from PIL import Image
from report_page import data_of, render

from srcache.images import AS_EVER, Colors, decode, encode
from srcache.study.report.data.copies import REDUCTIONS, copy_images, spread


def test_small_images_keep_their_pixels(folder, results, html):
    data = data_of(html)
    for row, shown in zip(results["images"], data["pictures"], strict=True):
        for kind in ("lr", "bicubic", "sr", "hr"):
            head, _, body = shown["images"][kind]["src"].partition(",")
            assert head == "data:image/png;base64"
            assert (decode(b64decode(body)) == decode((folder / row[kind]).read_bytes())).all()


def test_colors_are_those_of_the_experiment(folder, results, tmp_path):
    hr = folder / results["images"][0]["hr"]
    Image.open(io.BytesIO(hr.read_bytes())).save(hr, format="PNG", icc_profile=WIDE)
    results["config"] = {"degradation": {"color_profile": "srgb"}}
    shown = data_of(render(results, folder))["pictures"][0]["images"]["hr"]["src"].partition(",")[2]
    wanted = decode(hr.read_bytes(), Colors(profile="srgb"))
    assert not (wanted == decode(hr.read_bytes())).all()
    assert (decode(b64decode(shown)) == wanted).all()


def _noise(folder, count, size):
    rng = np.random.default_rng(1)
    paths = []
    for at in range(count):
        paths.append(folder / f"{at}.png")
        paths[-1].write_bytes(encode(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), "png"))
    return paths


@pytest.mark.medium
def test_the_budget_is_kept_with_the_best_copies_that_fit(tmp_path):
    paths = _noise(tmp_path, 12, 128)
    sizes = []
    for budget in (10_000_000, 200_000, 60_000, 30_000, 18_000):
        copies = copy_images(dict.fromkeys(paths, AS_EVER), budget)
        assert copies.bytes <= budget
        assert set(copies.by_file) == set(paths)
        sizes.append(REDUCTIONS.index(copies.reduction))
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    assert sizes[-1] > 3
    assert copy_images(dict.fromkeys(paths, AS_EVER), 1).reduction == REDUCTIONS[-1]


@pytest.mark.medium
def test_a_sample_that_misleads_is_noticed(tmp_path):
    paths = []
    for at in range(60):
        paths.append(tmp_path / f"{at:02}.png")
        easy = at % 5 in (0, 2)  # those that the sample of 24 takes
        size = 8 if easy else 64
        pixels = np.random.default_rng(at).integers(0, 256, (size, size, 3), dtype=np.uint8)
        paths[-1].write_bytes(encode(pixels, "png"))
    assert {int(path.stem) % 5 for path in spread(paths, 24)} == {0, 2}
    copies = copy_images(dict.fromkeys(paths, AS_EVER), 100_000)
    assert copies.bytes <= 100_000
    assert len(copies.by_file) == 60
