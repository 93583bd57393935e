"""One bit of a cache is flipped, and every command is run over it: what is served, told, kept and made again.

It is a program (`python flips.py HOME WORK FIRST COUNT [full]`), of which each step is a child, so a step that dies is
seen, and costs milliseconds. In its short form it has no PyTorch, without which children cost less, and no builds.
"""

import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import forked_checks
import numpy as np
from forks import fork
from images import picture
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.dataset.lookup import SRImages
from srcache.errors import SrcacheError
from srcache.images import decode
from srcache.keys import ImageKey, image_key
from srcache.maintain import check_process
from srcache.maintain.export import export
from srcache.maintain.info import info
from srcache.maintain.repair import repair
from srcache.maintain.verify import verify

LIMIT = 20
"""Seconds after which a step is taken to hang."""

TOLD = {0, 1, 2, 3, 4}
"""Exit codes of commands that say what is wrong."""

RECIPES = {
    "bicubic": "engine: resample\nscale: 2\n",
    "lanczos": "engine: resample\nscale: 2\noptions: {filter: lanczos}\n",
}

LOADED = ("build", "export", "explain", "info", "prune", "repair", "verify")
"""Commands that are imported once, not in every step."""


def prepare(home: Path, kind: str) -> Path:
    """`photos`, `more` photos, a `cache` of two recipes, filled in several runs, and in `truth` what is right."""
    from srcache.catalog.scanning import scan
    from srcache.fill.run import fill
    from srcache.fill.settings import FillSettings
    from srcache.recipe.reading import load_recipe

    for number in range(18):
        side = 8 + 3 * (number % 9)
        name = f"{'bark' if number % 2 else 'moss'}/{number:02d}.png"
        for folder in ("photos", "more") if number < 14 else ("more",):
            (home / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(side, side + number % 3, number)).save(home / folder / name)
        if number < 7:
            (home / "few" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(home / "photos" / name, home / "few" / name)
    (home / "few/bark/broken.png").write_bytes(b"no picture")
    for name, text in RECIPES.items():
        (home / f"{name}.yaml").write_text(text)
        sizes = {"shard_bytes": 20_000} if kind == "shards" else {}
        settings = FillSettings(store=kind, device="cpu", **sizes)
        for source in ("few", "photos"):
            fill(scan(home / source), load_recipe(home / f"{name}.yaml"), home / "cache", settings)
        fill(scan(home / "more"), load_recipe(home / f"{name}.yaml"), home / "truth", settings)
    return home


def attack(home: str, work: str, first: str, count: str, full: str = "") -> int:
    """Flip a bit for each seed; writes what was wrong with each as a line of JSON; returns how many were wrong."""
    check_process._started = forked_checks.from_here
    for name in LOADED if full else ():
        import_module(f"srcache_cli.{name}")
    case, failed = Case(Path(home), bool(full)), 0
    for seed in range(int(first), int(first) + int(count)):
        place = Path(work) / str(seed)
        found = case.attacked(place, seed)
        shutil.rmtree(place, ignore_errors=True)
        failed += bool(found["wrong"])
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    return min(failed, 99)


class Case:
    """A cache that is as it was written, and what is right about it: the pixels of every entry and of every item."""

    def __init__(self, home: Path, full: bool) -> None:
        self.home, self.full = home, full
        self.truth = _pixels(home / "truth")
        self.had = _pixels(home / "cache")
        self.own = {path: spans for path, spans in _own_bytes(home / "cache")}
        self.served = [_items(home, home / "cache", name) for name in RECIPES] if full else []

    def attacked(self, place: Path, seed: int) -> dict[str, Any]:
        """Flip a bit of a copy of the cache, run everything over it, and say what was wrong."""
        cache = Path(shutil.copytree(self.home / "cache", place / "cache"))
        where, offset, mask = flip(cache, random.Random(seed))
        hit = {name for start, end, name in self.own.get(where, ()) if start <= offset < end}
        wrong, told = list[str](), dict[str, Any]()

        def step(name: str, act: Callable[..., int], *given: Any, codes: Collection[int] = TOLD) -> int:
            code, text = _in_child(act, place / f"{name}.txt", *given)
            told[name] = code
            if code not in codes:
                wrong.append(f"{name} ended with {code}: {text[-600:]}")
            return code

        if self.full:
            self._run_all(step, cache, place, hit, where)
        else:
            step("read", _read, self, cache, place)
            step("mend", _mend, self, cache, hit, where, codes={0})
        return {"seed": seed, "file": where, "offset": offset, "mask": mask, "told": told, "wrong": wrong}

    def _run_all(self, step: Callable[..., int], cache: Path, place: Path, hit: set[str], where: str) -> None:
        """Every command, one after the other."""
        step("serve", _serve, self, cache)
        for recipe in RECIPES:
            step(f"export {recipe}", _export, self, cache, recipe, place / f"out-{recipe}")
        step("info", _command, "info", cache)
        step("verify", _command, "verify", cache, codes={0, 2, 3})
        step("explain", _command, "explain", cache, self.home / "photos/bark/01.png", "--recipe", "bicubic")
        step("prune", _command, "prune", cache, "lanczos", "--catalogs")
        step("build", _build, self.home, cache, "bicubic")
        step("repair", _command, "repair", cache, codes={0, 2, 3})
        if step("kept", _kept, self, cache, hit, where) == 0:
            step("verify again", _command, "verify", cache, codes={0})
            for recipe in RECIPES:
                step(f"build again {recipe}", _build, self.home, cache, recipe, codes={0, 1})
            step("complete", _complete, self, cache, codes={0})


def flip(cache: Path, rng: random.Random) -> tuple[str, int, int]:
    """Flip one bit, most often of a store, and there most often where it says what lies where; returns file, offset,
    mask.
    """
    files = sorted(path for path in cache.rglob("*") if path.is_file() and path.stat().st_size)
    stores = [path for path in files if path.suffix in (".mdb", ".tar", ".idx") and path.name != "lock.mdb"]
    file = rng.choice(stores if rng.random() < 0.7 else files)
    data = bytearray(file.read_bytes())
    offset, mask = rng.randrange(len(data)), 1 << rng.randrange(8)
    if file.suffix == ".mdb" and rng.random() < 0.6:
        page = offset // 4096 * 4096
        lower = int.from_bytes(data[page + 12 : page + 14], "little")
        offset = page + rng.randrange(16 + (lower % 4096 if rng.random() < 0.5 else 0))
    elif file.suffix == ".tar" and rng.random() < 0.5:
        starts = [match.start() for match in re.finditer(rb"[0-9a-f]{32}-\d{3}\.", data)]
        offset = rng.choice(starts) + rng.randrange(512)
    data[offset] ^= mask
    file.write_bytes(data)
    return file.relative_to(cache).as_posix(), offset, mask


def _own_bytes(cache: Path) -> Iterator[tuple[str, list[tuple[int, int, str]]]]:
    """Of each file of a store: where there are bytes of an entry's own, and of which."""
    for folder in open_cache(cache).folders():
        with closing(folder.store()) as store:
            records = {name: json.dumps(store.record(name))[:-2].encode() for name in store.names()}
            entries = {name: (store.get(name) or b"", record) for name, record in records.items()}
        for path in folder.store_path.iterdir():
            data, spans = path.read_bytes(), list[tuple[int, int, str]]()
            for name, parts in entries.items() if path.suffix in (".mdb", ".tar") else ():
                head = 512 if path.suffix == ".tar" else 44
                for match in re.finditer(re.escape(name.encode()), data):
                    start = match.start() - (8 if head == 44 else 0)
                    spans.append((start, start + head, name))
                found = [match for part in parts for match in re.finditer(re.escape(part), data)]
                spans += [(match.start(), match.end() + 200, name) for match in found]
            yield path.relative_to(cache).as_posix(), spans


def _pixels(cache: Path) -> dict[str, dict[str, bytes]]:
    """The pixels of all entries of a cache, as one digest each, by recipe and name.

    A recipe is called as its folder is: the name inside is for people, who may change it.
    """
    found = {}
    for folder in open_cache(cache).folders():
        with closing(folder.store()) as store:
            digests = {name: _digest(decode(store.get(name) or b"")) for name in store.names()}
        found[folder.path.name.rpartition("-")[0]] = digests
    return found


def _digest(pixels: Any) -> str:
    return f"{pixels.shape} {image_key(pixels.tobytes())}"


def _data(home: Path, cache: Path, recipe: str) -> Any:
    from srcache.dataset.augmented import SRAugmentedDataset

    return SRAugmentedDataset(str(home / "photos"), cache, recipe, policy="sr")


def _items(home: Path, cache: Path, recipe: str) -> list[str]:
    data = _data(home, cache, recipe)
    return [_digest(np.asarray(data[index][0])) for index in range(len(data))]


def _in_child(act: Callable[..., int], out: Path, *given: Any) -> tuple[int, str]:
    """Call something in a child; returns its exit code, negative for a signal, and what it wrote."""

    def limited() -> int:
        signal.alarm(LIMIT)
        return act(*given)

    with out.open("wb") as written:
        pid = fork(limited, written.fileno(), written.fileno())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, out.read_text(errors="replace")


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def _command(*words: Any) -> int:
    from srcache_cli.main import run

    return run([str(word) for word in words])


def _build(home: Path, cache: Path, recipe: str) -> int:
    return _command("build", home / "more", "--cache", cache, "--recipe", home / f"{recipe}.yaml", "--device", "cpu")


def _serve(case: "Case", cache: Path) -> int:
    """Read every item by both recipes; one that is served has the right pixels."""
    wrong = 0
    for recipe, right in zip(RECIPES, case.served, strict=True):
        try:
            data = _data(case.home, cache, recipe)
        except SrcacheError as error:
            _say(recipe, repr(error))
            continue
        for index, digest in enumerate(right):
            try:
                wrong += _digest(np.asarray(data[index][0])) != digest
            except SrcacheError as error:
                _say(recipe, index, repr(error))
    return 50 if wrong else 0


def _read(case: "Case", cache: Path, place: Path) -> int:
    """Read every entry as a data set does, export, and ask what is there; whatever is given has the right pixels."""
    wrong = 0
    for recipe, right in case.had.items():
        try:
            images = SRImages(open_cache(cache).find(recipe))
            for name, digest in right.items():
                wrong += not _is_served(images, name, digest)
            export(cache, place / recipe, recipe)
        except SrcacheError as error:
            _say(recipe, repr(error))
        written = {path.stem: _digest(decode(path.read_bytes())) for path in (place / recipe).glob("*.png")}
        wrong += not written.items() <= right.items()
    try:
        info(cache)
    except SrcacheError as error:
        _say(repr(error))
    return 50 if wrong else 0


def _is_served(images: SRImages, name: str, digest: str) -> bool:
    """Whether an entry comes with its own pixels, or not at all."""
    key, _, sample = name.rpartition("-")
    try:
        with images.view() as view:
            found, payload = images.find(view, ImageKey(key), int(sample))
            return payload is None or _digest(images.lend(found, payload, lambda: "it")) == digest
    except SrcacheError as error:
        _say(name, repr(error))
        return True


def _mend(case: "Case", cache: Path, hit: set[str], where: str) -> int:
    """Verify, repair, look at what is kept, and verify again."""
    try:
        verify(cache)
        repair(cache)
    except SrcacheError as error:
        _say(repr(error))
        return 0 if where == "srcache.json" and error.exit_code in (2, 3) else 55
    code = _kept(case, cache, hit, where)
    return (0 if code == 3 else code) or (0 if code == 3 or verify(cache).ok else 56)


def _export(case: "Case", cache: Path, recipe: str, out: Path) -> int:
    """Export, and compare what was written."""
    code = _command("export", cache, out, "--recipe", recipe)
    written = {path.stem: _digest(decode(path.read_bytes())) for path in out.glob("*.png")} if out.exists() else {}
    return code if written.items() <= case.truth[recipe].items() else 51


def _kept(case: "Case", cache: Path, hit: set[str], where: str) -> int:
    """After a repair: every image whose own bytes are whole is there, and no other pixels are."""
    try:
        found = _pixels(cache)
    except SrcacheError as error:
        _say(repr(error))
        return 3 if where.endswith(("recipe.yaml", "srcache.json")) else 52
    for recipe, right in case.had.items():
        lost = right.keys() - found.get(recipe, {}).keys() - hit
        other = found.get(recipe, {}).items() - case.truth[recipe].items()
        if (lost and not where.endswith("recipe.yaml")) or other:
            _say(recipe, "lost", lost, "other", other)
            return 53
    return 3 if where.endswith("recipe.yaml") and len(found) < len(RECIPES) else 0


def _complete(case: "Case", cache: Path) -> int:
    return 0 if _pixels(cache) == case.truth else 54


if __name__ == "__main__":
    sys.exit(attack(*sys.argv[1:]))
