"""Kinds of store: found by name, and complete: what one can check, salvage, refuse and replace."""

from contextlib import closing

import pytest
from xxhash import xxh3_64_hexdigest

from srcache.errors import CacheError, DamagedError
from srcache.images import LOSSLESS, parse_codec
from srcache.keys import dropped_key, entry_name, image_key
from srcache.stores import KINDS, Entry, StoreOptions, open_store, source_of, store_kind

KEY = image_key(b"image")
PAYLOAD = b"qoif payload"
ENTRY = Entry(
    entry_name(KEY, 0),
    PAYLOAD,
    {"xxh3": xxh3_64_hexdigest(PAYLOAD), "key": KEY, "sample": 0, "checksum": image_key(PAYLOAD)},
    (image_key(b"pixels"),),
)


@pytest.fixture(params=KINDS)
def kind(request):
    """A kind of store that caches can be made of."""
    return store_kind(request.param)


@pytest.fixture
def store(kind, tmp_path):
    """The path of a store of that kind with one entry."""
    path = tmp_path / f"data.{kind.name}"
    with closing(kind.open(path, StoreOptions(writable=True))) as opened:
        opened.put_many([ENTRY])
    return path


def test_the_image_that_has_the_pixels_goes_before_one_that_has_them_without_its_transparency(kind, tmp_path):
    pixels, other = image_key(b"pixels"), image_key(b"other")
    dropped = Entry(entry_name(other, 0), PAYLOAD, {**ENTRY.record, "key": other}, (dropped_key(pixels),))
    with closing(kind.open(tmp_path / "both", StoreOptions(writable=True))) as opened:
        assert source_of(opened, pixels) is None
        opened.put_many([dropped])
        assert source_of(opened, pixels) == other
        opened.put_many([ENTRY])
        with opened.view() as view:
            assert (source_of(opened, pixels), source_of(view, pixels)) == (KEY, KEY)
            assert source_of(view, pixels, image_key(b"the pixels in other colours")) == other


def test_a_kind_of_store_is_known_by_name(tmp_path):
    assert [store_kind(name).name for name in (*KINDS, "memory")] == [*KINDS, "memory"]
    with pytest.raises(CacheError, match="no store is named 'hdf5'; this srcache knows lmdb, shards, memory"):
        open_store("hdf5", tmp_path)


def test_a_store_that_is_as_it_was_written_has_no_problems(kind, store, tmp_path):
    kind.refuse(tmp_path)
    assert list(kind.check(store)) == []


def test_everything_is_salvaged_of_a_store_that_is_whole(kind, store):
    with kind.salvage(store) as salvage:
        assert list(salvage.names()) == [ENTRY.name]
        assert salvage.entry(ENTRY.name) == ENTRY
        assert salvage.entry(entry_name(KEY, 1)) is None


def test_a_replaced_store_reads_as_the_new_one_and_the_old_files_are_kept(kind, store, tmp_path):
    new = tmp_path / "new"
    with closing(kind.open(new, StoreOptions(writable=True))) as opened:
        opened.put_many([Entry(entry_name(KEY, 1), PAYLOAD, {**ENTRY.record, "sample": 1})])
    old = kind.replace(store, new)
    with closing(kind.open(store, StoreOptions())) as opened:
        assert list(opened.names()) == [entry_name(KEY, 1)]
    with closing(kind.open(old, StoreOptions())) as opened:
        assert list(opened.names()) == [ENTRY.name]
    assert old.parent == store.parent


def test_a_store_in_memory_is_no_store_of_a_cache(tmp_path):
    memory = store_kind("memory")
    assert list(memory.check(tmp_path)) == []
    for act in (memory.refuse, memory.salvage, lambda path: memory.replace(path, path)):
        with pytest.raises(CacheError, match="memory"):
            act(tmp_path)


def test_a_store_knows_the_recipe_that_its_images_are_by(kind, tmp_path):
    path = tmp_path / f"data.{kind.name}"
    for fingerprint in ("0123456789abcdef", None, "0123456789abcdef"):
        with closing(kind.open(path, StoreOptions(writable=True, fingerprint=fingerprint))) as store:
            store.put_many([ENTRY])
    with pytest.raises(DamagedError, match="by recipe 0123456789abcdef, but lies in the folder of fedcba9876543210"):
        kind.open(path, StoreOptions(fingerprint="fedcba9876543210"))


def test_a_payload_that_was_changed_is_not_served(kind, store):
    [file] = [path for path in store.rglob("*") if PAYLOAD in path.read_bytes()]
    file.write_bytes(file.read_bytes().replace(PAYLOAD, b"qoif PAYLOAD"))
    with closing(kind.open(store, StoreOptions())) as opened, pytest.raises(DamagedError, match="xxh3"):
        opened.get(ENTRY.name)


def test_a_codec_of_a_store_is_lossless_and_known(kind):
    assert parse_codec(kind.codec)[0] in LOSSLESS
