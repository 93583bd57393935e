"""EXIF data made by hand, so that tags may have types and sizes that no writer gives them."""

import struct
from typing import NamedTuple


class Tag(NamedTuple):
    """A tag: its number, the number of its type, how many values it says that it has, and their bytes."""

    number: int
    kind: int
    count: int
    value: bytes


def short(number: int, *values: int) -> Tag:
    return Tag(number, 3, len(values), struct.pack(f"<{len(values)}H", *values))


def rational(number: int, above: int, below: int) -> Tag:
    return Tag(number, 5, 1, struct.pack("<II", above, below))


def long(number: int, value: int, kind: int = 4) -> Tag:
    """A tag of one value; of another kind, `value` values which lie where there is nothing."""
    return Tag(number, kind, 1 if kind == 4 else value, struct.pack("<I", value))


def exif(*tags: Tag) -> bytes:
    start = 8 + 2 + 12 * len(tags) + 4
    head, values = b"II*\0" + struct.pack("<IH", 8, len(tags)), b""
    for tag in tags:
        place = tag.value.ljust(4, b"\0")
        if len(tag.value) > 4:
            place, values = struct.pack("<I", start + len(values)), values + tag.value
        head += struct.pack("<HHI", tag.number, tag.kind, tag.count) + place
    return b"Exif\0\0" + head + bytes(4) + values
