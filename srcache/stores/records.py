"""The two checksums in an entry's record: which they are, and where they stand."""

from collections.abc import Mapping
from typing import Any

from xxhash import xxh3_64_hexdigest

from srcache.keys import image_key
from srcache.stores.interface import Record


def with_checksums(record: Mapping[str, Any], payload: bytes) -> Record:
    """A record with the checksums of a payload, whatever it had before; every record is written through here.

    The xxh3-64, which every reader compares, comes first, for a store finds it there without parsing; the BLAKE2b,
    which `verify` compares, comes last.
    """
    rest = {name: value for name, value in record.items() if name not in ("xxh3", "checksum")}
    return {"xxh3": xxh3_64_hexdigest(payload), **rest, "checksum": image_key(payload)}
