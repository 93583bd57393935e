"""ICC profiles for tests, and images that need one, have another mode, or are transparent."""

import io
import struct

import numpy as np
from image_files import saved
from PIL import Image, ImageCms


def matrix_profile(red: tuple[float, float], gamma: float = 2.2) -> bytes:
    """An RGB profile whose red primary lies elsewhere: sRGB's own bytes, with one tag and the curves changed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for number in range(count):
        tag, place, _size = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if tag == b"rXYZ":
            x, y = red
            struct.pack_into(">iii", data, place + 8, int(x * 65536), int(y * 65536), 0)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4s4xHHi", data, place, b"para", 0, 0, int(gamma * 65536))
    return bytes(data)


WIDE = matrix_profile((0.61, 0.31), gamma=1.8)
"""A profile under which the same numbers mean quite other colours."""

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BROKEN = b"no profile at all" * 9


def spectrum(height: int = 9, width: int = 12) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    stacked = np.stack([rows * 28, columns * 20, 255 - rows * 10 - columns * 9], axis=-1)
    return Image.fromarray(stacked.astype(np.uint8))


def by_pillow(image: Image.Image, profile: bytes) -> np.ndarray:
    """What Pillow makes of an image by a profile."""
    given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB"))


def profiled(kind: str = "PNG", profile: bytes = WIDE, image: Image.Image | None = None) -> bytes:
    return saved(spectrum() if image is None else image, kind, icc_profile=profile)


def half_clear(image: Image.Image | None = None) -> Image.Image:
    """An image whose upper half is clear."""
    found = (spectrum() if image is None else image).convert("RGBA")
    alpha = np.full((found.height, found.width), 255, np.uint8)
    alpha[: found.height // 2] = 0
    found.putalpha(Image.fromarray(alpha))
    return found
