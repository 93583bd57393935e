"""Mod-crop: which part of the references the images show, told by their sizes.

Super-resolution papers cut HR at the right and below until the factor divides its sides, shrink that, and measure
against that. `srcache prepare lr` does so too; so SR of a 250-pixel image at x4 has 248, and lies pixel for pixel on
the top-left 248 of its reference. Where the factor is not said, it is the one with which the most pairs fit. Sizes that
show a rounded side (63 for 250 at x4) speak against a factor: such images show the whole reference, squeezed.
"""

from collections import Counter
from collections.abc import Iterable

Size = tuple[int, int]
"""Height and width, in pixels."""

FACTORS = range(2, 9)
"""Factors, and scales, that are looked for; with larger ones small images fit by chance."""


def part_of(side: int, factor: int) -> int:
    """What mod-crop leaves of a side; see `srcache.images.divisible_part`."""
    return side - side % factor if side >= factor else side


def is_exact(image: Size, reference: Size) -> bool:
    """Whether an image's sides are those of its reference, or an integer part or multiple of them, alike."""
    (height, width), (tall, wide) = image, reference
    return height * wide == width * tall and (not tall % height or not height % tall)


def fitting_factor(sizes: Iterable[tuple[Size, Size]], *, any_scale: bool) -> int:
    """The factor of mod-crop with which the most pairs fit, the smallest of several; 1 if four of five do not.

    Args:
        sizes: of each image and its reference.
        any_scale: whether images may be any multiple of their LR images, the same for all, since one of a pair is
            resized; else they are LR images, or as large as what is left of the references.
    """
    pairs = list(sizes)
    counts = {1: sum(is_exact(*pair) for pair in pairs)}
    for factor in FACTORS:
        if not any(_is_rounded(*pair, factor) for pair in pairs):
            scales = Counter(_scale(*pair, factor) for pair in pairs)
            allowed = [scale for scale in scales if scale in ((1, *FACTORS) if any_scale else (1, factor))]
            counts[factor] = max((scales[scale] for scale in allowed), default=0)
    best = max(counts, key=lambda factor: (counts[factor], -factor))
    return best if 5 * counts[best] >= 4 * len(pairs) else 1


def _scale(image: Size, reference: Size, factor: int) -> int:
    """How many times larger an image is than the LR image of its reference; 0 if it is no multiple of it."""
    if min(reference) < factor:
        return 0
    small = [part_of(side, factor) // factor for side in reference]
    times = {side // least if side % least == 0 else 0 for side, least in zip(image, small, strict=True)}
    return times.pop() if len(times) == 1 else 0


def _is_rounded(image: Size, reference: Size, factor: int) -> bool:
    """Whether a side is what rounding up makes of it, as large as LR or enlarged by the factor.

    A side shorter than the factor is rounded up in any case, and tells nothing.
    """
    for side, whole in zip(image, reference, strict=True):
        left = whole % factor
        up = whole // factor + 1
        if left and whole > factor and side in (up, up * factor):
            return True
    return False
