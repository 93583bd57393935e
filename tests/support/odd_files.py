"""JPEG and PNG files for comparisons with Pillow: of every common make, and changed at random."""

import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from image_files import saved
from PIL import Image

from srcache.errors import ImageError
from srcache.images import Pixels, decode
from srcache.images.pillow import decode_by_pillow

ORIENTATION = 0x0112
SIZES = ((1, 1), (1, 7), (7, 1), (8, 8), (9, 15), (17, 33), (31, 3))


def waves(height: int, width: int) -> Image.Image:
    """Three colours of different waves with a little noise, seeded."""
    rows, columns = np.mgrid[0:height, 0:width]
    colours = [127 + 120 * np.sin(rows / (3 + shift) + columns * (shift + 1) / 5) for shift in range(3)]
    noise = np.random.default_rng(height * width).normal(0, 4, (height, width, 3))
    return Image.fromarray((np.stack(colours, axis=-1) + noise).clip(0, 255).astype(np.uint8))


def exif(orientation: int) -> Image.Exif:
    """EXIF data with an orientation."""
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found


def outcome(data: bytes, by_pillow: bool = False) -> Pixels | str:
    """The pixels of a file, or the reason and the words of its refusal."""
    try:
        return decode_by_pillow(data).rgb if by_pillow else decode(data)
    except ImageError as error:
        return f"{error.reason}: {error}"


def agree(data: bytes) -> bool:
    """Whether `decode` comes out as Pillow alone does: the same pixels, or the same words."""
    expected, found = outcome(data, by_pillow=True), outcome(data)
    if isinstance(expected, str) or isinstance(found, str):
        return isinstance(expected, str) and isinstance(found, str) and expected == found
    return np.array_equal(expected, found)


def jpegs() -> list[bytes]:
    """JPEGs of every common make, for changes."""
    makes = (
        *({"quality": 75}, {"quality": 95, "subsampling": 0}, {"quality": 60, "progressive": True}),
        *({"restart_marker_blocks": 1}, {"exif": exif(1)}, {"keep_rgb": True}, {"comment": b"a comment"}),
    )
    plain = [saved(waves(*size), "JPEG", **make) for size in ((8, 8), (17, 23)) for make in makes]
    others = [saved(waves(17, 23).convert(mode), "JPEG") for mode in ("L", "CMYK")]
    return [*plain, *others, saved(waves(16, 16), "MPO", save_all=True, append_images=[waves(9, 9)])]


def changed(data: bytes, rng: random.Random, head: int) -> bytes:
    """A file with a few bytes overwritten, taken out or put in, half the time within its first `head`; or cut."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(min(head, len(found)) if rng.random() < 0.5 else len(found))
        way = rng.random()
        if way < 0.7:
            found[place] = rng.choice((rng.randrange(256), found[place] ^ (1 << rng.randrange(8)), 0, 255))
        elif way < 0.85:
            del found[place : place + rng.choice((1, 4))]
        else:
            found[place:place] = rng.randbytes(2)
    if rng.random() < 0.2:
        del found[rng.randrange(1, len(found) + 1) :]
    return bytes(found) + (b"more" if rng.random() < 0.1 else b"") or b"\xff\xd8\xff"


def changed_png(data: bytes, rng: random.Random) -> bytes:
    """A PNG with other lines, chunks or chunk contents, whose checksums are right."""
    chunks = list(chunks_of(data))
    way = rng.random()
    if way < 0.4:
        place = rng.randrange(len(chunks))
        name, body = chunks[place]
        chunks[place] = name, changed(body, rng, 8) if body else rng.randbytes(2)
    elif way < 0.75:
        lines = bytearray(zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")))
        if rng.random() < 0.5:
            lines[rng.choice((0, rng.randrange(len(lines))))] = rng.randrange(256)
        else:
            lines = lines[: rng.randrange(len(lines))] if rng.random() < 0.5 else lines + rng.randbytes(9)
        stream = zlib.compress(bytes(lines), rng.choice((0, 1, 9)))
        stream = stream[: -rng.randrange(1, 8)] if rng.random() < 0.2 else stream
        chunks = [chunks[0], (b"IDAT", stream[:30]), (b"IDAT", stream[30:]), (b"IEND", b"")]
    else:
        for _ in range(rng.choice((1, 2))):
            chunks.insert(rng.randrange(len(chunks) + 1), rng.choice(EXTRA_CHUNKS))
        if rng.random() < 0.3:
            del chunks[rng.randrange(len(chunks))]
    return joined(chunks)


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG: name and contents."""
    place = 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks."""
    sealed = (struct.pack(">I", len(body)) + name + body for name, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in sealed)


EXTRA_CHUNKS = (
    *(
        (b"sRGB", b"\0"),
        (b"gAMA", struct.pack(">I", 45455)),
        (b"gAMA", bytes(4)),
        (b"pHYs", struct.pack(">IIB", 1, 2, 1)),
    ),
    *((b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)), (b"bKGD", bytes(6))),
    *(
        (b"tIME", b"\7\xe0\1\1\1\1\1"),
        (b"sBIT", b"\5\6\5"),
        (b"tEXt", b"a\0b"),
        (b"zTXt", b"a\0\0" + zlib.compress(b"q")),
    ),
    *((b"tRNS", b"\0\1\0\2\0\3"), (b"acTL", struct.pack(">II", 1, 0)), (b"acTL", struct.pack(">II", 2, 0))),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    *((b"tEXt", b"Software\0a"), (b"tEXt", b"date:create\0\xff"), (b"tEXt", b"Comment\0\0"), (b"tEXt", b"Comment")),
    *((b"prVt", b"abc"), (b"CRIT", b"abc"), (b"PLTE", b"abcdef"), (b"IDAT", b""), (b"IEND", b""), (b"sRGB", b"\0\0")),
)
"""Chunks that a PNG may have, or should not."""
