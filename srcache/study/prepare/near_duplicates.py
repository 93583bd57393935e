"""Near-duplicates of two sets: test images that are all but equal to a training image, so that memory is tested.

Equal files have equal keys and are refused elsewhere. Here an image is looked at as a difference hash (Krawetz, 2013):
64 bits that say, in an 8×9 grey thumbnail, whether each pixel is brighter than its left neighbour. It survives new
compression, other sizes and other brightness. All pairs are compared, so that none within `DISTANCE` bits is missed; as
images with little in them have alike hashes, thumbnails must be alike too. Mirrored, turned and cropped copies are not
found.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srcache.catalog.rows import Catalog, Row
from srcache.errors import ImageError
from srcache.images import Pixels, decode, read_file, resize
from srcache.progress import Progress

DISTANCE = 6
"""Bits of 64 in which the hashes of near-duplicates may differ."""

LEVELS, BRIGHTNESS = 8, 32
"""How far their thumbnails may be apart: on average over the pixels, once their mean is equal; and in that mean."""

_SIDE = 16
_PAIRS = 4_000_000
"""Pairs of hashes compared at a time: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A test image and the training image nearest to it, by name; `distance` in bits of their hashes."""

    test: str
    train: str
    distance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What images look like: `names`, `hashes` of shape (n,), `thumbnails` in 0–255 of shape (n, 256)."""

    names: tuple[str, ...]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.float32]


def find_near_duplicates(train: Catalog, test: Catalog, progress: Progress | None = None) -> tuple[NearDuplicate, ...]:
    """Every test image that has a near-duplicate in training, with the nearest; images that cannot be read have none.

    Args:
        train, test: the sets, as files.
        progress: called with (images done, all images).
    """
    total = len(train) + len(test)
    learnt = look_at(train.rows, lambda done, _: progress(done, total) if progress else None)
    asked = look_at(test.rows, lambda done, _: progress(len(train) + done, total) if progress else None)
    return compare_looks(learnt, asked)


def look_at(rows: Sequence[Row], progress: Progress | None = None) -> Looks:
    """Hashes and thumbnails of images that can be read, in their order."""
    found: list[tuple[str, int, NDArray[np.float32]]] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="srcache-near") as pool:
        for done, (row, look) in enumerate(zip(rows, pool.map(_look, rows), strict=True), 1):
            if look is not None:
                found.append((row.name, *look))
            if progress is not None:
                progress(done, len(rows))
    thumbnails = np.array([one for *_, one in found], np.float32).reshape(len(found), _SIDE**2)
    hashes = np.array([bits for _, bits, _ in found], np.uint64)
    return Looks(names=tuple(name for name, *_ in found), hashes=hashes, thumbnails=thumbnails)


def compare_looks(train: Looks, test: Looks) -> tuple[NearDuplicate, ...]:
    """The near-duplicates of `find_near_duplicates`, from what images look like."""
    found: dict[int, tuple[int, int]] = {}
    step = max(1, _PAIRS // max(1, len(train.names)))
    for start in range(0, len(test.names), step):
        apart = _bits(test.hashes[start : start + step, None] ^ train.hashes[None])
        for row, column in np.argwhere(apart <= DISTANCE).tolist():
            distance = int(apart[row, column])
            if _alike(test.thumbnails[start + row], train.thumbnails[column]):
                found[start + row] = min(found.get(start + row, (64, 0)), (distance, column))
    return tuple(
        NearDuplicate(test=test.names[at], train=train.names[column], distance=distance)
        for at, (distance, column) in sorted(found.items())
    )


def difference_hash(rgb: Pixels) -> int:
    """64 bits: whether each pixel of the 8×9 grey thumbnail is brighter than its left neighbour, row by row."""
    grey = _grey(rgb, (8, 9))
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _look(row: Row) -> tuple[int, NDArray[np.float32]] | None:
    if row.path is None:
        return None
    try:
        rgb = decode(read_file(row.path))
    except ImageError:
        return None
    return difference_hash(rgb), _grey(rgb, (_SIDE, _SIDE)).ravel()


def _grey(rgb: Pixels, size: tuple[int, int]) -> NDArray[np.float32]:
    small: NDArray[np.float32] = resize(rgb, size, "bicubic").mean(axis=2, dtype=np.float32)
    return small


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    shift = float(one.mean() - other.mean())
    return abs(shift) <= BRIGHTNESS and float(np.abs(one - other - shift).mean()) <= LEVELS


def _bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits are set in each (numpy's own bitwise_count needs numpy 2)."""
    one, two, four = (np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
    values = values - ((values >> np.uint64(1)) & one)
    values = (values & two) + ((values >> np.uint64(2)) & two)
    values = (values + (values >> np.uint64(4))) & four
    return ((values * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)
