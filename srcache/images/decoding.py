"""An image file's bytes → RGB pixels, each kind of file in one way.

An image inside srcache is RGB, uint8, of shape (height, width, 3). Files come in every shape that cameras and
annotation tools make them; `decode` settles each of them one way, or refuses it with a reason:

    EXIF orientation      applied                     empty file        refused: empty
    alpha, tRNS           laid over white*            cut off           refused: truncated
    palette, CMYK, grey   Pillow's conversion*        not an image      refused: unreadable
    16-bit grey           divided by 257, rounded     several frames    refused: animated
    16-bit RGB            high byte (Pillow's)        above the limit   refused: too_large
    MPO (camera JPEG)     its first image             float, 32-bit     refused: unsupported

* `colors.Colors` chooses another background, or a conversion to sRGB by the file's ICC profile, which is ignored else.

Other decoders than Pillow's read plain files of the kinds that caches and training sets are made of (`decoders`),
with the same pixels: JPEG, PNG, QOI and PPM. What is odd or damaged is left to Pillow, whose error says the reason.
"""

from pathlib import Path

import numpy as np

from srcache.errors import LIMITS, ImageError
from srcache.files.regular import read_regular
from srcache.images.colors import AS_EVER, Colors, Reading, note_profile
from srcache.images.decoders import obstacle
from srcache.images.jpeg_files import decode_jpeg
from srcache.images.pillow import Decoded, decode_by_pillow
from srcache.images.pixels import Pixels
from srcache.images.png_files import SIGNATURE, decode_png
from srcache.images.ppm_files import decode_ppm, is_ppm, lent_by_ppm
from srcache.images.qoi_files import decode_qoi


def read_file(path: Path) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageError: it cannot be read, or is no regular file (`unreadable`).
        OSError: a limit of the system, such as that of open files, is in the way.
    """
    try:
        return read_regular(path)
    except OSError as error:
        if error.errno in LIMITS:
            raise
        raise ImageError("unreadable", f"the file cannot be read ({error.strerror or error})") from error


def decode(data: bytes | memoryview, colors: Colors = AS_EVER) -> Pixels:
    """A file's bytes → RGB pixels.

    Raises:
        ImageError: the bytes cannot be used; `reason` is one of the words in this module's docstring.
    """
    return decode_both(data, colors).rgb


def decode_into(data: bytes | memoryview, out: Pixels | None, colors: Colors = AS_EVER) -> Pixels:
    """Like `decode`, with the pixels written into `out`, if the image has exactly its shape. Safe for threads.

    Args:
        data: a file's bytes; a view of mapped memory is not kept.
        out: uint8 of shape (height, width, 3), C-contiguous and writable; None for a new array in any case.
        colors: how its colours become RGB.

    Returns:
        `out`; or a new array of the image's own shape, if that is another one.

    Raises:
        ImageError: as `decode`; what `out` holds then is not defined.
    """
    reading = Reading(colors)
    rgb = _fast(data, reading, out)
    if rgb is None:
        rgb = decode_by_pillow(data, reading).rgb
    if out is None or rgb is out or rgb.shape != out.shape:
        return rgb
    np.copyto(out, rgb, casting="no")
    return out


def decode_lent(data: bytes | memoryview, out: Pixels | None = None) -> Pixels:
    """Like `decode_into`; but of a PPM its own bytes where they lie, read-only, and valid as long as `data`.

    Raises:
        ImageError: as `decode`.
    """
    if is_ppm(data) and (lent := lent_by_ppm(data)) is not None:
        return lent
    return decode_into(data, out)


def decode_both(data: bytes | memoryview, colors: Colors = AS_EVER) -> Decoded:
    """Like `decode`, with Pillow's plain conversion beside it, and what the file took.

    Raises:
        ImageError: as `decode`.
    """
    reading = Reading(colors)
    rgb = _fast(data, reading)
    if rgb is None:
        return decode_by_pillow(data, Reading(colors))
    laid = "alpha" in reading.notes and colors.background != AS_EVER.background
    as_ever = _fast(data, Reading()) if laid else None
    return Decoded(rgb, rgb if as_ever is None else as_ever, as_ever, frozenset(reading.notes))


def _fast(data: bytes | memoryview, reading: Reading, out: Pixels | None = None) -> Pixels | None:
    """The pixels by the decoder of a file's kind, in `out` if that can be; None leaves the file to Pillow."""
    if not len(data):
        raise ImageError("empty", "the file has no bytes")
    start = bytes(data[:4])
    if start == b"qoif":
        return decode_qoi(data, reading)
    if start.startswith(b"\xff\xd8\xff"):
        return decode_jpeg(data, out, reading) if obstacle("JPEG") is None else None
    plain = None
    if start.startswith(b"P6"):
        plain = decode_ppm(data, out)
    elif start == SIGNATURE[:4] and obstacle("PNG") is None:
        plain = decode_png(data, out)
    if plain is not None:
        note_profile(None, "RGB", reading)  # neither has one: a PNG with a profile is left to Pillow
    return plain
