"""How a file says that its image is turned: in EXIF, else in XMP; of both, nothing else is read.

The answer is that of `PIL.ImageOps.exif_transpose` for every file that it can turn. That function writes the rest of
the EXIF data anew, and raises where a tag is odd that has nothing to do with the orientation; and cameras, scanners and
editors write many odd tags. What cannot be read says nothing here.
"""

import re
from typing import Any

from PIL import Image

_TAG = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTERS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """How an image's pixels are to be turned so that it stands upright; None if they stay.

    Raises:
        Exception: the image had to be read for this, and is damaged; see `is_said_in_header`.
    """
    if not is_said_in_header(image):
        image.load()  # as `getexif` would; but what it raises is no matter of EXIF data
    try:
        value: Any = image.getexif().get(_TAG, 1)
        return _TURNS.get(value)
    except Exception:  # whatever Pillow makes of broken EXIF data; asked again, it would find nothing broken
        found = _XMP.search(_xmp(image.info))
        _leave(image, int(found[1]) if found else 1)
        return _TURNS.get(int(found[1])) if found else None


def is_said_in_header(image: Image.Image) -> bool:
    """Whether an image's header says all that is to be known of its orientation; of a PNG that may stand at its end."""
    return image.format != "PNG" or "exif" in image.info


def is_sideways(image: Image.Image) -> bool:
    """Whether an image's header says that height and width change places when it is turned upright."""
    sideways = (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE, *_QUARTERS)
    return is_said_in_header(image) and turn_of(image) in sideways


def upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """An image as it is to be seen, loaded, and whether it was turned; the same one if it was not."""
    turned = False
    if image.format == "TIFF":  # Pillow turns it while it loads, and would write the rest of its EXIF data anew
        turn = turn_of(image)
        turned = turn is not None
        _leave(image, next((value for value, way in _TURNS.items() if way == turn), 1))
    image.load()
    turn = turn_of(image)
    return (image, turned) if turn is None else (image.transpose(turn), True)


def _leave(image: Image.Image, orientation: int) -> None:
    """Leave an image nothing of its EXIF data but an orientation."""
    exif = Image.Exif()
    exif._loaded = True  # Pillow looks for no other EXIF data then
    exif[_TAG] = orientation
    image._exif = exif


def _xmp(info: dict[Any, Any]) -> bytes:
    """The XMP data of a file, as Pillow keeps it in one of two places; empty if there is none."""
    found = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    return found.encode("utf-8", "replace") if isinstance(found, str) else bytes(found)
