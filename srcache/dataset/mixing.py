"""The pixels of mixed variants: cells of a grid from one or the other, or a convex mixture; exact, in integers.

Both images are aligned: they show the same scene, and have one size by now (see `aligned`).
"""

from collections.abc import Callable

import numpy as np

from srcache.dataset.variants import LEVELS, Blend, Mixed, Patch
from srcache.errors import CatalogError
from srcache.images import Pixels, resize

_BLOCK = 32_768
"""Values that are blended at a time, so that what lies between fits into a processor's cache."""


def aligned(
    variant: Mixed, images: tuple[Pixels, Pixels], size: tuple[int, int] | None, name: Callable[[], str]
) -> tuple[Pixels, Pixels]:
    """The two images in one size: `size` if that is given, else LR enlarged to the size of the other.

    Both by Pillow's bicubic filter, as the `bicubic` arm and `size=` of a data set do it.

    Args:
        name: gives what to call the image in a message.

    Raises:
        CatalogError: no `size`, and HR and SR (or two samples) differ in size, or LR in its proportions.
    """
    if size is None:
        large = 1 if variant.of[0].kind == "lr" else 0
        (height, width), (other_height, other_width) = images[large].shape[:2], images[1 - large].shape[:2]
        is_enlarged = variant.of[1 - large].kind == "lr"
        # sides of LR may be rounded, so one of them may differ by less than a pixel from what the other says
        off = min(abs(other_height * width / height - other_width), abs(other_width * height / width - other_height))
        if off >= 1 or (not is_enlarged and (height, width) != (other_height, other_width)):
            raise _apart(variant, images, name())
        size = height, width
    first, second = (resize(pixels, size, "bicubic") for pixels in images)
    return first, second


def _apart(variant: Mixed, images: tuple[Pixels, Pixels], name: str) -> CatalogError:
    sizes = [f"{one.kind} has {image.shape[0]}×{image.shape[1]}" for one, image in zip(variant.of, images, strict=True)]
    return CatalogError(
        f"{variant.kind} mixes two images of one size, or LR enlarged to the other's, but of {name} "
        f"{' and '.join(sizes)} (height × width); give size= to bring both to one size"
    )


def mix(variant: Mixed, first: Pixels, second: Pixels, out: Pixels | None = None) -> Pixels:
    """Two images of one shape, uint8 (H, W, 3), mixed as a variant says.

    Cell i of n along a side of length S begins at pixel ⌊i · S / n⌋. A blend is rounded to the nearest level, halves
    up: ⌊((256 − 256 w) · first + 256 w · second + 128) / 256⌋.

    Returns:
        `out` if it has the shape (it may be one of the two); else an SR image of the two, which was decoded for this
        alone, if it may be written to; else a new array.
    """
    made = [image for one, image in zip(variant.of, (first, second), strict=True) if one.kind == "sr"]
    places = [image for image in (out, *made) if image is not None and _may_hold(image, first)]
    result = places[0] if places else np.empty(first.shape, np.uint8)
    if isinstance(variant, Patch):
        _patch(variant, first, second, result)
    elif isinstance(variant, Blend):
        _blend(variant, first, second, result)
    return result


def _may_hold(image: Pixels, like: Pixels) -> bool:
    return image.shape == like.shape and image.flags.writeable and image.flags.c_contiguous


def _patch(variant: Patch, first: Pixels, second: Pixels, result: Pixels) -> None:
    """Write the cells that `result` does not have yet."""
    source, mark = (first, 0) if result is second else (second, 1)
    if result is not first and result is not second:
        np.copyto(result, first)
    grid, (height, width) = variant.grid, first.shape[:2]
    for row in range(grid):
        cells = variant.cells[row * grid : (row + 1) * grid]
        rows = slice(row * height // grid, (row + 1) * height // grid)
        for begin, end in _runs(cells, mark):
            place = (rows, slice(begin * width // grid, end * width // grid))
            result[place] = source[place]


def _runs(cells: bytes, mark: int) -> list[tuple[int, int]]:
    """Where cells that lie side by side have the mark: (first, one after the last)."""
    runs: list[tuple[int, int]] = []
    wanted, place = bytes([mark]), 0
    while (begin := cells.find(wanted, place)) >= 0:
        other = cells.find(bytes([1 - mark]), begin)
        place = len(cells) if other < 0 else other
        runs.append((begin, place))
    return runs


def _blend(variant: Blend, first: Pixels, second: Pixels, result: Pixels) -> None:
    weight = round(LEVELS * variant.weight)
    rows = max(1, _BLOCK // (3 * max(1, first.shape[1])))
    for begin in range(0, len(first), rows):
        part = slice(begin, begin + rows)
        levels = np.multiply(first[part], LEVELS - weight, dtype=np.uint16)
        levels += np.multiply(second[part], weight, dtype=np.uint16)
        levels += LEVELS // 2
        np.right_shift(levels, 8, out=result[part], casting="unsafe")
