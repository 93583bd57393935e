"""The two checksums in an entry's record: which they are, where they stand, and who compares which.

Every look-up of a payload compares the xxh3-64, which costs nothing beside decoding the image (of a PPM, whose pixels a
data set lends as they lie, the first look-up of each process does). What writes payloads where nobody compares them any
more, or measures them, compares the BLAKE2b too (`whole`), as `verify`, `repair` and `merge` do. Entries of versions
before the xxh3-64 have the BLAKE2b alone, so trainings and services do not compare them until
`srcache repair --checksums` has given them the other.
"""

import re
from collections.abc import Mapping
from typing import Any

from xxhash import xxh3_64_hexdigest

from srcache.errors import ChecksumError
from srcache.keys import image_key, split_name
from srcache.stores.interface import Record, Store

_LONGEST = (1 << 31) - 1
"""No image has a longer side."""

_XXH3 = re.compile("[0-9a-f]{16}")


def with_checksums(record: Mapping[str, Any], payload: bytes) -> Record:
    """A record with the checksums of a payload, whatever it had before; every record is written through here.

    The xxh3-64, which every reader compares, comes first, for a store finds it there without parsing; the BLAKE2b,
    which `verify` compares, comes last.
    """
    rest = {name: value for name, value in record.items() if name not in ("xxh3", "checksum")}
    return {"xxh3": xxh3_64_hexdigest(payload), **rest, "checksum": image_key(payload)}


def whole(store: Store, name: str, where: object) -> tuple[bytes, Record]:
    """An entry of which both checksums hold, and whose record is its own.

    Args:
        store: has it.
        name: the entry's.
        where: the store's place, for the message.

    Raises:
        ChecksumError: one of them does not, the record is another's, or the entry is gone.
        DamagedError: it cannot be read.
    """
    payload, record = store.get(name), store.record(name)
    if payload is None or record is None or (image_key(payload), *split_name(name)) != _said(record):
        raise checksum_error(name, where, "BLAKE2b")
    return payload, record


def sides_in(record: Mapping[str, Any], field: str = "size") -> tuple[int, int] | None:
    """(height, width) that a record says; None where it says none, or nothing of the kind.

    Checksums find damage, not forgery: a stranger's cache may have anything in its records.
    """
    found = record.get(field)
    if not isinstance(found, list | tuple) or len(found) != 2:
        return None
    height, width = (side if type(side) is int and 0 < side <= _LONGEST else 0 for side in found)
    return (height, width) if height and width else None


def xxh3_in(record: Mapping[str, Any]) -> str | None:
    """The xxh3-64 that a record says, 16 hexadecimal digits; None as in `sides_in`."""
    found = record.get("xxh3")
    return found if isinstance(found, str) and _XXH3.fullmatch(found) else None


def _said(record: Record) -> tuple[Any, Any, Any]:
    return record.get("checksum"), record.get("key"), record.get("sample")


def checksum_error(name: str, where: object, what: str = "xxh3") -> ChecksumError:
    """The error of whoever meets an entry that is not what was written; `what` is the checksum that tells."""
    return ChecksumError(
        f"{name} in {where} is not what was written ({what}); run `srcache repair`, which drops it, and "
        "`srcache build`, which makes it again"
    )
