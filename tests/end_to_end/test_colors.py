"""One way of colours everywhere: what a recipe says of profiles and backgrounds holds for source, LR and HR alike."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_files import WIDE, by_pillow, half_clear, spectrum
from PIL import Image
from srcache_cli.main import run

from srcache import SRAugment, SRAugmentedDataset
from srcache.cache import open_cache
from srcache.catalog import from_dataset, scan
from srcache.errors import ConfigError
from srcache.fill import FillSettings, fill
from srcache.images import Colors, decode, resize
from srcache.keys import entry_name, image_key
from srcache.loader import SRLoader
from srcache.maintain.explain import explain
from srcache.recipe import load_recipe
from srcache.study.arms import arm_dataset
from srcache.study.prepare import CropSettings, Shrinking, make_crops, make_lr
from srcache.study.quality import Convention, measure_folders

CPU = FillSettings(device="cpu")
CHANGES = {"scale": 2, "color_profile": "srgb", "background": "#204060"}
COLORS = Colors(profile="srgb", background="#204060")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes: an image with a profile, and one with a profile and a clear half."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    spectrum(12, 16).save(tmp_path / "photos/cat/a.png", icc_profile=WIDE)
    half_clear(spectrum(12, 16)).save(tmp_path / "photos/dog/b.png", icc_profile=WIDE)
    return tmp_path / "photos"


def expected() -> Iterator[np.ndarray]:
    """The two images in the recipe's colours, by Pillow."""
    plain = by_pillow(spectrum(12, 16), WIDE)
    yield plain
    laid = plain.copy()
    laid[:6] = (0x20, 0x40, 0x60)
    yield laid


