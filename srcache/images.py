"""Bytes ↔ arrays ↔ tensors: the only codec code.

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

import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import qoi
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from srcache.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""
PIXEL_LIMIT = 100_000_000
"""Pixels that an image may have; the environment variable SRCACHE_MAX_PIXELS raises it."""
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
LOSSLESS = ("qoi", "png")
LOSSY = ("jpeg", "webp")
_QOI_END = b"\0\0\0\0\0\0\0\1"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError, Warning, struct.error)
"""What codecs raise over broken bytes; their warnings too, where warnings are errors."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as srcache sees it, and as `PIL.Image.open(file).convert("RGB")` would.

    The two are the same array unless the file has an orientation, transparency or more than 8 bits.
    """

    rgb: Pixels
    plain: Pixels


def read_file(path: Path) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageError: it cannot be read (`unreadable`).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"the file cannot be read ({error.strerror or error})") from error


def decode(data: bytes) -> Pixels:
    """A file's bytes → RGB pixels.

    Raises:
        ImageError: the bytes cannot be used; `reason` is one of the words in this module's docstring.
    """
    return decode_both(data).rgb


def decode_both(data: bytes) -> Decoded:
    """Like `decode`, with Pillow's plain conversion beside it.

    Raises:
        ImageError: as `decode`.
    """
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if data[:4] == b"qoif":
        rgb = _decode_qoi(data)
        return Decoded(rgb, rgb)
    with _open(data) as image:
        try:
            _refuse(image)
            image.load()
            rgb = np.asarray(_to_rgb(image))
            plain = rgb if _is_plain(image) else np.asarray(image.convert("RGB"))
        except _BROKEN as error:
            raise _image_error(error) from error
    return Decoded(rgb, plain)


def pixel_limit() -> int:
    """Pixels that an image may have, read from SRCACHE_MAX_PIXELS if that is set."""
    text = os.environ.get("SRCACHE_MAX_PIXELS", str(PIXEL_LIMIT))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"SRCACHE_MAX_PIXELS must be a positive integer, but is {text!r}")
    return int(text)


def require_pixels(width: int, height: int, what: str = "the image") -> None:
    """Refuse an image that is too large.

    Raises:
        ImageError: it has more pixels than `pixel_limit` (`too_large`).
    """
    if width * height > pixel_limit():
        raise ImageError(
            "too_large",
            f"{what} has {width}×{height} pixels, more than {pixel_limit()}; SRCACHE_MAX_PIXELS raises the limit",
        )


def encode(rgb: Pixels, codec: str) -> bytes:
    """RGB pixels → a file's bytes. `codec` is `qoi`, `png`, `png:LEVEL`, `jpeg:QUALITY` or `webp:QUALITY`.

    A PNG's level says how long zlib tries, 1 to 9; 3 if it is left out.

    Raises:
        ConfigError: no such codec.
    """
    kind, quality = parse_codec(codec)
    if kind == "qoi":
        return bytes(qoi.encode(np.ascontiguousarray(rgb)))
    out = io.BytesIO()
    image = Image.fromarray(rgb)
    if kind == "png":
        image.save(out, "PNG", compress_level=quality)
    elif kind == "jpeg":
        image.save(out, "JPEG", quality=quality, subsampling="4:4:4")
    else:
        image.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def parse_codec(codec: str) -> tuple[str, int]:
    """The kind and the quality of a codec's name: of PNG the level, of QOI 100.

    Raises:
        ConfigError: no such codec, a quality outside 1–100, or a level outside 1–9.
    """
    kind, _, quality = codec.partition(":")
    if kind == "png" and (not quality or (quality.isdecimal() and 1 <= int(quality) <= 9)):
        return kind, int(quality or 3)
    if kind in LOSSLESS and not quality:
        return kind, 100
    if kind in LOSSY and quality.isdecimal() and 1 <= int(quality) <= 100:
        return kind, int(quality)
    raise ConfigError(f"a codec is one of {', '.join(LOSSLESS)}, jpeg:1–100, webp:1–100, but got {codec!r}")


def suffix_of(payload: bytes) -> str:
    """The file suffix of a payload that `encode` made, according to its first bytes."""
    known = {b"qoif": ".qoi", b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
    return next((suffix for start, suffix in known.items() if payload.startswith(start)), ".bin")


def as_file(payload: bytes) -> tuple[str, bytes]:
    """A stored image as a file for other programs: suffix and bytes. QOI becomes PNG, others are unchanged."""
    suffix = suffix_of(payload)
    return (".png", encode(decode(payload), "png")) if suffix == ".qoi" else (suffix, payload)


def plain_suffix(data: bytes) -> str | None:
    """The suffix of a JPEG, PNG or WebP file that every program decodes to the pixels that `decode` gives; else None.

    Only the file's header is read. Orientation, transparency and 16-bit grey are what others see differently.

    Raises:
        ImageError: the bytes are no image.
    """
    suffix = suffix_of(data)
    if suffix not in (".jpg", ".png", ".webp"):
        return None
    with _open(data) as image:
        try:
            return suffix if _is_plain(image) else None
        except _BROKEN as error:
            raise _image_error(error) from error


def resize(rgb: Pixels, size: tuple[int, int], resample: str) -> Pixels:
    """Pillow's resize (antialiased when it shrinks) to `size` = (height, width); 8 bit in, 8 bit out."""
    height, width = size
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), FILTERS[resample]))


