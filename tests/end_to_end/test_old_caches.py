"""Caches and runs that earlier versions wrote are still read, byte for byte; see golden/caches/write.py.

A failure here means: the caches that people have can no longer be used, or are no longer found. What an older srcache
must not open gets a new format number; what it may open keeps its own.
"""

import csv
import json
import shutil
import sys
from contextlib import closing
from pathlib import Path

import paths
import pytest
from PIL import Image
from srcache_cli.main import run

from srcache import SRAugmentedDataset, load_recipe
from srcache.cache import open_cache

OLD = paths.GOLDEN / "caches"
sys.path.insert(0, str(OLD))
from write import RECIPES, digest, served, stored  # noqa: E402

VERSIONS = sorted(path.name for path in OLD.iterdir() if (path / "expected.json").exists())


@pytest.fixture(params=VERSIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what a version wrote."""
    return Path(shutil.copytree(OLD / request.param, tmp_path / "old"))


@pytest.fixture
def expected(old: Path) -> dict:
    """What is in it."""
    return json.loads((old / "expected.json").read_text(encoding="utf-8"))


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict:
    """A command's JSON document."""
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_version_is_kept() -> None:
    assert "0.1" in VERSIONS
    assert sum(path.stat().st_size for path in (OLD / "0.1").rglob("*")) < 300_000


def test_the_stores_hold_what_was_written_and_verify_agrees(
    old: Path, expected: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {recipe: stored(old, recipe) for recipe in RECIPES} == expected["stored"]
    document = shown(capsys, "verify", str(old / "cache"))
    assert document["result"]["entries"] == 24
    assert document["failures"] == []


def test_build_finds_everything_there(
    old: Path, expected: dict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(old)
    for recipe in RECIPES:
        words = ["build", "photos", "--cache", "cache", "--recipe", f"{recipe}.yaml"]
        samples = ["--samples", "2"] if recipe == "noisy" else []
        result = shown(capsys, *words, *samples, code=1)["result"]
        found = {name: result[name] for name in ("added", "stored", "skipped", "left")}
        times = 2 if recipe == "noisy" else 1
        assert found == {"added": 0, "stored": 6 * times, "skipped": 2 * times, "left": 2 * times}
    assert {recipe: stored(old, recipe) for recipe in RECIPES} == expected["stored"]
    assert len(list((old / "cache").glob("*-*/recipe.yaml"))) == len(RECIPES), "a recipe got another fingerprint"


@pytest.mark.usefixtures("spawned_checks")
def test_checksums_are_added_and_the_cache_holds_what_it_held(
    old: Path, expected: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = str(old / "cache")
    recipes = shown(capsys, "repair", cache, "--checksums")["result"]["recipes"]
    assert [(one["kept"], one["stamped"], one["damaged"]) for one in recipes] == [
        (12, 12, False),
        (6, 6, False),
        (6, 6, False),
    ]
    assert {one["stamped"] for one in shown(capsys, "repair", cache, "--checksums")["result"]["recipes"]} == {0}
    assert shown(capsys, "verify", cache)["result"]["entries"] == 24
    for recipe in RECIPES:
        held, was = stored(old, recipe), expected["stored"][recipe]
        assert [held[table] for table in ("images", "aliases")] == [was[table] for table in ("images", "aliases")]
        assert held["records"].keys() == was["records"].keys()
        assert not held["records"].items() & was["records"].items()
    for recipe in RECIPES:
        assert served(old, recipe) == expected["served"][recipe]


def test_of_a_damaged_entry_the_checksum_is_not_renewed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = open_cache(old / "cache").find("plain")
    with closing(folder.store()) as store:
        name = next(store.names())
        payload = store.get(name) or b""
    data = folder.store_path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(payload[20:], bytes(len(payload) - 20)))
    document = shown(capsys, "repair", str(old / "cache"), "--checksums", code=3)
    assert [(one["name"], one["reason"]) for one in document["failures"]] == [(name, "checksum")]
    assert [one["stamped"] for one in document["result"]["recipes"]] == [12, 5, 6]
    capsys.readouterr()
    assert run(["repair", str(old / "cache"), "--checksums"]) == 3
    printed = capsys.readouterr()
    assert "damaged; `srcache repair" in printed.err
    (lost,) = (one["lost"] for one in shown(capsys, "repair", str(old / "cache"))["result"]["recipes"] if one["lost"])
    assert lost == [name]
    assert shown(capsys, "repair", str(old / "cache"), "--checksums")["ok"]


def test_what_failed_then_is_known_now(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infos = shown(capsys, "info", str(old / "cache"))["result"]["recipes"]
    assert [info["failed"] for info in infos] == [{"empty": n, "truncated": n} for n in (2, 1, 1)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_data_set_serves_the_same_pixels(old: Path, expected: dict, recipe: str) -> None:
    assert served(old, recipe) == expected["served"][recipe]


def test_images_in_memory_are_found_by_their_aliases(old: Path) -> None:
    names = [f"photos/{line.partition('/')[2].rpartition(',')[0]}" for line in _lines(old / "training.csv")]
    images = [(Image.open(old / name).convert("RGB"), 0) for name in names]
    pictures = []
    for base in (old / "training.csv", images):
        data = SRAugmentedDataset(base, cache=old / "cache", recipe="plain", policy="sr")
        pictures.append([digest(image.tobytes()) for image, _ in data])
        assert data.counts["sr"] == 6
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0])) == 6


def test_the_recipes_mean_the_same(old: Path) -> None:
    for recipe in RECIPES:
        folder = load_recipe(old / f"{recipe}.yaml").folder
        assert (old / "cache" / folder / "recipe.yaml").is_file()


def test_the_run_predicts_the_same(
    old: Path, expected: dict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(old)
    shown(capsys, "predict", "run", "training.csv", "--out", "predictions.csv")
    now = list(csv.DictReader((old / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    then = list(csv.DictReader(expected["predictions"]))
    exact = ("name", "key", "label", "prediction")
    assert [[row[column] for column in exact] for row in now] == [[row[column] for column in exact] for row in then]
    for column in ("p_0", "p_1"):
        assert [float(row[column]) for row in now] == pytest.approx([float(row[column]) for row in then], abs=1e-5)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()[1:]
