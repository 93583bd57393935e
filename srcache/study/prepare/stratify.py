"""Which of train, validation and test an image belongs to: by class, by seed and by name, never by order."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from hashlib import blake2b

from srcache.errors import ConfigError
from srcache.keys import ImageKey

SPLITS = ("train", "validation", "test")
"""The parts of a data set, in the order of their shares."""

RATIO_TOLERANCE = 1e-3
"""How far from 1 the sum of ratios may be (0.333 three times is meant as thirds)."""


def exact_shares(ratios: Sequence[float]) -> tuple[Fraction, ...]:
    """Ratios as exact shares that sum to 1.

    Raises:
        ConfigError: they are not three numbers from 0 to 1 that sum to 1.
    """
    sane = len(ratios) == len(SPLITS) and all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios)
    if not sane or abs(sum(ratios) - 1) > RATIO_TOLERANCE:
        raise ConfigError(
            f"ratios must be three numbers from 0 to 1 that sum to 1, for {', '.join(SPLITS)}, such as 0.8,0.1,0.1, "
            f"but are {','.join(str(ratio) for ratio in ratios)}"
        )
    exact = [Fraction(str(ratio)) for ratio in ratios]
    return tuple(share / sum(exact) for share in exact)


def assign(images: Iterable[tuple[ImageKey, str]], shares: Sequence[Fraction], seed: int) -> dict[ImageKey, str]:
    """The split of every key: each class gets its shares, to the nearest image; a key is never divided.

    Keys that weigh most (in several classes, or many files) choose first, each the split with the most room left in
    its classes; equal ones in the order of a hash over the seed and the key.

    Args:
        images: key and class of every file.
        shares: of train, validation and test, summing to 1.
        seed: another seed is another split.
    """
    weights: dict[ImageKey, Counter[str]] = {}
    sizes: Counter[str] = Counter()
    for key, label in images:
        weights.setdefault(key, Counter())[label] += 1
        sizes[label] += 1
    room = {label: dict(zip(SPLITS, quotas(size, shares), strict=True)) for label, size in sizes.items()}
    where = {}
    for key in sorted(weights, key=lambda key: (-len(weights[key]), -weights[key].total(), _rank(seed, key))):
        mine = weights[key]
        where[key] = max(SPLITS, key=lambda name: sum(room[label][name] for label in mine))
        for label, count in mine.items():
            room[label][where[key]] -= count
    return where


def quotas(size: int, shares: Sequence[Fraction]) -> list[int]:
    """Integers that sum to `size`, each less than 1 from its share (by largest remainder)."""
    counts = [math.floor(share * size) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: counts[place] - shares[place] * size)
    for place in by_remainder[: size - sum(counts)]:
        counts[place] += 1
    return counts


def _rank(seed: int, key: ImageKey) -> str:
    """A pseudo-random text by which equal keys are put in order."""
    return blake2b(f"{seed}/{key}".encode(), digest_size=16).hexdigest()