@pytest.fixture
def srcache(capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command line: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        return run([str(word) for word in words]), *capfd.readouterr()

    return call


def served(data: Any) -> list[np.ndarray]:
    return [np.asarray(data[index][0]) for index in range(2)]


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(np.stack(list(found)), np.stack(list(wanted)))


@pytest.mark.medium
def test_source_and_lr_have_the_recipe_s_colours_in_fill_data_set_loader_and_arms(photos: Path, tmp_path: Path) -> None:
    recipe = load_recipe("bicubic", CHANGES)
    report = fill(scan(photos), recipe, tmp_path / "cache", CPU)
    assert report.notes == {"profile_applied": 2, "alpha": 1}
    enlarged = [resize(one, (24, 32), "bicubic") for one in expected()]
    cache = tmp_path / "cache"
    same(served(SRAugmentedDataset(photos, cache, policy="sr")), enlarged)
    same(served(SRAugmentedDataset(photos, cache, policy="lr")), expected())
    same(served(SRAugmentedDataset(photos, cache, policy="hr", hr=photos)), expected())
    for images, _ in SRLoader(SRAugmentedDataset(photos, cache, policy="lr"), batch_size=2, num_workers=0):
        same(images.permute(0, 2, 3, 1).numpy(), expected())
    for arm, wanted in (("lr", expected()), ("sr", enlarged), ("bicubic", enlarged)):
        data = arm_dataset(arm, lr=photos, cache=cache)
        same([data[0], data[1]], wanted)
    store = open_cache(cache).find(recipe).store()
    file = photos / "cat/a.png"
    same([decode(store.get(entry_name(image_key(file.read_bytes()), 0)) or b"")], enlarged[:1])
    assert explain(cache, file, "bicubic", CHANGES).hit
    assert not explain(cache, file, "bicubic", {"scale": 2}).hit


@pytest.mark.medium
def test_a_transform_finds_images_by_unconverted_pixels_and_serves_converted_ones(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    fill(scan(photos), load_recipe("bicubic", CHANGES), cache, CPU)
    wanted = list(expected())
    with Image.open(photos / "cat/a.png") as image:
        same([np.asarray(SRAugment(cache, policy="lr")(image))], wanted[:1])
        same([np.asarray(SRAugment(cache, policy="sr")(image))], [resize(wanted[0], (24, 32), "bicubic")])
        with pytest.raises(ConfigError, match="the images are in memory"):
            SRAugment(cache, policy="lr")(np.asarray(image))


@pytest.mark.medium
def test_hr_that_a_recipe_degrades_has_its_colours_also_where_the_engine_makes_what_misses(
    photos: Path, tmp_path: Path
) -> None:
    changes = {**CHANGES, "degradation": "bicubic/2", "size": "source"}
    recipe, cache = load_recipe("bicubic", changes), tmp_path / "cache"
    fill(scan(photos / "cat"), recipe, cache, CPU)
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine")
    made = served(data)
    assert data.counts["computed"] == 1
    fill(scan(photos), recipe, tmp_path / "other", CPU)
    same(made, served(SRAugmentedDataset(photos, tmp_path / "other", policy="sr")))
    same(served(SRAugmentedDataset(photos, cache, policy="hr")), expected())
    assert recipe.degradation is not None
    same(served(SRAugmentedDataset(photos, cache, policy="lr")), [recipe.degradation.apply(one) for one in expected()])


def test_images_in_memory_are_refused_in_words_where_profiles_are_followed(photos: Path, tmp_path: Path) -> None:
    base = [(Image.new("RGB", (8, 8)), 0)]
    with pytest.raises(ConfigError, match="color_profile: srgb, but the images are in memory"):
        fill(from_dataset(base), load_recipe("bicubic", CHANGES), tmp_path / "new", CPU)
    assert not (tmp_path / "new").exists()
    fill(scan(photos), load_recipe("bicubic", CHANGES), tmp_path / "cache", CPU)
    with pytest.raises(ConfigError, match="color_profile: srgb, but the images are in memory"):
        SRAugmentedDataset(base, tmp_path / "cache")


def test_images_in_memory_may_lie_over_a_background(tmp_path: Path) -> None:
    base, changes = [(half_clear(spectrum(12, 16)), 0)], {"scale": 2, "background": "black"}
    fill(from_dataset(base), load_recipe("bicubic", changes), tmp_path / "cache", CPU)
    (found,) = (np.asarray(SRAugmentedDataset(base, tmp_path / "cache", policy=kind)[0][0]) for kind in ("lr",))
    assert (found[:6] == 0).all()
    assert np.asarray(SRAugmentedDataset(base, tmp_path / "cache", policy="sr")[0][0]).shape == (24, 32, 3)


def test_prepared_copies_and_measured_references_have_the_same_colours(
    photos: Path, tmp_path: Path, srcache: Any
) -> None:
    how = Shrinking(factor=2, color_profile="srgb", background="#204060")
    made = make_lr(photos, tmp_path / "lr", how)
    assert made.notes == {"alpha": 1, "profile_applied": 2}
    same([decode(file.read_bytes()) for file in sorted((tmp_path / "lr").rglob("*.png"))], map(how.apply, expected()))
    make_crops(
        photos, tmp_path / "c/hr", tmp_path / "c/lr", CropSettings(size=12, factor=2, per_image=1, color_profile="srgb")
    )
    found = decode((tmp_path / "c/hr/cat/a_000.png").read_bytes())
    assert any(np.array_equal(found, next(expected())[:, left : left + 12]) for left in range(5))
    for place, one in zip(("cat/a", "dog/b"), expected(), strict=True):
        (tmp_path / "flat" / place).parent.mkdir(parents=True)
        Image.fromarray(one).save(tmp_path / "flat" / f"{place}.png")
    convention = Convention(colors=COLORS)
    report = measure_folders(photos, tmp_path / "flat", ["psnr"], convention)
    assert all(row["psnr"] == float("inf") for row in report.rows.values())
    assert "ICC profiles, over #204060" in report.summaries[0].text
    assert report.summaries[0].convention["color_profile"] == "srgb"
    words = ["eval", "images", "--reference", photos, "--test", tmp_path / "flat", "--json"]
    code, out, _ = srcache(*words, "--color-profile", "srgb", "--background", "#204060")
    assert (code, json.loads(out)["result"]["metrics"]["psnr"]["n"]) == (0, 2)


@pytest.mark.medium
def test_a_cache_is_measured_in_the_colours_of_its_recipe(photos: Path, tmp_path: Path) -> None:
    changes = {**CHANGES, "degradation": "bicubic/2", "size": "source"}
    fill(scan(photos), load_recipe("bicubic", changes), tmp_path / "cache", CPU)
    found = measure_folders(photos, tmp_path / "cache", ["psnr"], Convention())
    other = measure_folders(photos, tmp_path / "cache", ["psnr"], Convention(colors=Colors()))
    assert found.summaries[0].mean > 5 + other.summaries[0].mean


def test_the_command_line_says_what_was_done(photos: Path, tmp_path: Path, srcache: Any) -> None:
    (photos / "owl").mkdir()
    (photos / "owl/c.psd").write_bytes(b"none")
    words = ["build", photos, "--cache", tmp_path / "cache", "--recipe", "bicubic", "--set", "background=#ff0000"]
    code, out, err = srcache(*words)
    line = "images: 1 file passed over (.psd 1); 1 laid over #ff0000 for transparency; 2 with an ICC profile that was"
    assert code == 0
    assert line in out
    assert "class owl has no image" in err
    again = json.loads(srcache(*words, "--json")[1])
    assert again["result"]["treated"] == {"passed_over": {".psd": 1}, "empty_classes": {"owl": {".psd": 1}}}
    (receipt, *_) = open_cache(tmp_path / "cache").folders()[0].receipts()
    assert receipt["notes"] == {"alpha": 1, "profile_ignored": 2}
    code, _, err = srcache(*words[:-1], "background=grey")
    assert code == 2
    assert "background must be white, black or #rrggbb" in err
