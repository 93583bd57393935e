"""Names of image files: the one rule for a name without its suffix, and which names pair."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from srcache.errors import CatalogError, listed
from srcache.images.formats import FORMATS
from srcache.images.formats import SUFFIXES as SUFFIXES


def stem_of(name: str) -> str:
    """An image's name without its suffix; a dot that starts no image suffix belongs to the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES and not stem.endswith("/") and stem else name


def is_heic_name(name: str) -> bool:
    """Whether a file is HEIC or HEIF by its suffix."""
    return name.lower().endswith(FORMATS["HEIF"])


def in_one_form(name: str) -> str:
    """A name in one Unicode form, for comparison: a letter with an accent may be one character or two, and some
    systems and archives change one into the other.
    """
    return unicodedata.normalize("NFC", name)


def stems_apart(names: Sequence[str]) -> list[str]:
    """Names without their suffixes; those that would be equal then keep theirs: `x`, but `y.jpg` beside `y.png`."""
    stems = [stem_of(name) for name in names]
    counts = Counter(map(in_one_form, stems))
    return [stem if counts[in_one_form(stem)] == 1 else name for name, stem in zip(names, stems, strict=True)]


def pairing_names(names: Sequence[str]) -> list[str]:
    """What images of the same picture in two folders have in common: `stems_apart` of all names in one Unicode form."""
    return [in_one_form(stem) for stem in stems_apart(names)]


def stems_of(names: Sequence[str]) -> list[str]:
    """Names without their suffixes, by which images in different formats are paired; see `stems_apart`.

    Raises:
        CatalogError: two of them are equal then.
    """
    stems = stems_apart(names)
    counts = Counter(stems)
    twice = [name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1]
    if twice:
        raise CatalogError(
            f"these names are equal without their suffixes, so one would replace the other: {listed(twice)}"
        )
    return stems
