"""RGB pixels → the bytes of an image file, and the names of codecs."""

import io

import numpy as np
import qoi
from PIL import Image

from srcache.errors import ConfigError
from srcache.images.colors import AS_EVER, Colors
from srcache.images.decoding import decode
from srcache.images.pillow import is_upright, profile_of
from srcache.images.pixels import Pixels
from srcache.images.ppm_files import encode_ppm

LOSSLESS = ("qoi", "png", "ppm")
LOSSY = ("jpeg", "webp")


def encode(rgb: Pixels, codec: str) -> bytes:
    """RGB pixels → a file's bytes. `codec` is as `parse_codec` takes it.

    Raises:
        ConfigError: no such codec.
    """
    kind, quality = parse_codec(codec)
    if kind == "qoi":
        return bytes(qoi.encode(np.ascontiguousarray(rgb)))
    if kind == "ppm":
        return encode_ppm(rgb)
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
    """The kind and the quality of a codec's name: `qoi`, `png`, `png:LEVEL`, `ppm`, `jpeg:QUALITY` or `webp:QUALITY`.

    A PNG's level says how long zlib tries, 1 to 9; 3 if it is left out. QOI and PPM (which is not compressed) have 100.

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
    raise ConfigError(f"a codec is one of {', '.join(LOSSLESS)}, png:1–9, jpeg:1–100, webp:1–100, but got {codec!r}")


def suffix_of(payload: bytes) -> str:
    """The file suffix of a payload that `encode` made, according to its first bytes."""
    known = {b"qoif": ".qoi", b"\x89PNG": ".png", b"P6": ".ppm", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
    return next((suffix for start, suffix in known.items() if payload.startswith(start)), ".bin")


def recode(payload: bytes, codec: str) -> bytes:
    """A lossless image in the format of a lossless codec: as it is if it has that, else encoded anew.

    Raises:
        ImageError: it does not decode.
    """
    return payload if suffix_of(payload) == f".{parse_codec(codec)[0]}" else encode(decode(payload), codec)


def plain_suffix(data: bytes, colors: Colors = AS_EVER) -> str | None:
    """The suffix of a JPEG, PNG or WebP file that every program decodes to the pixels that `decode` gives; else None.

    Others see an orientation, transparency and 16-bit grey differently; and a profile, if `colors` follow it.

    Raises:
        ImageError: the file cannot be opened.
    """
    suffix = suffix_of(data)
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}.get(suffix)
    if kind is None or not is_upright(data, kind):
        return None
    return None if colors.profile != AS_EVER.profile and profile_of(data) else suffix


def as_file(payload: bytes) -> tuple[str, bytes]:
    """A stored image as a file for other programs: suffix and bytes. QOI and PPM become PNG, others are unchanged."""
    suffix = suffix_of(payload)
    return (".png", encode(decode(payload), "png")) if suffix in (".qoi", ".ppm") else (suffix, payload)
