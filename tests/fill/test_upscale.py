"""upscale: files without a cache, with the pixels that a build would store."""

import io
import shutil
from pathlib import Path

import caches
import numpy as np
import pytest
from PIL import Image

from srcache.errors import CatalogError, EngineError, RecipeError
from srcache.fill.settings import FillSettings
from srcache.fill.upscale import upscale
from srcache.images import decode
from srcache.maintain.export import export
from srcache.recipe.reading import load_recipe

CPU = FillSettings(device="cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    caches.make_photos(folder / "photos")
    return folder


@pytest.fixture
def images(home) -> list[Path]:
    """The photos that can be used."""
    return [path for path in sorted((home / "photos").rglob("*.*")) if path.stem != "leer"]


def _recipe(home, name):
    return load_recipe(caches.recipe_file(home, name))


@pytest.mark.medium
@pytest.mark.parametrize(("name", "samples"), [("bicubic", 1), ("small", 1), ("noisy", 2)])
def test_the_files_are_byte_for_byte_those_of_build_and_export(home, images, tmp_path, name, samples):
    caches.build(home / "photos", tmp_path / "cache", name, samples=samples)
    export(tmp_path / "cache", tmp_path / "exported", names=True)
    settings = FillSettings(device="cpu", samples=samples)
    report = upscale(images, _recipe(home, name), tmp_path / "out", settings)
    exported = {path.name: path.read_bytes() for path in (tmp_path / "exported").rglob("*.[pj]*g")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == exported
    assert len(exported) == len(images) * samples
    assert (len(report.files), report.failures, report.device) == (len(exported), (), "cpu")


def test_files_come_in_the_order_of_the_inputs_and_progress_is_reported(home, images, tmp_path):
    seen = []
    report = upscale(images[::-1], _recipe(home, "bicubic"), tmp_path, CPU, progress=lambda *at: seen.append(at))
    assert [file.stem for file in report.files] == [image.stem for image in images[::-1]]
    assert seen[-1] == (5, 5), "equal bytes are computed once"
    with Image.open(images[0]) as first, Image.open(report.files[-1]) as last:
        expected = first.convert("RGB").resize((2 * first.width, 2 * first.height), Image.Resampling.BICUBIC)
        assert np.array_equal(np.asarray(last), np.asarray(expected))


def test_what_cannot_be_done_is_listed_and_the_rest_is_done(home, tmp_path, make_image):
    good, empty, again = tmp_path / "gut.png", tmp_path / "leer.png", tmp_path / "auch leer.jpg"
    Image.fromarray(make_image(8, 8)).save(good)
    empty.touch()
    shutil.copy(empty, again)
    report = upscale([empty, good, again, tmp_path / "fehlt.png"], _recipe(home, "bicubic"), tmp_path / "out", CPU)
    assert [file.name for file in report.files] == ["gut.png"]
    assert {failed.source: failed.reason for failed in report.failures} == {
        str(tmp_path / "fehlt.png"): "unreadable",
        str(empty): "empty",
        str(again): "empty",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gut.png"]


def test_an_engine_that_fails_on_one_image_does_not_keep_the_others(home, tmp_path, make_image):
    for mark in ("nan", "raises", None):
        Image.fromarray(make_image(32, 32, mark=mark)).save(tmp_path / f"{mark}.png")
    (tmp_path / "faulty.yaml").write_text("engine: test-faulty\nscale: 2\n")
    (tmp_path / "empty.png").touch()
    images = [tmp_path / f"{name}.png" for name in ("raises", "None", "empty", "nan")]
    report = upscale(images, load_recipe(tmp_path / "faulty.yaml"), tmp_path / "out", CPU)
    assert [file.name for file in report.files] == ["None.png"]
    assert [failed.reason for failed in report.failures] == ["engine_error", "empty", "not_finite"]


def test_nothing_is_overwritten_unasked(home, images, tmp_path):
    upscale(images[:2], _recipe(home, "bicubic"), tmp_path, CPU)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CatalogError, match=r"files are there already: .*erste möwe\.png; choose another folder"):
        upscale(images[:1], _recipe(home, "lanczos"), tmp_path, CPU)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    upscale(images[:1], _recipe(home, "lanczos"), tmp_path, CPU, force=True)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["erste möwe.png"]


def test_what_was_stopped_is_completed_by_the_same_call(home, images, tmp_path):
    def stop(done, _total):
        if done == 1:
            raise KeyboardInterrupt

    whole = upscale(images, _recipe(home, "bicubic"), tmp_path / "whole", CPU)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("precious")
    with pytest.raises(EngineError, match="ended by KeyboardInterrupt"):
        upscale(images, _recipe(home, "bicubic"), tmp_path / "out", CPU, progress=stop)
    there = {path: path.stat().st_ino for path in (tmp_path / "out").glob("*.png")}
    for path in list(there)[1:]:
        path.unlink()
        del there[path]
    assert len(there) == 1
    with pytest.raises(CatalogError, match="files are there already"):
        upscale(images, _recipe(home, "lanczos"), tmp_path / "out", CPU)
    report = upscale(images, _recipe(home, "bicubic"), tmp_path / "out", CPU)
    assert [file.name for file in report.files] == [file.name for file in whole.files]
    assert all(path.stat().st_ino == number for path, number in there.items()), "what was there is not made again"
    assert [file.read_bytes() for file in report.files] == [file.read_bytes() for file in whole.files]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mine.txt", *(file.name for file in whole.files)}
    with pytest.raises(CatalogError, match="files are there already"):
        upscale(images, _recipe(home, "bicubic"), tmp_path / "out", CPU)


def test_two_inputs_never_become_one_file(home, tmp_path, make_image):
    (tmp_path / "other").mkdir()
    for name in ("cat.png", "cat.jpg", "other/cat.png"):
        Image.fromarray(make_image(8, 8)).save(tmp_path / name)
    for pair in (["cat.png", "cat.jpg"], ["cat.png", "other/cat.png"], ["cat.png", "cat.png"]):
        with pytest.raises(CatalogError, match=r"several images would be written to cat\.png"):
            upscale([tmp_path / name for name in pair], _recipe(home, "bicubic"), tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()


def test_a_source_is_never_overwritten_even_by_force(home, tmp_path, make_image):
    Image.fromarray(make_image(8, 8)).save(tmp_path / "cat.png")
    before = (tmp_path / "cat.png").read_bytes()
    with pytest.raises(CatalogError, match="would be written over themselves"):
        upscale([tmp_path / "cat.png"], _recipe(home, "bicubic"), tmp_path, CPU, force=True)
    assert (tmp_path / "cat.png").read_bytes() == before


def test_samples_need_an_engine_that_draws_noise(home, images, tmp_path):
    with pytest.raises(RecipeError, match="draws no noise: 2 samples would all be the same; use 1"):
        upscale(images, _recipe(home, "bicubic"), tmp_path / "out", FillSettings(samples=2))
    assert not (tmp_path / "out").exists()


def test_what_is_written_is_a_valid_image_although_the_suffix_of_a_source_is_wrong(home, tmp_path, make_image):
    data = io.BytesIO()
    Image.fromarray(make_image(8, 8)).save(data, "PNG")
    (tmp_path / "photo.jpg").write_bytes(data.getvalue())
    [file] = upscale([tmp_path / "photo.jpg"], _recipe(home, "bicubic"), tmp_path / "out", CPU).files
    assert file.name == "photo.png"
    assert decode(file.read_bytes()).shape == (16, 16, 3)
