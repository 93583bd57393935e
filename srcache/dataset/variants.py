"""What is served of an image: a variant alone, or two aligned ones mixed, with what was drawn for that.

    patch(lr,sr)    each cell of a grid from one of two variants ("cross-quality patch mixing": SR4IR, CVPR 2024; from
                    CutBlur, CVPR 2020). `grid` (4) cells along each side, `share` (0.5) of them from the second: each
                    cell is drawn by itself.
    blend(lr,sr)    (1 − w) · first + w · second for the whole image; w is drawn from `least` (0) to `most` (1),
                    uniformly, and rounded to a multiple of 1/256.

What is drawn is a pure function of (policy seed, epoch, key), like the choice of the variant and independent of it.
"""

import math
import struct
from dataclasses import dataclass, fields
from hashlib import blake2b, shake_128
from typing import Any

from srcache.errors import PolicyError

MIXED = ("patch", "blend")
"""The kinds of variants that are made of two."""

_MOST_CELLS = 32
LEVELS = 256
"""A blend's weight is a multiple of one part in so many."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What to serve for one image: `hr`, `lr`, or `sr` with a sample's index (None for hr and lr)."""

    kind: str
    sample: int | None = None

    @property
    def samples(self) -> tuple[int, ...]:
        """The samples of SR that it takes."""
        return (self.sample or 0,) if self.kind == "sr" else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed(Variant):
    """Two variants of one image, mixed.

    Attributes:
        of: the first and the second.
    """

    of: tuple[Variant, Variant]

    @property
    def samples(self) -> tuple[int, ...]:
        """The samples of SR that it takes."""
        return self.of[0].samples + self.of[1].samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch(Mixed):
    """Each cell of a grid from one of two variants.

    Attributes:
        cells: of each cell, row by row, 0 for the first variant and 1 for the second; the grid is square.
    """

    cells: bytes

    @property
    def grid(self) -> int:
        """Cells along each side."""
        return math.isqrt(len(self.cells))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend(Mixed):
    """A convex mixture of two variants.

    Attributes:
        weight: the second variant's, a multiple of 1/256 from 0 to 1; the first has the rest.
    """

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Patching:
    """How `patch` draws: `grid` cells along each side, each with the probability `share` from the second variant.

    Raises:
        PolicyError: these make no sense.
    """

    grid: int = 4
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 2 <= self.grid <= _MOST_CELLS:
            raise PolicyError(f"patch needs a grid from 2 to {_MOST_CELLS} cells along each side, but got {self.grid}")
        if not 0 < self.share < 1:
            raise PolicyError(
                f"patch needs a share above 0 and below 1, but got {self.share:g}; name the one variant alone instead"
            )

    @property
    def is_fixed(self) -> bool:
        """Whether nothing is drawn."""
        return False

    def draw(self, name: str, of: tuple[Variant, Variant]) -> Patch:
        """What is served of the image and the epoch that `name` says."""
        number = self.grid * self.grid
        drawn = struct.unpack(f">{number}I", shake_128(f"{name}/patch".encode()).digest(4 * number))
        below = self.share * 2**32
        return Patch("patch", of=of, cells=bytes(one < below for one in drawn))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blending:
    """How `blend` draws: the weight of the second variant, uniformly from `least` to `most`.

    Raises:
        PolicyError: these make no sense.
    """

    least: float = 0.0
    most: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise PolicyError(
                f"blend needs 0 ≤ least ≤ most ≤ 1, the bounds of the second variant's weight, but got "
                f"least={self.least:g}, most={self.most:g}"
            )
        if self.most == 0 or self.least == 1:
            raise PolicyError(
                f"blend with least={self.least:g}, most={self.most:g} mixes nothing; name the one variant alone instead"
            )

    @property
    def is_fixed(self) -> bool:
        """Whether nothing is drawn."""
        return self.least == self.most

    def draw(self, name: str, of: tuple[Variant, Variant]) -> Blend:
        """What is served of the image and the epoch that `name` says."""
        place, _ = uniform_pair(f"{name}/blend")
        return Blend("blend", of=of, weight=round(LEVELS * (self.least + place * (self.most - self.least))) / LEVELS)


Mixing = Patching | Blending
_MIXINGS: dict[str, type[Patching] | type[Blending]] = {"patch": Patching, "blend": Blending}


def parse_mixing(kind: str, parameters: list[str]) -> Mixing:
    """How a kind draws, from parameters such as `grid=8`.

    Raises:
        PolicyError: the kind has no such parameters, or they make no sense.
    """
    known: dict[str, type[Any]] = {field.name: type(field.default) for field in fields(_MIXINGS[kind])}
    values: dict[str, Any] = {}
    for text in parameters:
        name, _, value = text.partition("=")
        if name not in known or name in values:
            raise PolicyError(
                f"{kind} takes two variants and then {' and '.join(known)}, each once, such as "
                f"{kind}(lr,sr,{next(iter(known))}={_example(kind)}), but got {text!r}; its weight stands behind the "
                "parentheses"
            )
        try:
            values[name] = known[name](value)
        except ValueError as error:
            what = "a whole number" if known[name] is int else "a number"
            raise PolicyError(f"{kind} needs {what} for {name}, but got {text!r}") from error
    return _MIXINGS[kind](**values)


def mixing_text(mixing: Mixing) -> str:
    """The parameters that are not the defaults, as `parse_mixing` reads them, each after a comma."""
    own = [field.name for field in fields(mixing) if getattr(mixing, field.name) != field.default]
    return "".join(f",{name}={number(getattr(mixing, name))}" for name in own)


def number(value: float) -> str:
    """The shortest text that reads as this number; an integer without a point."""
    return repr(value).removesuffix(".0")


def uniform_pair(name: str) -> tuple[float, float]:
    """Two independent numbers in [0, 1), a pure function of a text on every version of Python."""
    digest = blake2b(name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:6], "big") / 2**48, int.from_bytes(digest[6:12], "big") / 2**48


def _example(kind: str) -> str:
    return {"patch": "8", "blend": "0.25"}[kind]
