"""SR images that a service gives: stored as `build` would, fallen back on, or refused with a reason."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import MARKS
from fake_service import FakeService, fake_service, refusal
from PIL import Image
from training_sets import BROKEN, NOISY, SHRUNK, built, empty, files_of, same, stored

from srcache.cache.manifest import RecipeFolder, create_cache, open_cache
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.transform import SRAugment
from srcache.errors import CacheError, ConfigError, DiskFullError, ImageError, MissError, ServiceError, UnavailableError
from srcache.files import lock
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import decode, encode
from srcache.keys import entry_name, file_key, pixel_key
from srcache.recipe.recipe import Recipe
from srcache.service import protocol, remote_session
from srcache.service.remote import RemoteService

GONE = "http://127.0.0.1:9"


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY) as fake:
        yield fake


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(remote_session, "pause", lambda tries, asked: 0.01)


def counted(data: Any) -> dict[str, int]:
    return {name: count for name, count in data.counts.items() if count}


@pytest.mark.parametrize("recipe", [NOISY, SHRUNK], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("codec", ["qoi", "png:1"])
def test_what_a_service_gives_is_what_build_would_have_stored(photos: Path, recipe: Recipe, codec: str) -> None:
    with fake_service(recipe, codec=codec) as service:
        cache = empty(photos, recipe)
        data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
        items = data.__getitems__(range(12))
        again = data.__getitems__(range(12))
    assert counted(data) == {"sr": 24, "fetched": 12}
    assert len(service.asked) == 12
    made = stored(cache, recipe)
    assert made == stored(built(photos, recipe, into="elsewhere"), recipe)
    for index, item in enumerate(items):
        assert same(item, decode(made[entry_name(file_key(files_of(photos)[index]), 0)]))
        assert same(item, again[index])


def test_a_new_cache_gets_its_recipe_from_the_service(photos: Path, service: FakeService) -> None:
    cache = photos.parent / "new"
    data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
    assert data[0][0].size
    assert open_cache(cache).find().recipe == NOISY
    assert counted(data) == {"sr": 1, "fetched": 1}
    with pytest.raises(CacheError, match="has none such: noisy-"):
        SRAugmentedDataset(photos, cache, "compact", on_miss=service.url)


def test_shards_stay_as_they_are_and_the_image_is_served(photos: Path, service: FakeService) -> None:
    cache = empty(photos, NOISY, store="shards")
    data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
    reference = stored(built(photos, NOISY, into="elsewhere"), NOISY)
    for _ in range(2):
        for index, item in enumerate(data.__getitems__(range(12))):
            assert same(item, decode(reference[entry_name(file_key(files_of(photos)[index]), 0)]))
    assert counted(data) == {"sr": 24, "fetched": 24}
    assert stored(cache, NOISY) == {}


def test_a_cache_that_may_not_be_written_to_stays_as_it_is(
    photos: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, opened = empty(photos, NOISY), RecipeFolder.store
    fill(scan(photos / "moss"), NOISY, cache)

    def store(folder: RecipeFolder, *, writable: bool = False, **rest: Any) -> Any:
        if writable:
            raise DiskFullError("the file system is read-only")
        return opened(folder, **rest)

    monkeypatch.setattr(RecipeFolder, "store", store)
    data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
    data.__getitems__(range(12))
    assert counted(data) == {"sr": 12, "fetched": 8}
    assert len(stored(cache, NOISY)) == 4


def test_images_in_memory(photos: Path, service: FakeService) -> None:
    cache, images = empty(photos, NOISY), [Image.open(file).convert("RGB") for file in files_of(photos)]
    data = SRAugmentedDataset([(image, 0) for image in images], cache, policy="sr", size="mixed", on_miss=service.url)
    items = data.__getitems__(range(12))
    transform = SRAugment(cache, policy="sr", on_miss=service.url)
    assert all(same(transform(image), item) for image, item in zip(images, items, strict=True))
    assert counted(transform) == {"sr": 12}
    assert len(service.asked) == 12
    base = [(image, 0) for image in images]
    fill(from_dataset(base), NOISY, photos.parent / "memory")
    assert stored(cache, NOISY) == stored(photos.parent / "memory", NOISY)


def test_a_transform_has_images_made_and_finds_them_the_next_time(photos: Path, service: FakeService) -> None:
    file = files_of(photos)[0]
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    data = file.read_bytes()
    service.made(NOISY, file_key(file), 0, data)
    transform = SRAugment(photos.parent / "new", policy="sr", on_miss=RemoteService(service.url))
    first, second = transform(image), transform(image)
    assert same(first, second)
    assert counted(transform) == {"sr": 2, "fetched": 1}
    assert set(stored(photos.parent / "new", NOISY)) == {entry_name(file_key(file), 0)}, "the service knew the file"


def test_pixels_of_a_file_that_only_this_cache_knows_are_found_again(photos: Path, service: FakeService) -> None:
    cache, file = built(photos, NOISY), files_of(photos / "moss")[0]
    fill(scan(photos / "bark"), NOISY, cache, FillSettings(samples=2))
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    transform = SRAugment(cache, policy="sr#1", on_miss=service.url)
    first, second = transform(image), transform(image)
    assert same(first, second)
    assert counted(transform) == {"sr": 2, "fetched": 1}
    assert entry_name(pixel_key(np.asarray(image)), 1) in stored(cache, NOISY)


# --- what goes wrong ---


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("instead", ["lr", "hr"])
def test_without_the_service_a_fallback_is_served_and_counted(photos: Path, instead: str) -> None:
    cache = empty(photos, SHRUNK)
    remote = RemoteService(GONE, fallback=instead)
    data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=remote)
    expected = SRAugmentedDataset(photos, cache, policy=instead, size="mixed")
    assert all(same(*pair) for pair in zip(data.__getitems__(range(12)), expected.__getitems__(range(12)), strict=True))
    assert counted(data) == {instead: 12, f"missed_to_{instead}": 12}
    transform = SRAugment(cache, policy="sr", on_miss=remote)
    image = Image.open(files_of(photos)[0]).convert("RGB")
    assert same(transform(image), expected[0])
    assert counted(transform) == {instead: 1, f"missed_to_{instead}": 1}
    assert stored(cache, SHRUNK) == {}


@pytest.mark.usefixtures("quick")
def test_without_the_service_and_a_fallback_it_is_an_error(photos: Path) -> None:
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", on_miss=GONE)
    with pytest.raises(UnavailableError, match=r"the SR service at http://127.0.0.1:9: no answer \(.*\)"):
        data[0]
    with pytest.raises(UnavailableError, match="no answer"):
        SRAugmentedDataset(photos, photos.parent / "new", on_miss=GONE)


def test_an_image_that_the_service_cannot_make_is_an_error_or_a_fallback(
    photos: Path, make_image: Callable[..., Any]
) -> None:
    Image.fromarray(make_image(24, 24, 1, mark="raises")).save(photos / "bark" / "bark1.png")
    assert "raises" in MARKS
    with fake_service(BROKEN) as service:
        cache = empty(photos, BROKEN)
        data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=service.url)
        with pytest.raises(MissError, match=r"1 SR images .*bark/bark1.png \(engine_error: .*marked to raise"):
            data.__getitems__(range(12))
        assert len(stored(cache, BROKEN)) == counted(data)["fetched"] == 11
        lenient = RemoteService(service.url, fallback="lr")
        data = SRAugmentedDataset(photos, cache, policy="sr", size="mixed", on_miss=lenient)
        data.__getitems__(range(12))
        assert counted(data) == {"sr": 11, "lr": 1, "missed_to_lr": 1}


def test_a_wrong_answer_is_an_error_with_a_fallback_too_and_is_not_stored(
    photos: Path, service: FakeService, make_image: Callable[..., Any]
) -> None:
    def change(answer: dict[str, Any]) -> None:
        answer["body"] = encode(make_image(30, 30, 4), "qoi")
        answer["headers"][protocol.CHECKSUM_HEADER] = protocol.checksum_of(answer["body"])
        del answer["headers"]["X-Srcache-Record"]

    service.change, cache = change, empty(photos, NOISY)
    for fallback in ("raise", "lr"):
        remote = RemoteService(service.url, fallback=fallback)
        data = SRAugmentedDataset(photos, cache, policy="sr", on_miss=remote)
        with pytest.raises(ServiceError, match="has 30×30 pixels, but by recipe"):
            data[0]
    service.change = lambda answer: answer.update(refusal(404, "no_recipe", "there is no such recipe"))
    with pytest.raises(ServiceError, match="answers 404: there is no such recipe"):
        data[0]
    assert stored(cache, NOISY) == {}


def test_a_source_that_is_not_what_was_catalogued_is_not_asked_for(photos: Path, service: FakeService) -> None:
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", on_miss=service.url)
    files_of(photos)[0].write_bytes(files_of(photos)[1].read_bytes())
    with pytest.raises(ImageError, match=r"bark/bark0.png: it is not what was catalogued"):
        data[0]
    assert service.asked == []


def test_mistakes_are_said_when_a_data_set_is_made(photos: Path, tmp_path: Path) -> None:
    cache = empty(photos, NOISY)
    with pytest.raises(ConfigError, match=r"token file .*gone cannot be read"):
        SRAugmentedDataset(photos, cache, on_miss=RemoteService(GONE, token_file=tmp_path / "gone"))
    with pytest.raises(ConfigError, match="must not hold a name or a password"):
        SRAugmentedDataset(photos, cache, on_miss="http://me:pw@here")
    with pytest.raises(ConfigError, match="HR was asked for"):
        SRAugmentedDataset(photos, cache, on_miss=RemoteService(GONE, fallback="hr"))
    assert create_cache(cache).find().recipe == NOISY


def test_a_pickled_data_set_asks_on(photos: Path, service: FakeService) -> None:
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", size="mixed", on_miss=service.url)
    first = data[0]
    again = pickle.loads(pickle.dumps(data))
    assert same(again[0], first)
    assert again[1][0].size
    assert len(service.asked) == 2


def test_what_a_service_gives_after_a_change_of_folder_goes_into_the_cache_that_was_named(
    photos: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos.parent / "outputs").mkdir()
    monkeypatch.chdir(photos.parent)
    data = SRAugmentedDataset("photos", "new", policy="sr", size="mixed", on_miss=service.url)
    monkeypatch.chdir(photos.parent / "outputs")
    data.__getitems__(range(12))
    assert not list(Path().iterdir()), "nothing is written below the new folder"
    assert len(stored(photos.parent / "new", NOISY)) == 12


@pytest.mark.parametrize("cache", [None, 7, ["cache"]])
def test_what_names_no_cache_is_refused_before_the_service_is_asked(photos: Path, cache: Any) -> None:
    with pytest.raises(CacheError, match=r"a cache is a folder that `srcache build` made, or a URL, but got"):
        SRAugmentedDataset(photos, cache, on_miss=GONE)


def test_a_training_that_misses_nothing_keeps_nobody_from_the_store(photos: Path, service: FakeService) -> None:
    cache = empty(photos, NOISY)
    data = SRAugmentedDataset(photos, cache, policy="lr", on_miss=service.url)
    assert data[0][0].mode == "RGB"
    with lock(open_cache(cache).find().store_path):  # as repair and prune take it
        assert data[1][0].mode == "RGB"
