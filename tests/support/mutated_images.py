"""Images of every format, damaged in a way that a number chooses: bytes changed, lost, added, or a file cut off."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import paths
from exif_data import exif, rational, short
from image_files import saved
from PIL import Image

_HOSTILE = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x27\x06\x27\x06")
"""What sizes, counts and offsets are set to; the last is 9990 twice."""

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "a.jpg": ("JPEG", {"exif": exif(short(0x0112, 6), rational(0x010E, 7, 3))}),
    "b.jpeg": ("JPEG", {"progressive": True}),
    "c.jpe": ("MPO", {}),
    "d.png": ("PNG", {"exif": exif(short(0x0112, 8, 1))}),
    "e.apng": ("PNG", {"save_all": True, "append_images": [Image.new("RGB", (24, 20))]}),
    "f.webp": ("WEBP", {"lossless": True}),
    "g.tif": ("TIFF", {}),
    "h.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "i.tif": ("TIFF", {"compression": "jpeg"}),
    "j.gif": ("GIF", {}),
    "k.bmp": ("BMP", {}),
    "l.dib": ("DIB", {}),
    "m.ppm": ("PPM", {}),
    "n.qoi": ("QOI", {}),
    "o.jp2": ("JPEG2000", {}),
    "p.avif": ("AVIF", {}),
    "q.tga": ("TGA", {}),
    "r.pcx": ("PCX", {}),
    "s.ico": ("ICO", {}),
    "t.heic": ("HEIF", {}),
}
"""A file's name, its format, and how it is written."""


@cache
def _whole(name: str) -> bytes:
    kind, options = FORMS[name]
    if kind == "HEIF":
        return (paths.GOLDEN / "heic/turned.heic").read_bytes()
    rgb = np.random.default_rng(7).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    return saved(Image.fromarray(rgb), kind, **options)


def mutated(number: int) -> tuple[str, bytes]:
    """A file's name and its bytes; the same for the same number."""
    dice, name = random.Random(number), sorted(FORMS)[number % len(FORMS)]
    data = bytearray(_whole(name))
    ways: list[Callable[[bytearray, int, random.Random], None]] = [_change, _change, _change, _lose, _add, _set, _cut]
    for _ in range(dice.randint(1, 6)):
        reach = min(len(data), dice.choice([60, 200, 1 << 20]))
        if reach:
            dice.choice(ways)(data, dice.randrange(reach), dice)
    return f"{number:05d}{name[1:]}", bytes(data)


def _change(data: bytearray, place: int, dice: random.Random) -> None:
    data[place] = dice.randrange(256)


def _lose(data: bytearray, place: int, dice: random.Random) -> None:
    del data[place : place + dice.randint(1, 40)]


def _add(data: bytearray, place: int, dice: random.Random) -> None:
    data[place:place] = dice.randbytes(dice.randint(1, 8))


def _set(data: bytearray, place: int, dice: random.Random) -> None:
    data[place : place + 4] = dice.choice(_HOSTILE)


def _cut(data: bytearray, place: int, dice: random.Random) -> None:
    del data[max(1, place) :]
