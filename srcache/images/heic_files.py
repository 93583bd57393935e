"""HEIC and HEIF by pi-heif, the extra `heic`: its primary image, turned and cropped as the file says by the library.

pi-heif is used by its functions. Nothing is registered with Pillow, which stays as the user's program has it.
"""

import io
from importlib.util import find_spec
from typing import Any

from PIL import Image, ImageFile

from srcache.errors import ImageError, MissingExtraError

_BRANDS = {
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
}
"""What stands behind `ftyp` in HEIC and HEIF files; `mif1` may also be an AVIF file's, whose other brands say so."""


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
    return _HeicImage(io.BytesIO(data))


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
