"""An image is turned as Pillow's `exif_transpose` turns its file, and odd EXIF data neither turns nor damages it."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from exif_data import Tag, exif, long, rational, short
from hypothesis import given
from hypothesis import strategies as st
from image_files import saved
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from srcache.images import Pixels, decode, decode_both, to_pixels
from srcache.images.orientation import turn_of

TAG = 0x0112
KINDS: dict[str, dict[str, Any]] = {"JPEG": {}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
ODD = {
    "a text that is a fraction": exif(rational(0x010E, 7, 3), short(TAG, 6)),
    "a text that lies outside": exif(long(0x010E, 0x7FFFFFF0, kind=2), short(TAG, 8)),
    "two values": exif(short(TAG, 6, 1)),
    "a fraction": exif(rational(TAG, 6, 1)),
    "a fraction of nothing": exif(rational(TAG, 6, 0)),
    "a text": exif(Tag(TAG, 2, 2, b"6\0")),
    "a byte": exif(Tag(TAG, 1, 1, b"\6")),
    "a long": exif(long(TAG, 3)),
    "a float": exif(Tag(TAG, 11, 1, struct.pack("<f", 5))),
    "an unknown type": exif(Tag(TAG, 99, 1, b"\6")),
    "no values": exif(Tag(TAG, 3, 0, b"")),
    "0": exif(short(TAG, 0)),
    "9": exif(short(TAG, 9)),
    "twice": exif(short(TAG, 6), short(TAG, 3)),
    "cut off": exif(short(TAG, 6), short(0x0100, 1))[:24],
    "nothing but a head": b"Exif\0\0II*\0",
    "no head": b"Exif\0\0JUNKJUNKJUNK",
    "empty": b"Exif\0\0",
    "a head twice": b"Exif\0\0" + exif(short(TAG, 6)),
    "a directory in itself": exif(long(0x8769, 8), long(0x8825, 8), short(TAG, 6)),
}


def by_pillow(data: bytes) -> Pixels | None:
    """What `exif_transpose` makes of a file; None if it, or Pillow itself, raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except Exception:
            return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ODD)
def test_odd_exif_data(rgb: Pixels, kind: str, what: str) -> None:
    data = with_exif(saved(Image.fromarray(rgb), kind, **KINDS[kind]), kind, ODD[what])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode_both(data)
    expected = by_pillow(data)
    if expected is not None:
        np.testing.assert_array_equal(found.rgb, expected)
    assert sorted(found.rgb.shape) == sorted(rgb.shape), "it is read, whatever its EXIF data holds"


def with_exif(data: bytes, kind: str, raw: bytes) -> bytes:
    """A file with EXIF data byte for byte; of a TIFF these are tags of its own."""
    if kind != "TIFF":
        with Image.open(io.BytesIO(data)) as image:
            return saved(image, kind, exif=raw, **KINDS[kind])
    return tiff_with(data, raw[14:]) if len(raw) > 40 and raw.startswith(b"Exif\0\0II*\0\x08") else data


def tiff_with(data: bytes, directory: bytes) -> bytes:
    """A TIFF file of Pillow's with more entries in its directory, those of EXIF data whose values are short."""
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    own = [data[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    more = [directory[place : place + 12] for place in range(2, 2 + 12 * struct.unpack_from("<H", directory)[0], 12)]
    more = [entry for entry in more if len(entry) == 12]
    entries = sorted(own + more, key=lambda entry: struct.unpack_from("<H", entry)[0])
    place = len(data) + len(data) % 2
    head = data[:4] + struct.pack("<I", place) + data[8:].ljust(place - 8, b"\0")
    return head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), st.integers(0, 9), st.data())
def test_any_exif_data(kind: str, noise: bytes, orientation: int, draw: st.DataObject) -> None:
    raw = bytearray(exif(short(0x0100, 7), short(TAG, orientation), rational(0x011A, 72, 1)) + noise)
    for _ in range(draw.draw(st.integers(0, 3))):
        raw[draw.draw(st.integers(6, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    data = with_exif(saved(Image.new("RGB", (5, 3), (9, 8, 7)), kind, **KINDS[kind]), kind, bytes(raw))
    expected = by_pillow(data)
    if expected is not None:
        np.testing.assert_array_equal(decode(data), expected)
    elif kind != "TIFF":
        assert decode(data).shape in ((3, 5, 3), (5, 3, 3))


def xmp(orientation: int, form: str = '"') -> bytes:
    said = (
        f'tiff:Orientation="{orientation}"/>' if form == '"' else f"><tiff:Orientation>{orientation}</tiff:Orientation>"
    )
    return f"<x:xmpmeta><rdf:Description {said}</x:xmpmeta>".encode()


@pytest.mark.parametrize("form", ['"', "<"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [None, 1, 3, 9])
def test_xmp_is_asked_where_exif_says_nothing(rgb: Pixels, kind: str, first: int | None, form: str) -> None:
    more: dict[str, Any] = {**KINDS[kind], "xmp": xmp(6, form)}
    if kind == "PNG":
        more = {"pnginfo": PngInfo()}
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp(6, form).decode())
    if kind == "TIFF":
        more = {"tiffinfo": {700: xmp(6, form)}}
    if first is not None:
        more["exif"] = exif(short(TAG, first))
    if kind == "TIFF" and first is not None:
        more = {"tiffinfo": {700: xmp(6, form), TAG: first}}
    data = saved(Image.fromarray(rgb), kind, **more)
    expected = by_pillow(data)
    assert expected is not None
    np.testing.assert_array_equal(decode(data), expected)
    assert decode(data).shape == ((17, 13, 3) if first is None else rgb.shape)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_xmp_is_asked_where_exif_cannot_be_read(rgb: Pixels, kind: str) -> None:
    more: dict[str, Any] = {**KINDS[kind], "xmp": xmp(6), "exif": ODD["nothing but a head"]}
    if kind == "PNG":
        more["pnginfo"] = PngInfo()
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp(6).decode())
    found = decode_both(saved(Image.fromarray(rgb), kind, **more))
    assert found.rgb.shape == (17, 13, 3)
    assert found.plain.shape == rgb.shape


def test_the_image_that_was_handed_over_stays_as_it_is(rgb: Pixels) -> None:
    with Image.open(io.BytesIO(saved(Image.fromarray(rgb), "PNG", exif=ODD["a text that is a fraction"]))) as image:
        assert to_pixels(image).shape == (17, 13, 3)
        assert image.size == (17, 13)
        assert turn_of(image) == Image.Transpose.ROTATE_270
