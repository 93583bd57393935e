"""copy_entries: what is copied as it is, what is encoded anew, and that a source is left in peace."""

import fcntl
import os
from contextlib import closing
from pathlib import Path

import caches
import numpy as np
import pytest
from images import picture

from srcache.cache.manifest import RecipeFolder, create_cache
from srcache.errors import BusyError, MachineError
from srcache.images import decode, encode, suffix_of
from srcache.keys import entry_name, image_key
from srcache.maintain.copy_entries import Copied, copy_entries
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry, with_checksums

PIXELS = [picture(6, 7, number) for number in range(3)]
NAMES = [entry_name(image_key(b"%d" % number), 0) for number in range(3)]


def _folder(cache: Path, kind: str, codecs: dict[int, str], recipe: str = "bicubic") -> RecipeFolder:
    """A recipe's folder with some of the images, each by a codec."""
    folder = create_cache(cache, kind).add(load_recipe(caches.recipe_file(cache.parent, recipe)))
    with closing(folder.store(writable=True)) as store:
        for number, codec in codecs.items():
            payload, name = encode(PIXELS[number], codec), NAMES[number]
            record = with_checksums({"key": name[:32], "sample": 0, "size": [6, 7]}, payload)
            store.put_many([Entry(name, payload, record, (image_key(b"alias %d" % number),))])
    return folder


def _copy(source: RecipeFolder, target: RecipeFolder) -> Copied:
    with closing(target.store(writable=True)) as store:
        return copy_entries(source, target, store, lambda done, total: None)


def _suffixes(folder: RecipeFolder) -> list[str]:
    with closing(folder.store()) as store:
        return [suffix_of(store.get(name) or b"") for name in NAMES]


@pytest.mark.parametrize(
    ("kinds", "codecs", "recipe", "expected"),
    [
        (("lmdb", "lmdb"), ("qoi", "png:9", "qoi"), "bicubic", [".qoi", ".png", ".qoi"]),
        (("lmdb", "shards"), ("qoi", "png:9", "qoi"), "bicubic", [".png", ".png", ".png"]),
        (("shards", "lmdb"), ("png:1", "qoi", "png:1"), "bicubic", [".qoi", ".qoi", ".qoi"]),
        (("shards", "shards"), ("png:1", "qoi", "png:9"), "bicubic", [".png", ".qoi", ".png"]),
        (("lmdb", "shards"), ("jpeg:90",) * 3, "small", [".jpg"] * 3),
    ],
)
def test_only_what_the_kinds_encode_differently_is_encoded_anew(tmp_path, kinds, codecs, recipe, expected):
    source = _folder(tmp_path / "source", kinds[0], dict(enumerate(codecs)), recipe)
    target = _folder(tmp_path / "target", kinds[1], {}, recipe)
    copied = _copy(source, target)
    assert (copied.added, copied.same, copied.failures) == (3, 0, [])
    assert _suffixes(target) == expected
    with closing(source.store()) as old, closing(target.store()) as new:
        for name, codec in zip(NAMES, codecs, strict=True):
            before, after = old.get(name) or b"", new.get(name) or b""
            assert np.array_equal(decode(before), decode(after))
            assert before == after or suffix_of(before) != suffix_of(after), codec
            assert (new.record(name) or {})["checksum"] == image_key(after)
        assert [new.resolve(image_key(b"alias %d" % number)) for number in range(3)] == [name[:32] for name in NAMES]


def test_an_image_that_does_not_decode_is_listed(tmp_path):
    source = _folder(tmp_path / "source", "lmdb", {0: "qoi"})
    with closing(source.store(writable=True)) as store:
        payload, name = b"qoif and nothing else", NAMES[1]
        store.put_many([Entry(name, payload, with_checksums({"key": name[:32], "sample": 0}, payload))])
    copied = _copy(source, _folder(tmp_path / "target", "shards", {}))
    assert copied.added == 1
    assert [(failed.name, failed.reason) for failed in copied.failures] == [(NAMES[1], "truncated")]


def test_the_lock_of_a_source_is_shared(tmp_path):
    source, target = _folder(tmp_path / "source", "lmdb", {0: "qoi"}), _folder(tmp_path / "target", "lmdb", {})
    with (source.path / "lock").open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert _copy(source, target).added == 1
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="is being filled by process"):
            _copy(source, target)


def test_a_source_is_not_filled_while_it_is_read(tmp_path):
    source, target = _folder(tmp_path / "source", "lmdb", {0: "qoi"}), _folder(tmp_path / "target", "lmdb", {})
    with source.lock():
        pass
    busy = []

    def step(done: int, total: int) -> None:
        with pytest.raises(BusyError), source.lock():
            pass
        busy.append(done)

    with closing(target.store(writable=True)) as store:
        copy_entries(source, target, store, step)
    assert busy == [1]


def test_a_source_that_was_never_filled_gives_nothing(tmp_path):
    source, target = _folder(tmp_path / "source", "shards", {}), _folder(tmp_path / "target", "lmdb", {})
    assert _copy(source, target) == Copied()
    source.store_path.rmdir()
    assert _copy(source, target) == Copied()


def test_a_source_that_cannot_be_read_is_an_error_of_the_machine(tmp_path, monkeypatch):
    source, target = _folder(tmp_path / "source", "lmdb", {0: "qoi"}), _folder(tmp_path / "target", "lmdb", {})
    with closing(target.store()) as store:
        monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(MachineError, match=r"cannot be read \(Permission denied\)"):
            copy_entries(source, target, store, lambda done, total: None)
        monkeypatch.undo()
