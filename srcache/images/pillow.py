"""Any image file by Pillow, settled as `decode` promises; also images that Pillow holds in memory."""

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from srcache.errors import ImageError
from srcache.images.pixels import Pixels, pixel_limit, require_pixels

BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError, AssertionError, Warning),
    struct.error,
)
"""What codecs raise over broken bytes; their warnings too, where warnings are errors."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as srcache sees it, and as `PIL.Image.open(file).convert("RGB")` would.

    The two are the same array unless the file has an orientation, transparency or more than 8 bits.
    """

    rgb: Pixels
    plain: Pixels


def decode_by_pillow(data: bytes | memoryview) -> Decoded:
    """A file's bytes in whatever format Pillow reads.

    Raises:
        ImageError: as `decode`.
    """
    with _open(data) as image:
        try:
            _refuse(image)
            image.load()
            rgb = np.asarray(_to_rgb(image))
            plain = rgb if _is_plain(image) else np.asarray(image.convert("RGB"))
        except BROKEN as error:
            raise image_error(error) from error
    return Decoded(rgb, plain)


def is_upright(data: bytes | memoryview, kind: str) -> bool:
    """Whether a file is of one format of Pillow's, opaque, and has no orientation. Only its header is read.

    Raises:
        ImageError: it cannot be opened.
    """
    with _open(data) as image:
        try:
            return image.format == kind and _is_plain(image)
        except BROKEN as error:
            raise image_error(error) from error


def image_sides(data: bytes | memoryview) -> tuple[int, int]:
    """The (height, width) that a file's header says, before any orientation is applied; nothing is decoded.

    Raises:
        ImageError: as `decode`; what comes after the header is not looked at.
    """
    if not len(data):
        raise ImageError("empty", "the file has no bytes")
    with _open(data) as image:
        require_pixels(image.width, image.height)
        return image.height, image.width


def shown_sides(data: bytes | memoryview) -> tuple[int, int]:
    """The (height, width) of what `decode` makes of a file, by its header: turned if it has such an orientation.

    Raises:
        ImageError: as `image_sides`.
    """
    height, width = image_sides(data)
    with _open(data) as image:
        try:
            turned = image.getexif().get(0x0112, 1) in range(5, 9)
        except BROKEN as error:
            raise image_error(error) from error
    return (width, height) if turned else (height, width)


def to_pixels(image: "Image.Image") -> Pixels:
    """A Pillow image in memory → RGB pixels, settled as `decode` settles a file.

    Raises:
        ImageError: a mode that has no one way to RGB, or an image that was opened but not yet read, and is damaged.
    """
    try:
        _refuse(image)
        return np.asarray(_to_rgb(image))
    except BROKEN as error:
        raise image_error(error) from error


def image_error(error: Exception) -> ImageError:
    """What a decoder raised, as the reason and the sentence of an ImageError."""
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return ImageError("unreadable", "the bytes are not an image in a format that Pillow knows")
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return ImageError("truncated", f"the file ends too early ({text})")
    return ImageError("unreadable", f"the image is damaged ({text})")


def over_white(image: Image.Image) -> Image.Image:
    """An image with transparency, laid over white."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _open(data: bytes | memoryview) -> Image.Image:
    """Read a file's header. Pillow's own limit is raised to ours, so that there is one limit to change."""
    if Image.MAX_IMAGE_PIXELS is not None and pixel_limit() > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = pixel_limit()
    try:
        return Image.open(io.BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("too_large", f"{error}; SRCACHE_MAX_PIXELS raises the limit") from error
    except BROKEN as error:
        raise image_error(error) from error


def _refuse(image: Image.Image) -> None:
    require_pixels(image.width, image.height)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError("animated", f"expected one image, but the file has {frames} frames; extract them first")


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    if image.mode == "F":
        raise ImageError("unsupported", "floating-point pixels have no agreed range; convert the file to 8 or 16 bit")
    if image.has_transparency_data:
        return over_white(image)
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("unsupported", "pixels beyond 16 bits have no agreed range; convert the file to 8 or 16 bit")
    if isinstance(clear := image.info.get("transparency"), int):
        values[values == clear] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _is_plain(image: Image.Image) -> bool:
    upright = image.getexif().get(0x0112, 1) == 1
    return upright and not image.mode.startswith("I") and not image.has_transparency_data
