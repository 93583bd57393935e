"""Copies of the images of studies, small enough for one page; see `srcache.images.copies`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srcache.errors import ImageError
from srcache.files.regular import read_regular
from srcache.images import Colors, Pixels, decode
from srcache.images.copies import BUDGET as BUDGET
from srcache.images.copies import REDUCTIONS as REDUCTIONS
from srcache.images.copies import Copy, Reduction, copies_within
from srcache.images.copies import spread as spread

MOST = 500
"""Images of a study that a page shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCopies:
    """The copies by file, the reduction they were made with, and what could not be read, with the reason."""

    by_file: Mapping[Path, Copy]
    reduction: Reduction
    unreadable: Mapping[Path, str]

    @property
    def bytes(self) -> int:
        """The size of all copies."""
        return sum(len(copy.data) for copy in self.by_file.values())


def copy_images(files: Mapping[Path, Colors], budget: int = BUDGET) -> ImageCopies:
    """Copy images, as well as `budget` bytes allow; the last reduction is taken even if it exceeds them.

    Args:
        files: each with the way that its colours become RGB.
        budget: of all copies together.
    """
    copies = copies_within(list(files), lambda path: _read(path, files[path]), budget)
    return ImageCopies(by_file=copies.made, reduction=copies.reduction, unreadable=copies.unreadable)


def _read(path: Path, colors: Colors) -> Pixels | str:
    """An image, or the reason why there is none."""
    try:
        return decode(read_regular(path), colors)
    except ImageError as error:
        return error.reason
    except OSError as error:
        return error.strerror or "unreadable"
