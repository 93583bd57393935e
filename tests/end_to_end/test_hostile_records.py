"""A stranger's cache, whose checksums are right and whose records say what they like: no command stumbles over it."""

import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from images import picture
from mutated_documents import ODD
from PIL import Image
from service_client import running
from srcache_cli.main import run

from srcache.cache.manifest import open_cache
from srcache.catalog import scan
from srcache.fill import FillSettings, fill
from srcache.keys import file_key
from srcache.recipe import load_recipe
from srcache.service.protocol import image_path
from srcache.stores import Entry

LINES = {
    "view": "view {cache} --lr {photos} --out {new}.html",
    "export hf": "export {cache} {new} --format hf --lr {photos}",
    "export join": "export {cache} {new} --join --lr {photos}",
    "export names": "export {cache} {new} --names",
    "export shards": "export {cache} {new} --format shards",
    "merge": "merge {cache} --into {new}",
    "verify": "verify {cache}",
    "repair": "repair {cache}",
    "safety": "safety {cache} --lr {photos}",
}
FIELDS = ("size", "lr", "notes", "seconds", "xxh3")
SIDES = ("12", {"0": 1}, [1], [0, -1], [2**70, 1], [[1], [2]], [True, None])
"""What stands where two sides should."""

Values = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos and a cache of them."""
    home = tmp_path_factory.mktemp("records")
    for number in range(2):
        path = home / f"photos/{'ab'[number]}/{number}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(picture(8, 10, number)).save(path)
    fill(scan(home / "photos"), load_recipe("bicubic"), home / "cache", FillSettings(device="cpu"))
    return home


def forged(home: Path, cache: Path, values: Values) -> Path:
    """A copy of the cache in which every record has these values."""
    folder = open_cache(shutil.copytree(home / "cache", cache)).find()
    with closing(folder.store()) as store:
        entries = [Entry(name, store.get(name) or b"", dict(store.record(name) or {})) for name in store.names()]
    shutil.rmtree(folder.store_path)
    with closing(folder.store(writable=True)) as store:
        store.put_many([Entry(one.name, one.payload, _with(one.record, dict(values))) for one in entries])
    return cache


def _with(record: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A record with other values, at its end: a checksum that does not come first is an old entry's, not compared."""
    return {**{name: value for name, value in record.items() if name not in values}, **values}


def stumbles(home: Path, place: Path, values: Values, lines: Iterator[str] | list[str]) -> Iterator[str]:
    """The commands that end in anything but an exit code of theirs."""
    for number, line in enumerate(lines):
        cache = forged(home, place / f"cache {number}", values)
        words = [word.format(cache=cache, photos=home / "photos", new=place / f"new {number}") for word in line.split()]
        if (code := run(words)) not in (0, 1, 2, 3, 4):
            yield f"{line}: {code}"


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_sides_that_are_none_are_not_shown_and_not_exported(
    home: Path, tmp_path: Path, sides: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    values = [("size", sides), ("lr", sides)]
    lines = [LINES["view"], LINES["export join"]]
    assert list(stumbles(home, tmp_path, values, lines)) == [], capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("line", LINES)
def test_no_command_stumbles_over_a_record(
    home: Path, tmp_path: Path, line: str, field: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, value in enumerate(random.Random(f"{line} {field}").sample((*SIDES, *ODD), 8)):
        place = tmp_path / str(number)
        place.mkdir()
        found = list(stumbles(home, place, [(field, value)], [LINES[line]]))
        assert found == [], f"{field}={value!r}: {capfd.readouterr().err}"


def test_a_service_puts_nothing_of_a_record_into_its_headers(home: Path, tmp_path: Path) -> None:
    values = [("xxh3", "0\r\nSet-Cookie: a=b"), ("size", "x"), ("notes", float("nan"))]
    cache = forged(home, tmp_path / "cache", values)
    key = file_key(next((home / "photos").rglob("*.png")))
    with running(cache, ["bicubic"]) as service:
        for accept in ("*/*", "image/webp"):
            answer = service.client.get(image_path(key), headers={"Accept": accept})
            assert answer.status_code == 200, answer.text
            assert not any("\n" in value for value in answer.headers.values())
