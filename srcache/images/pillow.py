"""Any image file by Pillow, settled as `decode` promises; also images that Pillow holds in memory."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from srcache.errors import ImageError, SrcacheError
from srcache.files.regular import open_regular
from srcache.images.apart import apart
from srcache.images.colors import AS_EVER, Colors, Reading, note_header, note_profile, to_rgb
from srcache.images.opening import open_image, pixels_ahead
from srcache.images.orientation import is_said_in_header, is_sideways, turn_of, upright
from srcache.images.pixels import Pixels, pixel_limit, require_pixels
from srcache.images.room import BY_PILLOW, NO_MEMORY, kept, room
from srcache.keys import ImageKey, pixel_key, recolored_key


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as srcache sees it, and as `PIL.Image.open(file).convert("RGB")` would.

    Attributes:
        rgb: the pixels, of the colours that were asked for.
        plain: as Pillow has them; the same array unless the file has an orientation, transparency or more than 8 bits.
        as_ever: the pixels in the default colours, which keys are made of; None if those are what was asked for.
        notes: what the file took; see `colors.NOTES`.
    """

    rgb: Pixels
    plain: Pixels
    as_ever: Pixels | None = None
    notes: frozenset[str] = frozenset()

    @property
    def keyed(self) -> Pixels:
        """The pixels that keys are made of."""
        return self.rgb if self.as_ever is None else self.as_ever

    def keys(self) -> tuple[ImageKey, ImageKey]:
        """The key of its pixels, and `alias`; the pixels are hashed once for both where the two are one."""
        own = pixel_key(self.keyed)
        return own, own if self.as_ever is None else recolored_key(own, pixel_key(self.rgb))

    def alias(self) -> ImageKey:
        """The key under which a store finds the file that exactly these pixels are of, in the colours asked for."""
        return self.keys()[1]


def decode_by_pillow(data: bytes | memoryview, reading: Reading | None = None) -> Decoded:
    """A file's bytes in whatever format Pillow reads.

    Raises:
        ImageError: as `decode`.
    """
    ahead = min(pixels_ahead(data), pixel_limit())
    with room(ahead, BY_PILLOW), opened(data) as image:
        _refuse(image)
        with room(0 if ahead else image.width * image.height, BY_PILLOW):
            return _decoded(image, Reading() if reading is None else reading)


def is_upright(data: bytes | memoryview, kind: str) -> bool:
    """Whether a file is of one format of Pillow's, opaque, and has no orientation. Only its header is read.

    Raises:
        ImageError: it cannot be opened.
    """
    with opened(data, counted=False) as image:
        return image.format == kind and _is_plain(image)


def header_notes(path: Path, colors: Colors = AS_EVER) -> frozenset[str]:
    """What a file will take to become RGB, as far as its header says; see `colors.NOTES`. Nothing if it is damaged.

    Only its header is read: of an image with an alpha channel it is not known whether anything is transparent.
    """
    reading = Reading(colors)
    try:
        with open_regular(path) as file, opened(file, counted=False) as image:
            note_header(image, reading.notes)
            if image.has_transparency_data:
                reading.notes.add("alpha")
            if is_said_in_header(image) and turn_of(image) is not None:
                reading.notes.add("rotated")
            note_profile(image.info.get("icc_profile"), image.mode, reading)
    except (OSError, ImageError):
        return frozenset()
    return frozenset(reading.notes)


def profile_of(data: bytes | memoryview) -> bytes | None:
    """The ICC profile in a file's header, if there is one.

    Raises:
        ImageError: it cannot be opened.
    """
    with opened(data, counted=False) as image:
        profile: bytes | None = image.info.get("icc_profile")
        return profile


def image_sides(data: bytes | memoryview) -> tuple[int, int]:
    """The (height, width) that a file's header says, before any orientation is applied; nothing is decoded.

    Raises:
        ImageError: as `decode`; what comes after the header is not looked at.
    """
    if not len(data):
        raise ImageError("empty", "the file has no bytes")
    with opened(data) as image:
        require_pixels(image.width, image.height)
        return image.height, image.width


def shown_sides(data: bytes | memoryview) -> tuple[int, int]:
    """The (height, width) of what `decode` makes of a file, by its header: turned if it has such an orientation.

    Raises:
        ImageError: as `image_sides`.
    """
    with opened(data, counted=False) as image:
        require_pixels(image.width, image.height)
        sides = image.height, image.width
        return sides[::-1] if is_sideways(image) else sides


def to_pixels(image: "Image.Image", colors: Colors = AS_EVER) -> Pixels:
    """A Pillow image in memory → RGB pixels, settled as `decode` settles a file; see `decode_pillow`."""
    return decode_pillow(image, colors).rgb


def decode_pillow(image: "Image.Image", colors: Colors = AS_EVER) -> Decoded:
    """A Pillow image in memory, settled as `decode` settles a file.

    Raises:
        ImageError: a mode that has no one way to RGB, or an image that was opened but not yet read, and is damaged.
    """
    with apart(), decoding():
        _refuse(image)
        return _decoded(image, Reading(colors))


@contextmanager
def opened(data: bytes | memoryview | IO[bytes], counted: bool = True) -> Iterator[Image.Image]:
    """A file's image, whose header was read; the limit of its pixels is not asked.

    Args:
        data: a file's bytes; or the file, open, of which only the beginning is read where a header stands there.
        counted: whether what Pillow warns of is told.

    Raises:
        ImageError: it cannot be opened, or what is done with it within fails.
    """
    with apart(counted), decoding(), open_image(data) as image:
        yield image


class _Decoding:
    """See `decoding`. A class, since it stands around every image that is served."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, SrcacheError):
            raise image_error(error) from error


_DECODING = _Decoding()


def decoding() -> AbstractContextManager[None]:
    """Around a decoder: whatever it raises is one image's failure, since decoders are other people's code.

    Raises:
        ImageError: with a reason and a sentence.
    """
    return _DECODING


def _decoded(image: Image.Image, reading: Reading) -> Decoded:
    """An image that was opened or made: loaded, turned upright, and converted to RGB."""
    note_header(image, reading.notes)
    stands, turned = upright(image)
    if turned:
        reading.notes.add("rotated")
    rgb = kept(np.asarray(to_rgb(stands, reading)))
    plain = rgb if _is_plain(image) and reading.colors == AS_EVER else kept(np.asarray(image.convert("RGB")))
    differs = reading.notes & {"profile_applied", "alpha"} and reading.colors != AS_EVER
    as_ever = kept(np.asarray(to_rgb(stands))) if differs else None
    return Decoded(rgb, plain, as_ever, frozenset(reading.notes))


def image_error(error: Exception) -> ImageError:
    """What a decoder raised, as the reason and the sentence of an ImageError."""
    text = str(error)
    if isinstance(error, MemoryError):
        return ImageError("out_of_memory", NO_MEMORY)
    if isinstance(error, UnidentifiedImageError):
        return ImageError("unreadable", "the bytes are not an image in a format that Pillow knows")
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return ImageError("truncated", f"the file ends too early ({text})")
    return ImageError("unreadable", f"the image is damaged ({text})")


def _refuse(image: Image.Image) -> None:
    require_pixels(image.width, image.height)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "HEIF"):
        raise ImageError("animated", f"expected one image, but the file has {frames} frames; extract them first")


def _is_plain(image: Image.Image) -> bool:
    return turn_of(image) is None and not image.mode.startswith("I") and not image.has_transparency_data
