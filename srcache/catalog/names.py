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


def pairing_name(name: str) -> str:
    """What images of the same picture in two folders have in common: the name without suffix, in one Unicode form.

    A letter with an accent may be one character or two, and some systems and archives change one into the other.
    """
    return unicodedata.normalize("NFC", stem_of(name))


def stems_of(names: Sequence[str]) -> list[str]:
    """Names without their suffixes, by which images in different formats are paired.

    Raises:
        CatalogError: two of them are equal then.
    """
    stems = [stem_of(name) for name in names]
    counts = Counter(stems)
    twice = [name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1]
    if twice:
        raise CatalogError(
            f"these names are equal without their suffixes, so one would replace the other: {listed(twice)}"
        )
    return stems
