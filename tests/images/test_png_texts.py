"""Texts in a PNG, whatever they unpack to, stop no image and take no memory."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from exif_data import exif, short
from image_files import refused, saved
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from srcache.images import Pixels, decode, to_pixels
from srcache.images.png_texts import without_texts

LARGE = 2 << 20


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    seal = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", seal)


def with_chunk(data: bytes, added: bytes, behind: bool = False) -> bytes:
    """A PNG with a chunk right behind its header, or behind its pixels."""
    place = data.rindex(b"IEND") - 4 if behind else 33
    return data[:place] + added + data[place:]


BOMB = zlib.compress(bytes(64 << 20), 9)
TEXTS = {
    "plain": chunk(b"tEXt", b"workflow\0" + b"x" * LARGE),
    "packed": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * LARGE)),
    "bomb": chunk(b"zTXt", b"prompt\0\0" + BOMB),
    "international": chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"x" * LARGE)),
    "many": chunk(b"tEXt", b"workflow\0" + b"x" * 60_000) * 30,
    "profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(LARGE))),
    "EXIF": chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    "unknown way of packing": chunk(b"zTXt", b"Raw profile type exif\0\7abc"),
    "broken packing": chunk(b"zTXt", b"prompt\0\0abc"),
    "wrong checksum": chunk(b"tEXt", b"prompt\0abc", crc=1),
    "no keyword": chunk(b"tEXt", b""),
    "a keyword that Pillow minds": chunk(b"tEXt", b"transparency\0abc"),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("what", TEXTS)
def test_a_text_stops_no_image(rgb: Pixels, what: str, behind: bool) -> None:
    data = with_chunk(saved(Image.fromarray(rgb), "PNG"), TEXTS[what], behind)
    tracemalloc.start()
    np.testing.assert_array_equal(decode(data), rgb)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_texts_that_say_how_the_image_is_turned_stay(rgb: Pixels) -> None:
    data, turned = saved(Image.fromarray(rgb), "PNG"), np.rot90(rgb, -1)
    raw = exif(short(0x0112, 6))
    profile = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    for added in (
        chunk(b"eXIf", raw[6:]),
        chunk(b"eXIf", raw[6:], crc=7),
        chunk(b"tEXt", b"Raw profile type exif\0" + profile),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0 tiff:Orientation="6"'),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b' tiff:Orientation="6"')),
    ):
        for behind in (False, True):
            np.testing.assert_array_equal(decode(with_chunk(data, added, behind)), turned)


def test_of_many_such_texts_the_last_is_kept(rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb), "PNG")
    for orientation in (6, 3):
        said = b"XML:com.adobe.xmp\0\0\0\0\0" + f' tiff:Orientation="{orientation}"'.encode().ljust(900_000)
        data = with_chunk(data, chunk(b"iTXt", said), behind=True)
    for _ in range(5):
        data = with_chunk(data, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0".ljust(900_000)))
    np.testing.assert_array_equal(decode(data), rgb[::-1, ::-1])
    assert len(without_texts(data)) < 1_000_000


def test_a_file_without_texts_is_taken_as_it_is(rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb), "PNG", icc_profile=b"not a profile", dpi=(72, 72))
    assert without_texts(data) is data
    for cut in (data[:8], data[:40], data[:-4], data + b"more"):
        assert without_texts(cut) is cut
    info = PngInfo()
    info.add_text("Title", "a")
    assert bytes(without_texts(memoryview(saved(Image.fromarray(rgb), "PNG", pnginfo=info)))) == saved(
        Image.fromarray(rgb), "PNG"
    )


def test_what_is_cut_off_behind_a_text_is_still_told(rgb: Pixels) -> None:
    data = with_chunk(saved(Image.fromarray(rgb), "PNG"), TEXTS["plain"])
    assert refused(data[:-200]) == "truncated"


def test_pixels_of_an_image_in_memory_with_texts(rgb: Pixels) -> None:
    image = Image.fromarray(rgb)
    image.info["workflow"] = "x" * LARGE
    np.testing.assert_array_equal(to_pixels(image), rgb)
