"""Shards for tests: entries, stores of small shards, what killed writers leave, and what `tarfile` finds."""

import json
import tarfile
from contextlib import closing
from pathlib import Path

from srcache.keys import entry_name, image_key
from srcache.stores import Entry, StoreOptions
from srcache.stores.shard_writer import ShardWriter
from srcache.stores.shards import ShardsStore

SMALL = 6000
"""Bytes of a shard that has a few entries of these tests."""


def made_entry(number: int, payload: bytes | None = None, sample: int = 0) -> Entry:
    """An entry with a key, a payload and an alias of its own."""
    key = image_key(b"image %d" % number)
    data = b"payload %d " % number * (1 + number % 70) if payload is None else payload
    record = {"key": key, "sample": sample, "checksum": image_key(data), "number": number}
    return Entry(entry_name(key, sample), data, record, (image_key(b"alias %d" % number),))


def opened(path: Path, *, writable: bool = True, shard_bytes: int = SMALL, recipe: str | None = None) -> ShardsStore:
    """A store of small shards."""
    return ShardsStore(path, StoreOptions(writable=writable, fingerprint=recipe, shard_bytes=shard_bytes))


def filled(path: Path, numbers: range, at_once: int = 3) -> Path:
    """A store that was filled in batches and closed."""
    with closing(opened(path)) as store:
        for start in range(numbers.start, numbers.stop, at_once):
            store.put_many([made_entry(number) for number in range(start, min(start + at_once, numbers.stop))])
    return path


def shard_of(path: Path, *entries: Entry) -> Path:
    """A complete shard of these entries, whatever others in the folder hold."""
    writer = ShardWriter(path, StoreOptions(writable=True))
    writer.append(entries)
    shard = writer.seal()
    assert shard is not None
    return path / shard.name


def left_behind(path: Path, *entries: Entry) -> Path:
    """The shard of a writer that was killed after it had committed these entries."""
    writer = ShardWriter(path, StoreOptions(writable=True))
    writer.append(entries)
    assert writer.name is not None
    found = path / writer.name
    writer.release()
    return found


def contents(path: Path) -> dict[str, bytes]:
    """Payloads by name, as a store reads them."""
    with closing(opened(path, writable=False)) as store:
        return {name: payload for name in store.names() if (payload := store.get(name)) is not None}


def payloads(*entries: Entry) -> dict[str, bytes]:
    """What a store of these entries should hold."""
    return {entry.name: entry.payload for entry in entries}


def unpacked(shard: Path) -> dict[str, bytes]:
    """A shard's members as Python's own `tarfile` reads them, in order."""
    with tarfile.open(shard, "r:") as file:
        return {member.name: file.extractfile(member).read() for member in file}  # type: ignore[union-attr]


def by_tarfile(path: Path) -> dict[str, Entry]:
    """All entries of a folder's complete shards, read as a WebDataset loader does; the lowest shard wins."""
    found = dict[str, Entry]()
    for shard in sorted(path.glob("*.tar")):
        members = unpacked(shard)
        for name, payload in members.items():
            stem, _, suffix = name.partition(".")
            if suffix != "json":
                record = json.loads(members[f"{stem}.json"])
                aliases = tuple(record.pop("srcache")["aliases"])
                found.setdefault(stem, Entry(stem, payload, record, aliases))
    return found
