"""PNG by libpng through imagecodecs: half as fast again as Pillow, and like Pillow it lets other threads run.

(libspng through pyspng is faster on one thread, but keeps Python's lock while it decodes, and ignores checksums.)

Only plain files are given to it: 8-bit RGB, not interlaced, nothing in them that could mean transparency, orientation
or an animation, and no byte more. A file that libpng refuses is left to Pillow, so errors have one home.
"""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from srcache.images.pillow import decode_by_pillow
from srcache.images.pixels import Pixels, pixel_limit
from srcache.images.room import BY_OTHERS, kept, room

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PLAIN = bytes([8, 2, 0, 0, 0])
"""Of IHDR behind the size: 8 bits, RGB, the only compression and filters, not interlaced."""

_HARMLESS = {b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"pHYs": 9, b"tIME": 7, b"bKGD": 6, b"sBIT": 3}
"""Chunks that change no pixel, and their sizes."""

_TEXTS = (
    *(b"Author\0", b"Comment\0", b"Copyright\0", b"Creation Time\0", b"Description\0", b"Software\0", b"Title\0"),
    *(b"date:create\0", b"date:modify\0", b"date:timestamp\0"),
)
"""How texts begin that say nothing about how an image is seen; others may hold EXIF or XMP data."""

_FAILED = (ValueError, RuntimeError, TypeError, MemoryError, ImportError)
"""What imagecodecs raises over bytes that it does not like, or where it was built without libpng."""


def decode_png(data: bytes | memoryview, out: Pixels | None = None) -> Pixels | None:
    """The pixels of a plain PNG, in `out` if that has their shape; None leaves the file to Pillow."""
    import imagecodecs

    sides = plain_sides(data)
    if sides is None or sides[0] * sides[1] > pixel_limit():
        return None
    source: Any = data  # imagecodecs' annotations leave out views, which it takes
    try:
        with room(sides[0] * sides[1], BY_OTHERS):
            fits = out is not None and out.shape == (*sides, 3)
            pixels: Pixels = out if out is not None and fits else np.empty((*sides, 3), np.uint8)
            imagecodecs.png_decode(source, out=pixels)
    except Exception:  # whatever it raises over bytes that it does not like; Pillow says what is wrong with them
        return None
    return pixels if fits else kept(pixels)


def plain_sides(data: bytes | memoryview) -> tuple[int, int] | None:
    """Height and width by a file's header, after a look at all its chunks; None if any of them is not usual."""
    if len(data) < 57 or data[:8] != SIGNATURE or data[8:16] != b"\0\0\0\rIHDR" or data[24:29] != _PLAIN:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    place, images, after = 8, 0, False
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, end = bytes(data[place + 4 : place + 8]), place + 12 + length
        if name == b"IDAT":
            if after:
                return None
            images += 1
        elif end > len(data) or not _is_harmless(data, place, length) or not _holds(data, place, end):
            return None
        after, place = bool(images) and name != b"IDAT", end
        if name == b"IEND":
            return (height, width) if images and width and height and end == len(data) else None
    return None


@cache
def difference() -> str | None:
    """Why imagecodecs cannot take Pillow's place here: it is missing, or gives other pixels; None if it can."""
    try:
        import imagecodecs
    except ModuleNotFoundError:
        return "imagecodecs is not installed"
    except _FAILED as error:
        return f"imagecodecs does not load ({error})"
    rows, columns = np.mgrid[0:37, 0:43]
    pixels = np.stack([rows * columns, rows * 7 + columns % 5, columns * columns], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    found = decode_png(file.getvalue())
    if found is None or not np.array_equal(found, decode_by_pillow(file.getvalue()).rgb):
        return f"imagecodecs {imagecodecs.__version__} gives other pixels than Pillow"
    return None


def _is_harmless(data: bytes | memoryview, place: int, length: int) -> bool:
    """Whether a chunk that holds no pixels may stand where it does."""
    name = bytes(data[place + 4 : place + 8])
    if name == b"IHDR":
        return place == 8
    if name == b"tEXt":
        return length < 1000 and bytes(data[place + 8 : place + 40]).startswith(_TEXTS)
    return length == 0 if name == b"IEND" else _HARMLESS.get(name) == length


def _holds(data: bytes | memoryview, place: int, end: int) -> bool:
    """Whether the checksum of a chunk holds; libpng passes over small ones whose does not, and Pillow refuses them."""
    return zlib.crc32(data[place + 4 : end - 4]).to_bytes(4, "big") == data[end - 4 : end]
