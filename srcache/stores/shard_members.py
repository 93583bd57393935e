"""One entry in a shard: two members of a tar, the image file and then its record, `{key}-{sample}.png` and `.json`.

The record's member is written last, and an entry counts only if both are there and the checksum in it holds: after a
power failure, the end of a file can have its right size and be zeros. Beside the record's own fields, which are as
everywhere, it holds one named `srcache`: the aliases, the payload's xxh3-64, the recipe's fingerprint, and an xxh3-64
of the entry's name and all of the record that stands before it.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from srcache.errors import DamagedError
from srcache.images import suffix_of
from srcache.stores import tar
from srcache.stores.interface import Entry, Record
from srcache.stores.records import checksum_error
from srcache.stores.shard_index import SUFFIXES, Place, packed_key, packed_name

_Bytes = TypeVar("_Bytes", bytes, memoryview)
_OWN = "srcache"
_SEAL, _END = b', "record": "', b'"}}'
_LARGEST = 2**32 - 1
"""Bytes of an image or a record that an index has room for."""


class Found(NamedTuple):
    """A complete entry of a shard: its packed name, where it lies, its aliases, and where the next one begins."""

    name: bytes
    place: Place
    aliases: tuple[str, ...]
    end: int


def note_aliases(found: Found, known: dict[str, str]) -> None:
    """Add what an entry's aliases stand for to what is known; of several keys the lowest."""
    key = found.name[:16].hex()
    for alias in found.aliases:
        known[alias] = min(key, known.get(alias, key))


def pack_entry(entry: Entry, fingerprint: str | None, offset: int) -> tuple[bytes, Found]:
    """An entry as two members that begin at `offset`, and what an index says of them.

    Raises:
        ValueError: the name is none of an entry, an alias is no key, or the record has the shard's own field.
        TypeError: the record is not plain JSON.
    """
    name = packed_name(entry.name)
    if name is None:
        raise ValueError(f"an entry's name is a key, a dash and three digits, but got {entry.name!r}")
    if _OWN in entry.record:
        raise ValueError(f"a record must not have a field {_OWN!r}")
    if not all(map(packed_key, entry.aliases)):
        raise ValueError(f"the aliases of an entry are keys, but got {entry.aliases!r}")
    digest, suffix = xxh3_64_hexdigest(entry.payload), suffix_of(entry.payload)
    own = {"aliases": list(entry.aliases), "xxh3": digest, "recipe": fingerprint}
    record = _sealed(json.dumps({**entry.record, _OWN: own}).encode(), entry.name)
    if max(len(entry.payload), len(record)) > _LARGEST:
        raise ValueError(f"an image and its record have less than 4 GiB each, but {entry.name} has more")
    data = tar.packed(f"{entry.name}{suffix}", entry.payload) + tar.packed(f"{entry.name}.json", record)
    place = Place(0, offset, len(entry.payload), len(record), int(digest, 16), suffix)
    return data, Found(name, place, entry.aliases, offset + len(data))


def entries_of(
    read: tar.Read, size: int, where: str, start: int = 0, *, check: bool = True, strict: bool = True
) -> Iterator[Found]:
    """The complete entries of a file from `start` on, until its end.

    Args:
        read: of the file.
        size: the file's.
        where: what file it is, for messages.
        check: compare every payload with its checksum, which reads all of the file.
        strict: as for `tar.parse`.

    Raises:
        DamagedError: what follows is no complete entry.
    """
    payload: tar.Member | None = None
    for member in tar.members(read, size, where, start, strict=strict):
        stem, _, suffix = member.name.partition(".")
        if payload is None:
            payload = member
            continue
        if suffix != "json" or payload.name.partition(".")[0] != stem:
            raise DamagedError(f"{where}: expected the record of {payload.name}, but got {member.name}")
        yield _entry(read, where, payload, member, check)
        payload = None
    if payload is not None:
        raise DamagedError(f"{where}: {payload.name} has no record")


