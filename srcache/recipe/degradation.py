"""HR → LR: how a low-resolution image is made from a high-resolution one.

One function, used where a cache is filled, where a data set serves LR, and where `prepare lr` writes files, so that
the three can never disagree. Written `filter/factor` in recipes and on the command line: `bicubic/4`.
"""

from dataclasses import dataclass

from srcache.errors import RecipeError
from srcache.images import FILTERS, Pixels, resize


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """Shrink by an integer factor with one of Pillow's filters, antialiased, on 8-bit pixels."""

    factor: int
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise RecipeError(f"a degradation's filter must be one of {', '.join(FILTERS)}, but is {self.filter!r}")
        if self.factor < 2:
            raise RecipeError(f"a degradation's factor must be an integer of at least 2, but is {self.factor}")

    def __str__(self) -> str:
        return f"{self.filter}/{self.factor}"

    @classmethod
    def parse(cls, text: str) -> "Degradation":
        """Read `filter/factor`, such as `bicubic/4`.

        Raises:
            RecipeError: another form, an unknown filter, or a factor below 2.
        """
        name, slash, factor = text.partition("/")
        if not slash or not factor.isdecimal():
            raise RecipeError(f"a degradation is written filter/factor, such as bicubic/4, but got {text!r}")
        return cls(filter=name, factor=int(factor))

    def apply(self, rgb: Pixels) -> Pixels:
        """An HR image → its LR image; each side is divided by the factor, rounded half up, at least 1."""
        return resize(rgb, self.size(*rgb.shape[:2]), self.filter)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) of the LR image of an HR image of this size."""
        return self._shrunk(height), self._shrunk(width)

    def _shrunk(self, side: int) -> int:
        return max(1, (2 * side + self.factor) // (2 * self.factor))
