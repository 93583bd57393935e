"""Opens an image file by its content, in one of the formats of `formats` and no other.

`Image.open` asks the limit of the whole process (`Image.MAX_IMAGE_PIXELS`), and all formats that Pillow knows or that
were registered with it; so its one loop stands here, and asks neither. Formats are tried in the same order.
"""

import io
import re
import struct
from collections.abc import Iterator
from typing import IO

from PIL import Image, UnidentifiedImageError

from srcache.errors import ImageError, listed
from srcache.images.apart import lead_here
from srcache.images.formats import FORMATS
from srcache.images.heic_files import is_heic, open_heic
from srcache.images.png_texts import SIGNATURE, without_texts

_HEADS = re.compile(re.escape(SIGNATURE) + rb"\0\0\0\rIHDR(.{8})", re.DOTALL)

_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
"""What Pillow's formats raise over a file that is of another."""


def open_image(data: bytes | memoryview | IO[bytes]) -> Image.Image:
    """Read a file's header, `apart`; the image is to be closed.

    Raises:
        ImageError: no format of an image's, or one that is not read here (`unsupported`).
        Exception: whatever a decoder raises over a header that it does not like.
    """
    file = io.BytesIO(data) if isinstance(data, bytes | memoryview) else data
    start = file.read(64)
    file.seek(0)
    if is_heic(start):
        return open_heic(file.read())
    if start.startswith(SIGNATURE):
        file = io.BytesIO(without_texts(file.read()))
    return _opened(file, start[:16])


def _opened(file: IO[bytes], start: bytes) -> Image.Image:
    """What the first format makes of a file that takes it for its own."""
    refusals, begun = list[str](), list[str]()
    for kind in _kinds():
        factory, accept = Image.OPEN[kind]
        try:
            accepted = accept(start[:16]) if accept else True
            if isinstance(accepted, str):
                refusals.append(accepted)
            elif accepted:
                file.seek(0)
                return factory(file, "")
        except _NOT_THIS_FORMAT as error:
            begun += [f"the file begins like {kind}, but its header cannot be read ({error})"] if accept else []
    if begun:
        raise ImageError("unreadable", begun[0])
    if refusals:
        raise ImageError("unsupported", refusals[0])
    if (other := _other_kind(start[:16])) is not None:
        opens = listed(list(FORMATS), most=len(FORMATS))
        raise ImageError(
            "unsupported", f"the bytes are a file of the format {other}, whatever its name says; srcache opens {opens}"
        )
    raise UnidentifiedImageError


def pixels_ahead(data: bytes | memoryview) -> int:
    """How many pixels Pillow decodes, or makes room for, when it opens a file; 0 where it only reads the header."""
    start = bytes(data[:30])
    if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X":
        return (1 + int.from_bytes(start[24:27], "little")) * (1 + int.from_bytes(start[27:30], "little"))
    if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8L":
        sides = int.from_bytes(start[21:25], "little")
        return (1 + (sides & 0x3FFF)) * (1 + (sides >> 14 & 0x3FFF))
    if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8 ":
        return (int.from_bytes(start[26:28], "little") & 0x3FFF) * (int.from_bytes(start[28:30], "little") & 0x3FFF)
    if start[:4] == b"\0\0\1\0":  # an icon, which may have PNGs in it
        sizes = (struct.unpack(">II", found[1]) for found in _HEADS.finditer(data))
        return max((width * height for width, height in sizes), default=0)
    return 0


def _kinds() -> Iterator[str]:
    """The formats in Pillow's order; rare ones are imported only if the usual ones did not fit."""
    tried = set[str]()
    for prepare in (Image.preinit, Image.init):
        prepare()
        lead_here()
        for kind in list(Image.ID):
            if kind in FORMATS and kind not in tried:
                tried.add(kind)
                yield kind


def _other_kind(start: bytes) -> str | None:
    """The format of Pillow's that a file is of, if it is one that is not read here."""
    for kind, (_, accept) in list(Image.OPEN.items()):
        try:
            if kind not in FORMATS and accept and accept(start) is True:
                return kind
        except _NOT_THIS_FORMAT:
            continue
    return None
