"""kill -9 at any moment of the commands that write folders: nothing half is left under a final name, and the same
command goes on.

`KILLED` says where each command is killed; beside these, builds of several at once are in `test_side_by_side.py`, on
several devices in `test_devices_killed.py`, and trainings that store what they miss in `test_misses_beside.py`. Most
have a short form for every day; the slow ones together kill more than 500 processes.
"""

import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import caches
import pytest
from commands import stored
from every_command import command_names
from images import picture
from paths import TESTS
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe

IMAGES = 60
FOLDERS: dict[str, str] = {
    "split": "prepare split {photos} {out}/one --ratios 0.5,0.25,0.25",
    "lr": "prepare lr {photos} {out}/one --factor 2",
    "crops": "prepare crops {photos} {out}/hr {out}/lr --size 16 --factor 2 --per-image 4",
    "export": "export {lmdb} {out}/one --names",
    "export of shards": "export {shards} {out}/one",
    "export hf": "export {lmdb} {out}/one --format hf --lr {photos} --shard-bytes 40K",
    "export join": "export {lmdb} {out}/one --join --lr {photos} --shard-bytes 40K",
}
"""Commands that fill folders of files."""

CACHES: dict[str, str] = {
    "export to shards": "export {lmdb} {out}/one --format shards --shard-bytes 40K",
    "export to lmdb": "export {shards} {out}/one --format lmdb",
}
"""Commands that fill a cache."""

FILES: dict[str, str] = {
    "scan": "scan {photos} --out {out}/one/catalog.csv",
    "upscale": "upscale {photos}/a/00.png {photos}/b/01.png --recipe {recipe} --device cpu --out {out}/one",
    "view": "view {lmdb} --lr {photos} --out {out}/one/page.html",
    "eval images": "eval images --reference {photos} --test {photos} --out {out}/one",
    "eval images compare": "eval images --reference {photos} --compare {photos} {photos} --out {out}/one",
    "eval classifiers": "eval classifiers {answers} b={answers} --out {out}/one",
}
"""Commands that write a few files, at their end."""

TREES = FOLDERS | FILES

HERE = "faults/test_kill_commands.py"
KILLED: dict[str, str] = {
    **dict.fromkeys(("prepare split", "prepare lr", "prepare crops", "export", "repair"), HERE),
    **dict.fromkeys(("scan", "upscale", "view", "eval images", "eval classifiers"), HERE),
    "build": "faults/test_kill.py",
    "serve": "faults/test_kill_serve.py",
    "train": "faults/test_kill_training.py",
    "merge": "faults/test_kill_merge.py",
    **dict.fromkeys(("experiment", "quickstart"), "faults/test_experiment_killed.py"),
    "safety": "study/safety/test_measure.py",
    "prune": "maintain/test_prune.py",
    "models fetch": "weights/test_download.py",
}
"""Commands → the tests that kill them, or their work in the middle."""

HARMLESS = {
    **dict.fromkeys(("info", "verify", "explain", "engines", "doctor", "models list", "models verify"), "only reads"),
    **dict.fromkeys(("predict", "report"), "writes one file at once"),
    "models convert": "keeps one file at once, by its digest",
    "warm": "commits as a build does",
}
"""Commands that nobody has to kill, and why."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos` in two classes, and of them a cache of each kind, `lmdb` and `shards`."""
    home = tmp_path_factory.mktemp("home")
    for number in range(IMAGES):
        path = home / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(48, 40, number)).save(path)
    (home / "bicubic.yaml").write_text("engine: resample\nscale: 2\n")
    (home / "answers.csv").write_text(
        "name,label,prediction\n" + "".join(f"{at},a,{'ab'[at % 2]}\n" for at in range(9))
    )
    for kind in ("lmdb", "shards"):
        settings = FillSettings(store=kind, device="cpu", shard_bytes=200_000)
        fill(scan(home / "photos"), load_recipe(home / "bicubic.yaml"), home / kind, settings)
    return home


@pytest.fixture(scope="module")
def undisturbed(home: Path, commands, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple]:
    """What a command leaves that nothing happens to, and how long it takes; each is run once."""
    known: dict[str, tuple] = {}

    def of(words: str) -> tuple:
        if words not in known:
            out = tmp_path_factory.mktemp("undisturbed")
            began = time.monotonic()
            code, run = commands.run(*split(words, home, out))
            assert code == 0, run.stderr
            known[words] = out, time.monotonic() - began
        return known[words]

    return of


def split(words: str, home: Path, out: Path) -> list[str]:
    given = {name: home / name for name in ("photos", "lmdb", "shards")}
    given |= {"recipe": home / "bicubic.yaml", "answers": home / "answers.csv"}
    return [word.format(out=out, **given) for word in words.split()]


_SECONDS = re.compile(rb'"seconds": [0-9.e-]+')


