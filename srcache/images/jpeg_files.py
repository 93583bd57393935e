"""JPEG by simplejpeg: about twice as fast as Pillow, and used only where both give the same pixels, bit for bit.

Both are libjpeg-turbo, but not of one version. So `difference` compares them on a few images first, once per process,
and only plain files are given to simplejpeg: 8-bit grey or three colours, baseline or progressive. Of a file with EXIF,
XMP, several images or anything else that may change how it is seen, Pillow reads the header before. One that is turned,
or odd in any way, and one that simplejpeg warns of, is left to Pillow altogether. So errors have one home.
"""

import io
import itertools
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from srcache.errors import ImageError
from srcache.images.apart import apart
from srcache.images.colors import Reading, note_profile
from srcache.images.pillow import decode_by_pillow, is_upright, profile_of
from srcache.images.pixels import Pixels, pixel_limit
from srcache.images.room import BY_OTHERS, kept, room

_FRAMES = {0xC0, 0xC2}
"""Baseline and progressive; others (extended, lossless, arithmetic) are rare."""

_START_OF_SCAN, _JFIF, _COMMENT = 0xDA, 0xE0, 0xFE
_SCAN_MARK = bytes([0xFF, _START_OF_SCAN])
_LONG_HEADER = 1024
"""Bytes in which the headers of ordinary files end."""

_TABLES = {0xC4, 0xDB, 0xDD}
"""Huffman and quantisation tables, restart interval."""

_ICC, _ICC_MARK = 0xE2, b"ICC_PROFILE\0"

_NOTES = range(0xE0, 0xF0)
"""Application segments: EXIF, XMP, profiles, Adobe's colour transform, the directory of an MPO."""

_FAILED = (ValueError, RuntimeError, LookupError, TypeError, MemoryError)
"""What simplejpeg raises over bytes that it does not like."""


class Frame(NamedTuple):
    """What a plain JPEG's header says, and whether it has segments that Pillow should look at before."""

    height: int
    width: int
    has_notes: bool
    has_profile: bool = False
    is_grey: bool = False


def decode_jpeg(data: bytes | memoryview, out: Pixels | None = None, reading: Reading | None = None) -> Pixels | None:
    """The pixels of a plain JPEG, in `out` if that has their shape; None leaves the file to Pillow."""
    import simplejpeg

    frame = plain_frame(data)
    if frame is None or frame.height * frame.width > pixel_limit():
        return None
    if frame.has_notes and not _is_usual(data):
        return None
    profile = profile_of(data) if frame.has_profile else None
    if reading is not None and note_profile(profile, "L" if frame.is_grey else "RGB", reading):
        return None
    try:
        with room(frame.height * frame.width, BY_OTHERS):
            fits = out is not None and out.shape == (frame.height, frame.width, 3)
            pixels: Pixels = out if out is not None and fits else np.empty((frame.height, frame.width, 3), np.uint8)
            simplejpeg.decode_jpeg(data, "RGB", buffer=pixels, strict=True)
    except Exception:  # whatever it raises over bytes that it does not like; Pillow says what is wrong with them
        return None
    return pixels if fits else kept(pixels)


def plain_frame(data: bytes | memoryview) -> Frame | None:
    """Read a header up to its first scan; None if there is anything in it that is not usual.

    Files that one program wrote in one size often have the same header, byte for byte; it is then read once.
    """
    start = bytes(data[:_LONG_HEADER])
    scan = start.find(_SCAN_MARK)
    known = _known_frame(start[: scan + 4]) if scan > 0 else None
    return known or _walked_frame(data)


@lru_cache(maxsize=256)
def _known_frame(header: bytes) -> Frame | None:
    """What a header says that ends with the mark of a scan; None also where that mark is something else."""
    return _walked_frame(header)


def _walked_frame(data: bytes | memoryview) -> Frame | None:
    sides: tuple[int, int] | None = None
    place, has_notes, has_profile, is_grey = 2, False, False, False
    while place + 4 <= len(data):
        mark, marker, length = data[place], data[place + 1], data[place + 2] << 8 | data[place + 3]
        body = bytes(data[place + 4 : min(place + 2 + length, place + 24)])
        if mark != 0xFF or length < 2:
            return None
        if marker == _START_OF_SCAN:
            return Frame(*sides, has_notes, has_profile, is_grey) if sides else None
        if marker in _FRAMES:
            if sides or (sides := _sides(length, body)) is None:
                return None
            is_grey = body[5] == 1
        elif marker in _NOTES:
            has_profile |= marker == _ICC and body.startswith(_ICC_MARK)
            has_notes |= not (marker == _JFIF and length == 16 and body.startswith(b"JFIF\0"))
        elif marker not in _TABLES and marker != _COMMENT:
            return None
        place += 2 + length
    return None


@cache
def difference() -> str | None:
    """Why simplejpeg cannot take Pillow's place here: it is missing, too old, or gives other pixels; None if it can."""
    try:
        import simplejpeg
    except ModuleNotFoundError:
        return "simplejpeg is not installed"
    except (ImportError, *_FAILED) as error:
        return f"simplejpeg does not load ({error})"
    try:
        for data in _trials():
            found = simplejpeg.decode_jpeg(data, "RGB", buffer=np.empty((37, 43, 3), np.uint8), strict=True)
            if not np.array_equal(found, decode_by_pillow(data).rgb):
                return f"simplejpeg {simplejpeg.__version__} gives other pixels than Pillow"
    except _FAILED:
        return f"simplejpeg {simplejpeg.__version__} is too old"
    return None


def _sides(length: int, body: bytes) -> tuple[int, int] | None:
    """Height and width in a frame's header, if it has 8 bits and one or three components."""
    if len(body) < 6 or body[5] not in (1, 3) or length != 8 + 3 * body[5] or body[0] != 8:
        return None
    height, width = body[1] << 8 | body[2], body[3] << 8 | body[4]
    return (height, width) if height and width else None


def _is_usual(data: bytes | memoryview) -> bool:
    """Whether Pillow, by the header, sees one image that stands upright, and nothing to warn of."""
    try:
        with apart(counted=False) as warned:
            return is_upright(data, "JPEG") and not warned
    except ImageError:
        return False


def _trials() -> Iterator[bytes]:
    """Small JPEGs in which versions of libjpeg could differ: subsampled, grey, progressive, a scan left out."""
    import simplejpeg

    rows, columns = np.mgrid[0:37, 0:43]
    waves = [127 + 120 * np.sin(rows / (2 + shift) + columns * shift / 3) for shift in range(3)]
    pixels = (np.stack(waves, axis=-1) + (rows * columns % 7)[..., None]).astype(np.uint8)
    image = Image.fromarray(pixels)
    for quality, sampling in itertools.product((50, 95), ("4:4:4", "4:2:2", "4:2:0")):
        yield _saved(image, quality=quality, subsampling=sampling)
    for sampling in ("440", "411"):
        yield bytes(simplejpeg.encode_jpeg(pixels, 90, "RGB", sampling))
    yield _saved(image.convert("L"), quality=90)
    progressive = _saved(image, quality=75, progressive=True)
    yield progressive
    yield progressive[: progressive.rindex(b"\xff\xda")] + b"\xff\xd9"


def _saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()