def to_pixels(image: "Image.Image") -> Pixels:
    """A Pillow image in memory → RGB pixels, settled as `decode` settles a file.

    Raises:
        ImageError: a mode that has no one way to RGB, or an image that was opened but not yet read, and is damaged.
    """
    try:
        _refuse(image)
        return np.asarray(_to_rgb(image))
    except _BROKEN as error:
        raise _image_error(error) from error


def to_batch(images: Sequence[Pixels]) -> "Tensor":
    """Images of one size → float32 tensor (N, 3, H, W), exactly uint8 / 255."""
    import torch

    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).contiguous().float() / 255


def from_tensor(image: "Tensor") -> Pixels:
    """A float tensor (3, H, W) in [0, 1] on any device → pixels, rounded to the nearest of 256 levels."""
    levels = image.detach().float().clamp(0, 1).mul_(255).round_()
    if levels.is_cuda:
        levels = levels.byte().cpu()
    planes = levels.numpy()
    array: Pixels = np.empty((*planes.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(planes):  # three strided copies beat one transposed conversion
        np.copyto(array[..., channel], plane, casting="unsafe")
    return array


def _open(data: bytes) -> Image.Image:
    """Read a file's header. Pillow's own limit is raised to ours, so that there is one limit to change."""
    if Image.MAX_IMAGE_PIXELS is not None and pixel_limit() > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = pixel_limit()
    try:
        return Image.open(io.BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("too_large", f"{error}; SRCACHE_MAX_PIXELS raises the limit") from error
    except _BROKEN as error:
        raise _image_error(error) from error


def _refuse(image: Image.Image) -> None:
    require_pixels(image.width, image.height)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError("animated", f"expected one image, but the file has {frames} frames; extract them first")


def _image_error(error: Exception) -> ImageError:
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return ImageError("unreadable", "the bytes are not an image in a format that Pillow knows")
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return ImageError("truncated", f"the file ends too early ({text})")
    return ImageError("unreadable", f"the image is damaged ({text})")


def _decode_qoi(data: bytes) -> Pixels:
    if len(data) < 22 or not data.endswith(_QOI_END):
        raise ImageError("truncated", "the file ends too early (no QOI end mark)")
    width, height, channels = struct.unpack_from(">IIB", data, 4)
    require_pixels(width, height)
    if not (width and height) or channels not in (3, 4):
        raise ImageError("unreadable", "the QOI header makes no sense")
    try:
        pixels: Pixels = qoi.decode(data)
    except _BROKEN as error:
        raise _image_error(error) from error
    return pixels if channels == 3 else np.asarray(_over_white(Image.fromarray(pixels)))


def _to_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    if image.mode == "F":
        raise ImageError("unsupported", "floating-point pixels have no agreed range; convert the file to 8 or 16 bit")
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("unsupported", "pixels beyond 16 bits have no agreed range; convert the file to 8 or 16 bit")
    if isinstance(clear := image.info.get("transparency"), int):
        values[values == clear] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def _is_plain(image: Image.Image) -> bool:
    upright = image.getexif().get(0x0112, 1) == 1
    return upright and not image.mode.startswith("I") and not image.has_transparency_data
