"""QOI by the `qoi` package: Pillow's decoder for it is written in Python and some hundred times slower."""

import struct

import numpy as np
import qoi
from PIL import Image

from srcache.errors import ImageError
from srcache.images.colors import Reading, note_profile, over_background
from srcache.images.pillow import decoding
from srcache.images.pixels import Pixels, require_pixels
from srcache.images.room import BY_OTHERS, BY_PILLOW, kept, room

_QOI_END = b"\0\0\0\0\0\0\0\1"


def decode_qoi(data: bytes | memoryview, reading: Reading | None = None) -> Pixels:
    """A QOI file → RGB pixels; alpha is laid over the background, which is white if nothing else is said.

    Raises:
        ImageError: as `decode`.
    """
    if len(data) < 22 or data[-8:] != _QOI_END:
        raise ImageError("truncated", "the file ends too early (no QOI end mark)")
    width, height, channels = struct.unpack_from(">IIB", data, 4)
    require_pixels(width, height)
    if not (width and height) or channels not in (3, 4):
        raise ImageError("unreadable", "the QOI header makes no sense")
    with decoding(), room(width * height, BY_PILLOW if channels == 4 else BY_OTHERS):
        pixels: Pixels = qoi.decode(data)
        if reading is not None:
            note_profile(None, "RGB", reading)
        return kept(pixels if channels == 3 else np.asarray(over_background(Image.fromarray(pixels), reading)))
