"""Names of images: the same bytes have the same name on every machine.

A file's key is what `b2sum -l 128 FILE` prints, so that it can be checked with another program. A path,
an mtime or Python's `hash` never enters a name: files move, clocks lie, and `hash` differs between processes.
"""

from hashlib import blake2b
from pathlib import Path
from typing import NewType

import numpy as np
from numpy.typing import NDArray

ImageKey = NewType("ImageKey", str)
"""32 lower-case hexadecimal digits."""

_CHUNK = 1 << 20


def image_key(data: bytes) -> ImageKey:
    """The key of a file's bytes: BLAKE2b with 128 bits."""
    return ImageKey(blake2b(data, digest_size=16).hexdigest())


def file_key(path: Path) -> ImageKey:
    """The key of a file on disk, read in pieces so that a huge file needs no memory.

    Raises:
        OSError: the file cannot be read.
    """
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return ImageKey(digest.hexdigest())


def pixel_key(rgb: NDArray[np.uint8]) -> ImageKey:
    """The key of an RGB image in memory, uint8 of shape (height, width, 3).

    A domain tag, the mode and the size are hashed with the pixels, so that no file and no image of another
    shape can have the same key.
    """
    height, width, _ = rgb.shape
    digest = blake2b(f"srcache.pixels RGB {width}x{height}\n".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rgb).data)
    return ImageKey(digest.hexdigest())


def dropped_key(key: ImageKey) -> ImageKey:
    """The key, as an alias, of what Pillow's `convert("RGB")` makes of a file, where srcache sees other pixels: of a
    transparent, turned or 16-bit image, or of one whose colours a recipe makes in its own way.

    It is made of their `pixel_key` under a tag of its own. So a file whose pixels are the same once its transparency is
    dropped never takes the place of the file that has these pixels.
    """
    return ImageKey(blake2b(f"srcache.dropped {key}".encode(), digest_size=16).hexdigest())


def recolored_key(as_ever: ImageKey, shown: ImageKey) -> ImageKey:
    """The key, as an alias, of pixels that are `shown` in a recipe's colours, and others in the default ones: of a
    transparent image over black, or of one with an ICC profile. Without such, both are one, and so is the key.
    """
    if as_ever == shown:
        return shown
    return ImageKey(blake2b(f"srcache.recolored {as_ever} {shown}".encode(), digest_size=16).hexdigest())


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return len(text) == 32 and not text.strip("0123456789abcdef")


def entry_name(key: ImageKey, sample: int) -> str:
    """The name of one SR image in a recipe's store: `{key}-{sample:03d}`."""
    return f"{key}-{sample:03d}"


def split_name(name: str) -> tuple[ImageKey, int]:
    """The key and the sample index of an entry's name.

    Raises:
        ValueError: the text is not an entry's name.
    """
    key, _, sample = name.rpartition("-")
    if not is_key(key) or not sample.isdecimal() or name != entry_name(ImageKey(key), int(sample)):
        raise ValueError(f"expected an entry's name such as {'0' * 32}-000, but got {name!r}")
    return ImageKey(key), int(sample)


def noise_seed(recipe_seed: int, key: ImageKey, sample: int) -> int:
    """The seed of one SR image's noise: 64 bits of BLAKE2b over the recipe's seed, the key and the sample.

    It depends on nothing else, so that an image comes out the same in any batch, order, process or restart.
    """
    digest = blake2b(f"{recipe_seed}/{key}/{sample}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
