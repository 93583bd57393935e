"""PPM (P6, 8 bits): pixels behind a line of text. Nothing to compute: the fastest to read, and the largest."""

import re

import numpy as np

from srcache.images.pixels import Pixels, pixel_limit

_HEADER = re.compile(rb"P6\s([1-9]\d{0,8})\s([1-9]\d{0,8})\s255\s")
_LONGEST = 32


def encode_ppm(rgb: Pixels) -> bytes:
    """RGB pixels → a PPM file."""
    height, width, _ = rgb.shape
    return b"P6\n%d %d\n255\n" % (width, height) + np.ascontiguousarray(rgb).tobytes()


def is_ppm(data: bytes | memoryview) -> bool:
    """Whether a file begins as a PPM of this kind does."""
    return bytes(data[:2]) == b"P6"


def decode_ppm(data: bytes | memoryview, out: Pixels | None = None) -> Pixels | None:
    """The pixels of a plain PPM, in `out` if that has their shape; None leaves the file to Pillow."""
    found = lent_by_ppm(data)
    if found is None:
        return None
    if out is None or out.shape != found.shape:
        return found.copy()
    np.copyto(out, found)
    return out


def lent_by_ppm(data: bytes | memoryview) -> Pixels | None:
    """The pixels of a plain PPM where they lie in its bytes, read-only, and valid as long as those.

    None leaves the file to Pillow: one with comments, with another number of levels, cut off, or too large.
    """
    header = _HEADER.match(bytes(data[:_LONGEST]))
    if header is None:
        return None
    width, height = int(header[1]), int(header[2])
    if width * height > pixel_limit() or len(data) != header.end() + 3 * width * height:
        return None
    found: Pixels = np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)
    found.flags.writeable = False
    return found
