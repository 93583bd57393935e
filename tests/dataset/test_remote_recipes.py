"""Recipes that a cache lacks, from a service: believed only if their fingerprint is the one that it should be."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService, document, fake_service
from training_sets import NOISY, PLAIN, SHRUNK

from srcache.cache.manifest import create_cache
from srcache.dataset.remote_recipes import fetch_recipe, remote_folder
from srcache.errors import CacheError, ServiceError
from srcache.recipe.reading import resolve
from srcache.service import protocol
from srcache.service.remote import RemoteService
from srcache.service.remote_client import RemoteClient

ODD = resolve(
    {
        "name": "odd",
        "engine": "test-noise",
        "scale": 2,
        "options": {"strength": 1e-07, "tint": "red"},
        "seed": 2**53 + 1,
    }
)


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY, SHRUNK, ODD) as fake:
        yield fake


@pytest.fixture
def client(service: FakeService) -> Iterator[RemoteClient]:
    client = RemoteClient(RemoteService(service.url))
    yield client
    client.close()


@pytest.mark.parametrize("recipe", [NOISY, SHRUNK, ODD], ids=lambda recipe: recipe.name)
def test_a_recipe_is_found_by_any_of_its_names_and_is_the_same(client: RemoteClient, recipe: Any) -> None:
    for name in (recipe.name, recipe.fingerprint, recipe.folder):
        found = fetch_recipe(name, client)
        assert (found.fingerprint, found.name, found) == (recipe.fingerprint, recipe.name, recipe)


def test_a_cache_that_is_not_there_is_made(tmp_path: Path, client: RemoteClient) -> None:
    folder = remote_folder(tmp_path / "new", "shrunk", client)
    assert (folder.path.name, folder.kind) == (SHRUNK.folder, "lmdb")
    assert create_cache(tmp_path / "new").find().recipe == SHRUNK


def test_what_the_cache_has_is_not_asked_for(tmp_path: Path, service: FakeService, client: RemoteClient) -> None:
    cache = create_cache(tmp_path / "cache")
    cache.add(NOISY)
    for wanted in (None, "noisy", NOISY.fingerprint, NOISY.folder, NOISY):
        assert remote_folder(cache, wanted, client).recipe == NOISY
    assert remote_folder(cache, PLAIN, client).recipe == PLAIN, "a recipe itself needs no description"
    assert service.asked == []
    cache.add(replace(NOISY, seed=7))
    with pytest.raises(CacheError, match="several recipes named 'noisy'"):
        remote_folder(cache, "noisy", client)
    with pytest.raises(CacheError, match="say which"):
        remote_folder(cache, None, client)
    assert service.asked == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            "compact",
            r"lacks recipe 'compact', and the SR service at http.* has none such: noisy-\w+, shrunk-",
        ),
        (None, "the cache lacks a recipe, and the SR service at .* has several that fit; say which recipe is meant"),
    ],
)
def test_a_recipe_that_is_nowhere_is_said_with_what_there_is(
    tmp_path: Path, client: RemoteClient, wanted: str | None, words: str
) -> None:
    with pytest.raises(CacheError, match=words):
        remote_folder(tmp_path / "cache", wanted, client)


def offers(service: FakeService, *offered: Any) -> None:
    service.change = lambda answer: answer.update(document({"recipes": list(offered)}))


def changed(**changes: Any) -> dict[str, Any]:
    offered = json.loads(json.dumps(protocol.offered_recipe(NOISY)))
    offered["document"] |= changes
    return offered


DEEP = json.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        ({**changed(), "fingerprint": "f" * 16}, "is not what its description says: that has the fingerprint"),
        ({**changed(), "folder": "noisy-x"}, "is not what its description says"),
        (changed(seed=8), "is not what its description says"),
        (changed(name="other"), "is not what its description says"),
        (changed(name="../../etc"), r"(?s)cannot be used: .*name must be of lower-case letters"),
        (changed(numerics="x", scale=-1), r"cannot be used"),
        (changed(more=1), "unknown field more"),
        (changed(options={"a": "x" * 100_000}), "described by nothing that could be a recipe"),
        (changed(options=DEEP), "cannot be used|described by nothing|expected JSON"),
        (changed(engine="!!python/object/apply:os.system [id]"), "is not what its description says"),
        ({**changed(), "document": None}, "described by nothing"),
        ({**changed(), "document": "engine: x"}, "described by nothing"),
        ({"name": "noisy"}, "described by nothing"),
        ({"name": "noisy", "folder": "\x1b[31m" + "x" * 500, "document": {}}, "cannot be used"),
    ],
)
def test_a_description_that_is_not_what_it_says_is_refused(
    tmp_path: Path, service: FakeService, client: RemoteClient, offered: Any, words: str
) -> None:
    offers(service, offered)
    with pytest.raises(ServiceError, match=words) as error:
        remote_folder(tmp_path / "cache", None, client)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 2000
    assert create_cache(tmp_path / "cache").folders() == []
