"""A recipe that is served: locked, looked up, and closed with a receipt."""

import pytest
from service_client import png, running

from srcache.cache import create_cache
from srcache.errors import BusyError, RecipeError
from srcache.keys import ImageKey, image_key
from srcache.recipe import load_recipe
from srcache.server.hosted import hosted
from srcache.server.settings import ServerSettings


def opened(tmp_path, recipe, **options):
    settings = ServerSettings(cache=tmp_path / "cache", recipes=(recipe,), device="cpu", **options)
    return hosted(create_cache(tmp_path / "cache", settings.store), recipe, settings)


def test_two_servers_of_one_recipe_exclude_each_other_where_the_store_asks_for_it(tmp_path, recipe_file):
    recipe = load_recipe(recipe_file("test-faulty"))
    with (
        opened(tmp_path, recipe),
        pytest.raises(BusyError, match="is being filled by process"),
        opened(tmp_path, recipe),
    ):
        pass


def test_writers_of_shards_may_stand_side_by_side(tmp_path, recipe_file):
    recipe = load_recipe(recipe_file("test-faulty"))
    with opened(tmp_path, recipe, store="shards") as one, opened(tmp_path, recipe, store="shards") as two:
        assert one.folder.writer != two.folder.writer
        assert (one.media_type, one.name) == ("image/png", recipe.folder)


def test_a_recipe_that_the_engine_cannot_keep_is_refused(tmp_path, recipe_file):
    from dataclasses import replace

    recipe = replace(load_recipe(recipe_file("test-faulty")), numerics=99)
    with pytest.raises(RecipeError, match="version 99"), opened(tmp_path, recipe):
        pass


def test_what_is_stored_is_found_by_key_and_by_alias(service):
    service.ask(png())
    (recipe,) = service.site.recipes
    key = image_key(png())
    found = recipe.find(key, 0)
    assert found is not None
    assert (found.name, found.media_type) == (f"{key}-000", "image/qoi")
    assert found.record["key"] == key
    assert recipe.has(key, 0)
    assert recipe.find(key, 1) is None
    assert not recipe.has(ImageKey("0" * 32), 0)
    assert recipe.read("nothing") is None


def test_a_run_that_only_read_leaves_no_receipt(tmp_path, recipe_file):
    path = recipe_file("test-faulty")
    for expected in (1, 1):
        with running(tmp_path / "cache", [path]) as service:
            service.ask(png())
        receipts = service.site.recipes[0].folder.receipts()
        assert len(receipts) == expected
    assert (receipts[0]["added"], receipts[0]["catalog"], receipts[0]["samples"]) == (1, "", 1)


def test_the_receipt_hides_no_catalog_from_others(tmp_path, recipe_file):
    from srcache.cache.receipts import asked_for

    with running(tmp_path / "cache", [recipe_file("test-faulty")]) as service:
        service.ask(png())
    assert asked_for(service.site.recipes[0].folder.path) == {}


def test_codecs_of_recipes_are_answered_as_they_are(tmp_path, recipe_file):
    recipe = load_recipe(recipe_file("test-faulty", codec="webp:80"))
    with opened(tmp_path, recipe) as found:
        assert found.media_type == "image/webp"
        assert not found.is_ready
