"""PNG files without their texts, which change no pixel.

Programs that make images keep whole workflows in a PNG's texts. Pillow refuses a file with more than 1 MiB in one, or
64 MiB in all, since a few bytes may unpack to any number; both limits are the process's. So texts are left out before
Pillow sees the file, whatever their size, and a colour profile that unpacks to more than Pillow takes. The texts that
may say how the image is turned stay, if they are not larger than that; their checksums, if wrong, stop nothing.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TURNING = (b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of the texts in which EXIF and XMP data are kept."""

_MOST = 1 << 20
"""Bytes of a text or a profile that are kept, when it is unpacked: what Pillow takes."""


_MAY_GO = (*_TEXTS, b"iCCP")
_NOTES = (*_TEXTS, b"eXIf")


class _Chunk(NamedTuple):
    start: int
    end: int
    name: bytes


def without_texts(data: bytes | memoryview) -> bytes | memoryview:
    """A PNG file's bytes without texts; the same bytes if there are none, or if they are no PNG."""
    chunks = list(_chunks(data))
    odd = [chunk for chunk in chunks if chunk.name in _MAY_GO and not _may_stay(data, chunk)]
    noted = [chunk for chunk in chunks if chunk.name in _NOTES and chunk not in odd]
    if not odd and not noted:
        return data
    last = {(chunk.name, _keyword(data, chunk)): chunk for chunk in noted}
    parts, place = list[bytes | memoryview](), 0
    for chunk in sorted((*odd, *noted)):
        parts.append(data[place : chunk.start])
        place = chunk.end
        if last.get((chunk.name, _keyword(data, chunk))) == chunk:
            parts.append(_sealed(data, chunk))
    return b"".join([*parts, data[place:]])


def _chunks(data: bytes | memoryview) -> Iterator[_Chunk]:
    """The chunks of a PNG up to its end, or to where it is cut off."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, end = bytes(data[place + 4 : place + 8]), place + 12 + length
        if end > len(data):
            return
        yield _Chunk(place, end, name)
        if name == b"IEND":
            return
        place = end


def _keyword(data: bytes | memoryview, chunk: _Chunk) -> bytes:
    return bytes(data[chunk.start + 8 : min(chunk.start + 8 + 80, chunk.end - 4)]).partition(b"\0")[0]


def _may_stay(data: bytes | memoryview, chunk: _Chunk) -> bool:
    """Whether a text may say how the image is turned, or a chunk is a profile; and is small when it is unpacked."""
    keyword = _keyword(data, chunk)
    if chunk.end - chunk.start > _MOST or (chunk.name != b"iCCP" and keyword not in _TURNING):
        return False
    behind = bytes(data[chunk.start + 8 + len(keyword) + 1 : chunk.end - 4])
    if chunk.name == b"tEXt":
        return True
    if chunk.name == b"iTXt":
        is_packed, packed = behind[:1] != b"\0", behind[2:].partition(b"\0")[2].partition(b"\0")[2]
        return not is_packed or _unpacks(packed)
    return behind[:1] == b"\0" and _unpacks(behind[1:])


def _unpacks(packed: bytes) -> bool:
    """Whether packed bytes have at most `_MOST` when they are unpacked; broken ones have none, for Pillow as well."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(packed, _MOST)
    except zlib.error:
        return True
    return not stream.unconsumed_tail


def _sealed(data: bytes | memoryview, chunk: _Chunk) -> bytes:
    """A chunk with a checksum that holds; Pillow stops at one that does not, but only before the pixels."""
    body = bytes(data[chunk.start : chunk.end - 4])
    return body + zlib.crc32(body[4:]).to_bytes(4, "big")
