"""An image file's bytes → RGB pixels, each kind of file in one way.

An image inside srcache is RGB, uint8, of shape (height, width, 3). Files come in every shape that cameras and
annotation tools make them; `decode` settles each of them one way, or refuses it with a reason:

    EXIF orientation      applied                     empty file        refused: empty
    alpha, tRNS           laid over white             cut off           refused: truncated
    palette, CMYK, grey   Pillow's conversion         not an image      refused: unreadable
    16-bit grey           divided by 257, rounded     several frames    refused: animated
    16-bit RGB            high byte (Pillow's)        above the limit   refused: too_large
    MPO (camera JPEG)     its first image             float, 32-bit     refused: unsupported

QOI goes through the `qoi` package, because Pillow's decoder for it is written in Python and some hundred times
slower; both give the same pixels.
"""

from pathlib import Path

import numpy as np

from srcache.errors import ImageError
from srcache.images.pillow import Decoded, decode_by_pillow
from srcache.images.pixels import Pixels
from srcache.images.qoi_files import decode_qoi


def read_file(path: Path) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageError: it cannot be read (`unreadable`).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"the file cannot be read ({error.strerror or error})") from error


def decode(data: bytes | memoryview) -> Pixels:
    """A file's bytes → RGB pixels.

    Raises:
        ImageError: the bytes cannot be used; `reason` is one of the words in this module's docstring.
    """
    return decode_both(data).rgb


def decode_into(data: bytes | memoryview, out: Pixels) -> Pixels:
    """Like `decode`, with the pixels written into `out`, if the image has exactly its shape.

    Args:
        data: a file's bytes; a view of mapped memory is not kept.
        out: uint8 of shape (height, width, 3), C-contiguous and writable.

    Returns:
        `out`; or a new array of the image's own shape, if that is another one.

    Raises:
        ImageError: as `decode`; what `out` holds then is not defined.
    """
    rgb = decode(data)
    if rgb.shape != out.shape:
        return rgb
    np.copyto(out, rgb, casting="no")
    return out


def decode_both(data: bytes | memoryview) -> Decoded:
    """Like `decode`, with Pillow's plain conversion beside it.

    Raises:
        ImageError: as `decode`.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if data[:4] == b"qoif":
        rgb = decode_qoi(data)
        return Decoded(rgb, rgb)
    return decode_by_pillow(data)
