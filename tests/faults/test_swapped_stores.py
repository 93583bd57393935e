"""A store that lies in another recipe's folder: every command refuses it, and nothing of it is served or taken over."""

import contextlib
import io
import shutil
from pathlib import Path

import caches
import pytest
from images import picture
from PIL import Image
from srcache_cli.main import run

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import DamagedError
from srcache.maintain.merge import merge

KINDS = ("lmdb", "shards")
COMMANDS = {
    "info": "info {cache}",
    "verify": "verify {cache}",
    "repair": "repair {cache}",
    "explain": "explain {cache} {photos}/a/0.png --recipe bicubic",
    "export": "export {cache} {out} --recipe bicubic",
    "join": "export {cache} {out} --recipe bicubic --join --lr {photos}",
    "build": "build {photos} --cache {cache} --recipe {home}/bicubic.yaml --device cpu",
    "dry run": "build {photos} --cache {cache} --recipe {home}/bicubic.yaml --device cpu --dry-run",
    "into": "merge {other} --into {cache} --recipe bicubic",
    "safety": "safety {cache} --recipe bicubic --lr {photos} --device cpu",
    "train": "train --lr {photos} --cache {cache} --recipe bicubic --arm sr --validation 0.5 --out {out}",
}


@pytest.fixture(scope="module", params=KINDS)
def swapped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a cache in which two recipes' stores changed places, and an other one that is whole."""
    home = tmp_path_factory.mktemp("swapped")
    for number in range(6):
        file = home / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(8, 8, number)).save(file)
    for name in ("bicubic", "lanczos"):
        caches.build(home / "photos", home / "cache", name, store=request.param)
    shutil.copytree(home / "cache", home / "other")
    first, second = (caches.only(home / "cache", name).store_path for name in ("bicubic", "lanczos"))
    first.rename(home / "aside")
    second.rename(first)
    (home / "aside").rename(second)
    return home


def _ran(home: Path, cache: Path, out: Path, line: str) -> tuple[int, str]:
    texts = {"home": home, "cache": cache, "photos": home / "photos", "other": home / "other", "out": out}
    with contextlib.redirect_stderr(said := io.StringIO()), contextlib.redirect_stdout(said):
        code = run([word.format(**texts) for word in line.split()])
    return code, said.getvalue()


@pytest.mark.medium
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_store_of_another_recipe(swapped, tmp_path, command):
    cache = Path(shutil.copytree(swapped / "cache", tmp_path / "cache"))
    before = caches.tree(cache)
    code, said = _ran(swapped, cache, tmp_path / "out", COMMANDS[command])
    assert code == 3, said
    assert "recipe" in said
    assert "put it back where it belongs" in said
    after = caches.tree(cache)
    stores = {name for name in before if "/data." in name and not name.endswith(("lock", "lock.mdb", ".idx"))}
    assert {name: after.get(name) for name in stores} == {name: before[name] for name in stores}, "nothing was changed"
    assert not [*(tmp_path / "out").rglob("*.png"), *(tmp_path / "out").rglob("*.tar")]


@pytest.mark.medium
def test_nothing_of_it_is_merged_or_served(swapped, tmp_path):
    report = merge([swapped / "cache"], tmp_path / "new")
    assert report.added == 0
    assert {(failed.reason, "in whose folder it does not lie" in failed.detail) for failed in report.failures} == {
        ("other_recipe", True)
    }
    assert len(report.failures) == 12
    with pytest.raises(DamagedError, match="put it back where it belongs"):
        SRAugmentedDataset(str(swapped / "photos"), swapped / "cache", "bicubic", policy="sr")[0]


@pytest.mark.medium
def test_one_shard_of_another_recipe_is_refused_and_the_others_are_read(tmp_path):
    (tmp_path / "photos/a").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(picture(8, 8, number)).save(tmp_path / f"photos/a/{number}.png")
        if number > 1:
            caches.build(tmp_path / "photos", tmp_path / "cache", store="shards")
    caches.build(tmp_path / "photos", tmp_path / "cache", "lanczos", store="shards")
    before = caches.contents(tmp_path / "cache")
    own = sorted(caches.only(tmp_path / "cache").store_path.glob("*.tar"))
    other = sorted(caches.only(tmp_path / "cache", "lanczos").store_path.glob("*.tar"))
    assert len(own) > 1
    shutil.copy(other[-1], own[-1])
    for index in own[0].parent.glob("*.idx"):
        index.unlink()
    code, said = _ran(tmp_path, tmp_path / "cache", tmp_path / "out", "verify {cache} --recipe bicubic")
    assert (code, "holds images by recipe" in said) == (3, True)
    assert _ran(tmp_path, tmp_path / "cache", tmp_path / "out", "repair {cache} --recipe bicubic")[0] == 0
    kept = caches.contents(tmp_path / "cache")
    assert kept
    assert kept.items() < before.items()
    caches.build(tmp_path / "photos", tmp_path / "cache", store="shards")
    assert caches.pixels(tmp_path / "cache").keys() == before.keys()