def read_payload(read: Callable[[int, int], _Bytes], name: str, place: Place, where: str) -> _Bytes:
    """The payload of an entry, if the file holds it where an index says.

    Raises:
        DamagedError: it does not, or the payload is not what was written.
    """
    wanted, member = f"{name}{place.suffix}\0".encode(), read(tar.BLOCK + place.size, place.offset)
    head, payload = bytes(member[: tar.BLOCK]), member[tar.BLOCK :]
    if not head.startswith(wanted) or head[124:135] != b"%011o" % place.size:
        raise DamagedError(f"{where} does not hold {name} where its index says; `srcache repair` makes the index again")
    if xxh3_64_intdigest(payload) != place.xxh3:
        raise checksum_error(name, where)
    return payload


def read_record(read: tar.Read, name: str, place: Place, where: str) -> Record:
    """The record of an entry, from behind its payload.

    Raises:
        DamagedError: there is none.
    """
    return _parsed(_record_bytes(read, place), name, where)[0]


def recipe_of(read: tar.Read, name: str, place: Place, where: str) -> str | None:
    """The fingerprint of the recipe that an entry was made by; None if nobody noted it.

    Raises:
        DamagedError: there is no record.
    """
    found = _parsed(_record_bytes(read, place), name, where)[1].get("recipe")
    return None if found is None else str(found)


def _record_bytes(read: tar.Read, place: Place) -> bytes:
    """The record's member, which follows the payload's."""
    return read(tar.BLOCK + place.record, place.offset + tar.BLOCK + tar.padded(place.size))


def _entry(read: tar.Read, where: str, payload: tar.Member, member: tar.Member, check: bool) -> Found:
    stem, _, suffix = payload.name.partition(".")
    name = packed_name(stem)
    if name is None or f".{suffix}" not in SUFFIXES or max(payload.size, member.size) > _LARGEST:
        raise DamagedError(f"{where}: {payload.name} is no entry of a cache")
    _, own = _parsed(read(tar.BLOCK + member.size, member.offset), stem, where)
    if check and xxh3_64_hexdigest(read(payload.size, payload.start)) != own["xxh3"]:
        raise DamagedError(f"{where}: {payload.name} is not what was written (xxh3)")
    place = Place(0, payload.offset, payload.size, member.size, int(own["xxh3"], 16), f".{suffix}")
    return Found(name, place, tuple(own["aliases"]), member.end)


def _parsed(data: bytes, name: str, where: str) -> tuple[Record, dict[str, Any]]:
    """A record, and the field of it that is the shard's own."""
    other = DamagedError(f"the record of {name} in {where} is another one's; run `srcache repair`")
    if data[: len(name) + 6] != f"{name}.json\0".encode():
        raise other
    try:
        record = json.loads(_opened(data[tar.BLOCK :], name))
        own = record.pop(_OWN)
        valid = len(own["xxh3"]) == 16 and int(own["xxh3"], 16) >= 0 and all(map(packed_key, own["aliases"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"the record of {name} in {where} is damaged; run `srcache repair`") from error
    if not valid:
        raise other
    return record, own


def _sealed(record: bytes, name: str) -> bytes:
    """A record's JSON, which ends with the shard's own field, with a checksum of both as the last part of it."""
    return record[:-2] + _SEAL + xxh3_64_hexdigest(name.encode() + record).encode() + _END


def _opened(record: bytes, name: str) -> bytes:
    """A record's JSON without its checksum, which is compared; a record that was written without one is as it is.

    Raises:
        ValueError: it does not hold.
    """
    start = len(record) - len(_SEAL) - 16 - len(_END)
    if record[start : start + len(_SEAL)] != _SEAL or not record.endswith(_END):
        return record
    plain = record[:start] + b"}}"
    if xxh3_64_hexdigest(name.encode() + plain).encode() != record[start + len(_SEAL) : -len(_END)]:
        raise ValueError("the checksum of a record does not hold")
    return plain
