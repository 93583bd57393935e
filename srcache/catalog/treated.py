"""What was done to the images of a run beside what was asked for, in one line: nobody should have to guess it.

Files that were passed over are known by their suffix, equal images by their keys. What a file took to become RGB is
noted where it is decoded anyway (`Decoded.notes`), or where nothing is decoded, read from its header.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from srcache.catalog.listing import PassedOver
from srcache.catalog.rows import Catalog
from srcache.images import AS_EVER, NOTES, Colors, count_notes, header_notes
from srcache.wording import counted

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What was done to images; text and JSON name only what occurred.

    Attributes:
        passed_over: files that are no images by their suffix.
        classes: the names of classes; those without images, in whose folders files were passed over, are warned about.
        duplicates: images whose bytes another one has too.
        notes: how many took what to become RGB; see `srcache.images.NOTES`.
        background: what transparent parts were laid over.
    """

    passed_over: tuple[PassedOver, ...] = ()
    classes: Mapping[str, bool] = field(default_factory=dict)
    duplicates: int = 0
    notes: Mapping[str, int] = field(default_factory=dict)
    background: str = AS_EVER.background

    def plain(self) -> dict[str, Any]:
        """As JSON values: only what occurred."""
        found: dict[str, Any] = {"passed_over": _by_suffix(self.passed_over), "empty_classes": self._empty()}
        found |= {"duplicates": self.duplicates, **self.notes}
        return {name: value for name, value in found.items() if value}

    def __str__(self) -> str:
        """One line; empty if nothing occurred."""
        parts = []
        if passed := _by_suffix(self.passed_over):
            parts.append(f"{counted(sum(passed.values()), 'file')} passed over ({_suffixes(passed)})")
        if self.duplicates:
            parts.append(counted(self.duplicates, "duplicate"))
        words = {**NOTES, "alpha": f"laid over {self.background} for transparency"}
        words["even"] = "of these became one even colour"
        parts += [f"{number} {words[note]}" for note, number in self.notes.items()]
        return f"images: {'; '.join(parts)}" if parts else ""

    @property
    def warnings(self) -> list[str]:
        """A sentence for each class that has no image though it has files."""
        return [
            f"class {name} has no image: all files of its folder were passed over ({_suffixes(suffixes)}); convert "
            "them to a format that is read, such as PNG or JPEG"
            for name, suffixes in self._empty().items()
        ]

    def _empty(self) -> dict[str, dict[str, int]]:
        """The classes without images that have other files, with the suffixes of these."""
        return {
            name: passed
            for name, has_images in self.classes.items()
            if not has_images and (passed := _by_suffix(one for one in self.passed_over if one.folder == name))
        }


def treatment(catalogs: Catalog | Iterable[Catalog], notes: Mapping[str, int], colors: Colors = AS_EVER) -> Treatment:
    """What was done to the images of catalogs: by their listings, and as `notes` says that decoders counted.

    Args:
        catalogs: of one folder, or of several; duplicates are counted in each.
        notes: as `count_notes` counts them.
        colors: how colours became RGB.
    """
    found = [catalogs] if isinstance(catalogs, Catalog) else list(catalogs)
    classes: dict[str, bool] = {}
    for catalog in found:
        labels = {row.label for row in catalog.rows}
        for name in catalog.classes:
            classes[name] = classes.get(name, True) and name in labels
    return Treatment(
        passed_over=tuple(one for catalog in found for one in catalog.passed_over),
        classes=classes,
        duplicates=sum(len(catalog) - len({row.key for row in catalog.rows}) for catalog in found),
        notes={note: notes[note] for note in NOTES if notes.get(note)},
        background=colors.background,
    )


def by_headers(catalogs: Iterable[Catalog], colors: Colors = AS_EVER) -> Treatment:
    """What will be done to images when they are decoded, as far as their files' headers say; nothing is decoded.

    Transparency is what a file may have, whether or not any of its pixels is transparent.
    """
    found = list(catalogs)
    paths = [row.path for catalog in found for row in catalog.rows if row.path]
    with ThreadPoolExecutor(_THREADS) as pool:
        notes = count_notes(pool.map(lambda path: header_notes(path, colors), paths))
    return treatment(found, notes, colors)


def _by_suffix(passed_over: Iterable[PassedOver]) -> dict[str, int]:
    """Files by suffix, the most first; those without one under the empty text."""
    counts = Counter[str]()
    for one in passed_over:
        counts[one.suffix] += one.files
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _suffixes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{suffix or 'no suffix'} {count}" for suffix, count in counts.items())