def visible(folder: Path) -> dict[str, bytes]:
    """The files under final names, but for those that LMDB notes its readers in, and for how long something took."""
    found = caches.tree(folder) if folder.exists() else {}
    return {
        name: _SECONDS.sub(b"", data) if name.endswith(".json") else data
        for name, data in found.items()
        if not name.startswith(".") and "/." not in name and not name.endswith("/lock.mdb")
    }


def killed(run, rng: random.Random, duration: float, may_refuse: bool = False) -> None:
    time.sleep(rng.uniform(0, duration))
    run.send(signal.SIGKILL)
    code = run.wait()
    assert code in (-signal.SIGKILL, 0) or (may_refuse and refused(code, run)), run.stderr


def refused(code: int, run) -> bool:
    """Whether a command did not write over what is there, and said so."""
    return code == 2 and any(words in run.stderr for words in REFUSALS)


REFUSALS = ("is not empty; choose a new or an empty folder", "already has", "are there already", "--force")


def finish(commands, words: list[str], out: Path) -> None:
    """Run a command to its end; one that refuses a folder that was begun gets a new one."""
    code, run = commands.run(*words)
    if refused(code, run):
        shutil.rmtree(out)
        code, run = commands.run(*words)
    assert code == 0, run.stderr


GROWING = ("records.jsonl", "README.md")
"""Files that are written line by line, or when all else is there."""

SEEDS = range(1000, 1025)


@pytest.mark.medium
def test_a_killed_command_leaves_whole_files_and_goes_on(home, commands, undisturbed, tmp_path) -> None:
    outlive("lr", 0, home, commands, undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", FOLDERS)
def test_a_command_that_is_killed_often_goes_on(case, seed, home, commands, undisturbed, tmp_path) -> None:
    outlive(case, seed, home, commands, undisturbed, tmp_path)


def outlive(case, seed, home, commands, undisturbed, tmp_path) -> None:
    """Kill a command once or twice, look at what is there after each, and let the last one finish."""
    rng, (whole, duration), out = random.Random(f"{case} {seed}"), undisturbed(TREES[case]), tmp_path / "out"
    wanted, words, before = visible(whole), split(TREES[case], home, out), visible(home)
    for turn in range(rng.randint(1, 2)):
        killed(commands.start(*words), rng, duration, may_refuse=turn > 0)
        found = visible(out)
        assert found.keys() <= wanted.keys()
        assert all(data == wanted[name] for name, data in found.items() if Path(name).name not in GROWING), case
    finish(commands, words, out / "one")
    assert visible(out) == wanted
    assert visible(home) == before, "what was read is as it was"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1006))
@pytest.mark.parametrize("case", FILES)
def test_a_few_files_are_whole_or_not_there(case, seed, home, commands, undisturbed, tmp_path) -> None:
    outlive(case, seed, home, commands, undisturbed, tmp_path)


def test_every_command_is_killed_or_it_is_said_why_not() -> None:
    assert {*KILLED, *HARMLESS} == command_names()
    assert not KILLED.keys() & HARMLESS.keys()
    assert all((TESTS / file).is_file() for file in KILLED.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1015))
@pytest.mark.parametrize("case", CACHES)
def test_a_killed_export_of_a_cache_loses_nothing(case, seed, home, commands, undisturbed, tmp_path) -> None:
    rng, (whole, duration), out = random.Random(f"{case} {seed}"), undisturbed(CACHES[case]), tmp_path / "out"
    words, wanted = split(CACHES[case], home, out), stored(whole / "one")
    source, folder = words[1], words[2]
    killed(commands.start(*words), rng, duration)
    had = stored(Path(folder))
    assert had.items() <= wanted.items()
    again = words if not (Path(folder) / "srcache.json").exists() else ["merge", source, "--into", folder]
    finish(commands, again, Path(folder))
    assert stored(Path(folder)) == wanted
    assert commands.run("verify", folder)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["lmdb", "shards"])
def test_a_killed_repair_loses_nothing(kind, seed, home, commands, tmp_path) -> None:
    rng, cache = random.Random(f"{kind} {seed}"), Path(shutil.copytree(home / kind, tmp_path / "cache"))
    whole = stored(cache)
    name = rng.choice(sorted(whole))
    payload = whole.pop(name)
    for file in (path for path in cache.glob("*/data.*/*") if payload in path.read_bytes()):
        file.write_bytes(file.read_bytes().replace(payload, payload[:-9] + b"!" * 9))
    for _ in range(rng.randint(1, 2)):
        killed(commands.start("repair", cache), rng, 1.6)
        with caches.opened(cache) as store:
            assert {one: store.get(one) for one in whole} == whole
    code, run = commands.run("repair", cache)
    assert code == 0, run.stderr
    assert stored(cache) == whole
    code, run = commands.run("build", home / "photos", "--cache", cache, "--recipe", home / "bicubic.yaml")
    assert code == 0, run.stderr
    assert stored(cache) == {**whole, name: payload}
    assert commands.run("verify", cache)[0] == 0
