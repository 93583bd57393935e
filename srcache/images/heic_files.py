"""HEIC and HEIF by pi-heif, the extra `heic`: its primary image, turned and cropped as the file says by the library.

pi-heif is used by its functions. Nothing is registered with Pillow, which stays as the user's program has it.
"""

import io
import re
from importlib.util import find_spec
from typing import Any

from PIL import Image, ImageFile

from srcache.errors import ImageError, MissingExtraError

_BRANDS = {
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
}
"""What stands behind `ftyp` in HEIC and HEIF files; `mif1` may also be an AVIF file's, whose other brands say so."""

_ITEM = re.compile(rb"infe[\2\3]")
_AUXILIARY = re.compile(rb"auxC.{4}([^\0]*)", re.DOTALL)


def is_heic(data: bytes | memoryview) -> bool:
    """Whether a file begins as HEIC and HEIF files do."""
    start = bytes(data[:64])
    length = int.from_bytes(start[:4], "big")
    brands = {start[place : place + 4] for place in range(16, min(length, len(start)), 4)}
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS and not (brands & {b"avif", b"avis"})


def can_read_heic() -> bool:
    """Whether pi-heif is installed."""
    return find_spec("pi_heif") is not None


def heic_advice() -> str:
    """How to install what reads HEIC files."""
    return str(MissingExtraError("pi-heif", "heic", "reading HEIC images"))


def open_heic(data: bytes | memoryview) -> Image.Image:
    """Read a file's header; its pixels are decoded when they are asked for.

    Raises:
        ImageError: pi-heif is not installed (`unsupported`).
    """
    if not can_read_heic():
        raise ImageError("unsupported", heic_advice())
    if not _has_plain_names(data):
        raise ImageError("unreadable", "the image is damaged (names in its description are no text)")
    return _HeicImage(io.BytesIO(data))


def _has_plain_names(data: bytes | memoryview) -> bool:
    """Whether the names of kinds in a file's description are text, without which pi-heif 1.4 ends the process."""
    head = _description(data)
    names = [found[1] for found in _AUXILIARY.finditer(head)]
    for found in _ITEM.finditer(head):
        size = int.from_bytes(head[max(0, found.start() - 4) : found.start()], "big")
        kind = found.end() + (7 if head[found.end() - 1] == 2 else 9)
        names += head[kind : kind + 4], *head[kind + 4 : found.start() - 4 + size].split(b"\0")
    try:
        b"\0".join(names).decode()
    except UnicodeDecodeError:
        return False
    return True


def _description(data: bytes | memoryview) -> bytes:
    """The box in which a file describes its items; empty if it has none."""
    place = 0
    while place + 16 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), bytes(data[place + 4 : place + 8])
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if kind == b"meta" or size < 8:
            return bytes(data[place : place + size]) if kind == b"meta" else b""
        place += size
    return b""


class _HeicImage(ImageFile.ImageFile):
    """An opened HEIC file as an image of Pillow's, whose pixels are decoded once, when they are asked for."""

    format = "HEIF"

    def _open(self) -> None:
        import pi_heif

        file = pi_heif.open_heif(self.fp, convert_hdr_to_8bit=True)
        self._primary: Any = file[file.primary_index]
        self._size, self._mode = self._primary.size, self._primary.mode
        profile = self._primary.info.get("icc_profile")
        self.info = {"icc_profile": profile} if profile else {}
        self.tile = []

    def load(self) -> Any:
        """Decode the pixels."""
        if self._im is None:
            data = self._primary.data
            self._size = self._primary.size
            self.im = Image.frombytes(self.mode, self.size, bytes(data), "raw", self.mode, self._primary.stride).im
        return Image.Image.load(self)
