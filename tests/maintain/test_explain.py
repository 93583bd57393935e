"""explain: the right reason for every hit and every miss."""

import shutil
from pathlib import Path

import caches
import pytest
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.errors import CacheError, EngineError, ImageError, RecipeError
from srcache.keys import file_key
from srcache.maintain.explain import Difference, explain, find_recipe
from srcache.recipe.reading import load_recipe

BICUBIC = {"recipe": "bicubic", "changes": {"scale": 2}}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with photos and a cache: `bicubic` ×2 of all, `noisy` with 2 samples of one class."""
    folder = tmp_path_factory.mktemp("home")
    photos = caches.make_photos(folder / "photos")
    caches.build(photos, folder / "cache")
    shutil.copytree(photos / "Möwen & Co", folder / "some")
    caches.build(folder / "some", folder / "cache", "noisy", samples=2)
    return folder


@pytest.fixture
def image(home) -> Path:
    return home / "photos/Möwen & Co/erste möwe.png"


def test_a_hit_names_its_entries(home, image):
    found = explain(home / "cache", image, **BICUBIC)
    assert found.hit
    assert (found.key, found.samples, found.recipe) == (file_key(image), (0,), "bicubic-acbb464ab9619f0b")
    assert (found.held, found.wanted, found.problem, found.failure, found.namesakes) == (True, 1, None, None, ())
    assert found.names == ("Möwen & Co/erste möwe.png", "erste möwe.png"), "one for each catalog"
    assert found.why == "it is stored"
    [noisy] = found.others
    assert (noisy.folder, noisy.samples) == (caches.home(home / "cache", "noisy").name, (0, 1))


@pytest.mark.parametrize("recipe", ["acbb464ab9619f0b", "bicubic-acbb464ab9619f0b", "noisy"])
def test_a_recipe_is_found_in_the_cache_by_what_names_it_there(home, image, recipe):
    assert explain(home / "cache", image, recipe).hit


def test_a_recipe_may_be_handed_over(home, image):
    assert explain(home / "cache", image, load_recipe("bicubic", {"scale": 2})).hit
    assert explain(home / "cache", image, str(caches.recipe_file(home, "noisy"))).samples == (0, 1)


def test_a_recipe_that_is_not_held_says_which_field_differs(home, image):
    found = explain(home / "cache", image, "bicubic")
    assert not found.hit
    assert not found.held
    assert found.recipe == "bicubic-448c49d273210155", "a shipped recipe comes before one of its name in the cache"
    assert [other.folder.partition("-")[0] for other in found.others] == ["bicubic", "noisy"], "the most similar first"
    assert found.others[0].differences == (Difference("scale", 4, 2),)
    assert found.others[0].samples == (0,)
    assert found.why == (
        "the cache does not hold this recipe; the most similar one, bicubic-acbb464ab9619f0b, "
        "differs in scale (asked 4, cached 2)"
    )


def test_every_field_and_option_that_differs_is_named(home, image):
    found = explain(home / "cache", image, "lanczos", {"degradation": "bicubic/2", "codec": "jpeg:90"})
    fields = {one.field: (one.asked, one.cached) for one in found.others[0].differences}
    assert fields == {
        "scale": (4, 2),
        "degradation": ("bicubic/2", None),
        "codec": ("jpeg:90", None),
        "options.filter": ("lanczos", "bicubic"),
    }
    assert {"engine", "numerics", "seed", "options.strength"} <= {one.field for one in found.others[1].differences}


def test_of_equally_similar_recipes_the_one_of_the_same_name_comes_first(home, image, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    caches.build(home / "some", cache, "lanczos")
    nearest = explain(cache, image, "lanczos").others[0]
    assert nearest.folder.startswith("lanczos-")


def test_an_image_that_failed_says_why_and_how_often(home):
    found = explain(home / "cache", home / "photos/wörter/leer.png", **BICUBIC)
    assert found.failure.tries == 1
    assert found.problem == "empty: the file has no bytes"
    assert found.why == "the file cannot be used; empty: the file has no bytes"


def test_a_failure_of_the_engine_is_told(home, image, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    from srcache.cache.failures import FailedEntry

    for _ in range(2):
        name = f"{file_key(tmp_path / 'red.png')}-000"
        caches.only(cache).note_failure(FailedEntry(name, "red.png", "blank", "one flat colour"))
    found = explain(cache, tmp_path / "red.png", **BICUBIC)
    assert found.why == "it failed 2 times, last with blank (one flat colour); `build --retry-failed` tries again"


def test_a_file_that_was_saved_anew_is_known_by_its_pixels(home, image, tmp_path):
    with Image.open(image) as opened:
        opened.save(tmp_path / "erste möwe.bmp")
    found = explain(home / "cache", tmp_path / "erste möwe.bmp", **BICUBIC)
    assert not found.hit
    assert found.same_pixels == file_key(image)
    assert found.why.startswith(f"its pixels are stored under {file_key(image)}")


def test_another_file_of_the_same_name_is_named(home, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "letzte.png")
    found = explain(home / "cache", tmp_path / "letzte.png", **BICUBIC)
    assert (found.names, found.namesakes) == ((), ("wörter/letzte.png",))
    assert found.why == "no catalog of the cache has a file with this key; wörter/letzte.png has other bytes"


def test_a_stranger_is_told_as_such(home, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "neu.png")
    assert explain(home / "cache", tmp_path / "neu.png", **BICUBIC).why == (
        "no catalog of the cache has a file with this key"
    )


def test_what_is_not_made_yet_and_what_was_never_asked_are_told_apart(home, tmp_path):
    cache, other = Path(shutil.copytree(home / "cache", tmp_path / "cache")), home / "photos/wörter/letzte.png"
    assert explain(cache, other, "noisy").why == (
        "the cache knows the image, but this recipe was never built from a catalog that has it"
    )
    shutil.rmtree(caches.only(cache).store_path)
    found = explain(cache, other, **BICUBIC)
    assert (found.samples, found.wanted) == ((), 1)
    assert found.why == "it was asked for, but is not made yet; `build` goes on where it stopped"


def test_an_empty_cache_holds_nothing(tmp_path, image):
    from srcache.cache.manifest import create_cache

    create_cache(tmp_path / "cache")
    assert explain(tmp_path / "cache", image, "bicubic").why == "the cache does not hold this recipe, nor any other"


def test_mistakes_are_told(home, image, tmp_path):
    with pytest.raises(CacheError, match="no srcache cache"):
        explain(tmp_path, image, "bicubic")
    with pytest.raises(RecipeError, match=r"no recipe is named 'other'; use one of bicubic, .*, or a \.yaml file"):
        explain(home / "cache", image, "other")
    with pytest.raises(RecipeError, match="no recipe is named 'noisy'"):
        explain(home / "cache", image, "noisy", {"scale": 4})
    with pytest.raises(RecipeError, match="no option colour"):
        explain(home / "cache", image, "bicubic", {"options.colour": 1})
    with pytest.raises(EngineError, match="no engine is named 'missing'"):
        explain(home / "cache", image, "bicubic", {"engine": "missing"})
    with pytest.raises(ImageError, match="cannot be read"):
        explain(home / "cache", tmp_path / "missing.png", "bicubic")


def test_a_cache_is_explained_where_its_weights_are_not(tmp_path, photos):
    cache = tmp_path / "cache"
    caches.build(photos, cache)
    recipe = caches.only(cache).path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: bicubic", "name: seesr"))
    recipe.parent.rename(recipe.parent.with_name(recipe.parent.name.replace("bicubic", "seesr")))
    assert find_recipe(open_cache(cache), "seesr", {}).engine == "resample"
