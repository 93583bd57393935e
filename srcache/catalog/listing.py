"""Which images a folder or a CSV file names, in which order, and what is wrong with the rest.

Nothing is opened here but folders and CSV files. A folder with class folders in it is read as torchvision's ImageFolder
reads it: the first level is the class, whatever lies deeper belongs to it, and the order is the same. One image
directly in the root makes the tree flat: no labels. Whatever starts with a dot is hidden. Links are followed wherever
they lead, as ImageFolder follows them, since the user named the root; only one that leads back to a folder above it is
not, and reported. A CSV file may come from somebody else, so links out of its folder are not followed for it.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from srcache.catalog.classes import classes_of_folders, classes_of_labels
from srcache.catalog.names import SUFFIXES, is_heic_name
from srcache.catalog.tables import csv_rows
from srcache.errors import LIMITS, CatalogError, Mistakes, listed
from srcache.images import can_read_heic, heic_advice

PATH_COLUMNS = ("path", "file", "filename", "image", "name")
"""Names of the column that holds the paths; the first one that a CSV file has counts."""

CACHE_MARK = "srcache.json"
"""The file that makes a folder a cache; see `srcache.cache.manifest`."""

OWN_FILES = frozenset({"prepare.json", "samples.json", "records.jsonl"})
"""What srcache itself leaves beside images that it wrote; it is not told of as passed over."""

LOOP = "loop"
"""The reason of a link that leads back to a folder above it: nothing is lost with it."""

MOST_MISTAKES = 20
"""Mistakes of a CSV file that one error lists; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file, folder or item that could not be catalogued.

    Attributes:
        name: its name, as a row would have it.
        reason: one word, for counting.
        detail: a sentence.
    """

    name: str
    reason: str
    detail: str


class Listed(NamedTuple):
    """An image that was found, before its key is known: its name, label and file."""

    name: str
    label: str | None
    path: Path


class PassedOver(NamedTuple):
    """Files that were passed over, since by their suffix (in lower case) they are no images.

    `folder` is the first folder below the root that they lie in; empty for the root itself.
    """

    folder: str
    suffix: str
    files: int


@dataclass(slots=True)
class Listing:
    """What was found in a folder or a CSV file so far.

    Attributes:
        files: the images.
        problems: what was left out, and why.
        others: how many files are no images, by (folder, suffix); see `PassedOver`.
        classes: the names of the classes in the order of their numbers, whether or not they have images.
        unclassed: why there are no classes where some could be meant, in words that go on after the root's name.
    """

    files: list[Listed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)
    classes: tuple[str, ...] = ()
    unclassed: str = ""

    @property
    def ignored(self) -> int:
        """How many files are no images."""
        return self.others.total()

    @property
    def passed_over(self) -> tuple[PassedOver, ...]:
        """The files that are no images."""
        return tuple(PassedOver(*place, count) for place, count in sorted(self.others.items()))

    def pass_over(self, name: str) -> None:
        """Count a file that is no image, unless srcache itself wrote it."""
        if name.rpartition("/")[2] in OWN_FILES:
            return
        folder, found, _ = name.partition("/")
        shown = bad_name(os.path.splitext(name)[1].lower()).name
        self.others[bad_name(folder).name if found else "", shown] += 1


def list_folder(base: Path) -> Listing:
    """All images below a folder, in ImageFolder's order: by class, then by folder, then by name."""
    found, classes = Listing(), list[str]()
    folders: list[_Folder] = [_Folder("", ())]
    while folders:
        folder = folders.pop()
        try:
            above = folder.entered(base)
            if above is None:
                found.problems.append(Problem(folder.name, LOOP, "a link to a folder that it lies in is not followed"))
                continue
            with os.scandir(base / folder.name) as entries:
                inner = [name for entry in entries if (name := _visit(entry, folder.name, found))]
        except OSError as error:
            if error.errno in LIMITS:
                raise
            found.problems.append(unreadable(folder.name or ".", error))
            continue
        folders += [_Folder(name, above) for name in inner]
        classes = classes if folder.name else sorted(inner)
    paths = {file.name: file.path for file in found.files}
    found.files = [Listed(name, label, paths[name]) for name, label in labelled(paths)]
    caches = [name for name in classes if _is_cache(base / name)]
    found.classes = classes_of_folders((file.label for file in found.files), classes, caches)
    found.unclassed = why_unclassed(paths)
    return found


def labelled(names: Collection[str]) -> list[tuple[str, str | None]]:
    """Names below a root in ImageFolder's order, each with its class, or None where an image lies in the root."""
    flat = any("/" not in name for name in names)
    return [(name, None if flat else name.partition("/")[0]) for name in sorted(names, key=_order)]


def why_unclassed(names: Collection[str]) -> str:
    """Why names below a root have no classes though folders among them could be; empty if it is not so."""
    bare = [name for name in names if "/" not in name]
    beside = [name for name in names if "/" in name]
    if not bare or not beside:
        return ""
    folder = min(beside).partition("/")[0]
    return (
        f"{min(bare)} lies beside folders with images ({folder}), so no image has a label; if the folders are classes, "
        "put it into one of them"
    )


def list_csv(path: Path) -> Listing:
    """The files that a CSV lists, in its order.

    Raises:
        CatalogError: every mistake in it, with its line.
    """
    found, mistakes = Listing(), Mistakes()
    real, lines, labels = os.path.realpath(path.parent), dict[str, int](), set[str]()
    for line, name, label in _csv_rows(path, mistakes, found):
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
            mistakes.note(f"line {line}: expected a path below the CSV's folder, without .., but got {name!r}")
            continue
        name = "/".join(parts)
        if lines.setdefault(name, line) != line:
            mistakes.note(f"line {line}: {name} is already on line {lines[name]}")
            continue
        labels |= {label} - {""}
        file = path.parent / name
        if not os.path.isfile(file):
            found.problems.append(Problem(name, "missing", f"line {line} names a file that does not exist"))
        elif not _is_inside(os.path.realpath(file), real):
            found.problems.append(_outside(name))
        elif (problem := lacking_decoder(name)) is not None:
            found.problems.append(problem)
        else:
            found.files.append(Listed(name, label or None, file))
    mistakes.raise_as(CatalogError, f"{path} has mistakes", most=MOST_MISTAKES)
    found.classes, refusal = classes_of_labels(labels)
    found.unclassed = found.unclassed or refusal
    return found


def is_bad_name(name: str) -> bool:
    """Whether a name holds bytes that are not UTF-8 (Python keeps them as lone surrogates)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def bad_name(name: str) -> Problem:
    """The problem of a name that no cache can keep."""
    shown = name.encode("utf-8", "backslashreplace").decode()
    return Problem(shown, "bad_name", "the name is not UTF-8; rename it")


def lacking_decoder(name: str) -> Problem | None:
    """The problem of a file that could be read if an extra were installed; it is told by its name, and not opened."""
    return Problem(name, "unsupported", heic_advice()) if is_heic_name(name) and not can_read_heic() else None


def unreadable(name: str, error: OSError) -> Problem:
    """The problem of a file or a folder that cannot be read."""
    return Problem(name, "unreadable", f"it cannot be read ({error.strerror or error})")


def problem_summary(problems: Sequence[Problem]) -> str:
    """The first few problems by name, to end a message with."""
    words = sorted(f"{problem.name} is {problem.reason}" for problem in problems)
    why = f" ({problems[0].detail})" if len({problem.detail for problem in problems}) == 1 else ""
    return f"; {listed(words)}{why}" if words else ""


class _Folder(NamedTuple):
    """A folder to visit: its name below the root, and which folders lead to it, as the file system numbers them."""

    name: str
    above: tuple[tuple[int, int], ...]

    def entered(self, base: Path) -> tuple[tuple[int, int], ...] | None:
        """The folders that lead to those in it; None if it is one of those above it, to which a link led back."""
        status = os.stat(base / self.name)
        own = (status.st_dev, status.st_ino)
        return None if own in self.above else (*self.above, own)


def _visit(entry: "os.DirEntry[str]", folder: str, found: Listing) -> str | None:
    """Note one entry of a folder in `found`; if it is a folder that shall be visited too, return its name."""
    name = f"{folder}/{entry.name}" if folder else entry.name
    if entry.name.startswith("."):
        return None
    is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)
    if not is_folder and os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
        found.pass_over(name)
    elif is_bad_name(name):
        found.problems.append(bad_name(name))
    elif is_folder:
        return name
    elif (problem := lacking_decoder(name)) is not None:
        found.problems.append(problem)
    elif os.path.isfile(entry.path) or not os.path.exists(entry.path):  # a link to nothing is told when it is hashed
        found.files.append(Listed(name, None, Path(entry.path)))
    else:
        found.pass_over(name)
    return None


def _order(path: str) -> tuple[str, str, str]:
    folder, _, name = path.rpartition("/")
    return folder.partition("/")[0], folder, name


def _is_cache(folder: Path) -> bool:
    """Whether a folder beside the class folders is a cache, and no class."""
    return (folder / CACHE_MARK).exists()


def _csv_rows(path: Path, mistakes: Mistakes, found: Listing) -> Iterator[tuple[int, str, str]]:
    """(line, path, label) of each row of a CSV file; notes in `found` if it has no labels."""
    table = list(csv_rows(path))
    header = column_names(table[0][1]) if table else []
    column = next((header.index(name) for name in PATH_COLUMNS if name in header), None)
    if column is None:
        raise CatalogError(
            f"{path} must start with a line of column names, one of them {' or '.join(PATH_COLUMNS)}, but has: "
            f"{', '.join(header) or 'nothing'}"
        )
    label = header.index("label") if "label" in header else None
    if label is not None:
        for _, cells in table[1:]:
            cells[label : label + 1] = [cell.strip() for cell in cells[label : label + 1]]
    elif set(header) - {*PATH_COLUMNS, "key"}:
        found.unclassed = f"it has no column `label`, so its images have no labels; its columns are {', '.join(header)}"
    labelled = label is not None and any(len(cells) > label and cells[label] for _, cells in table[1:])
    for line, cells in table[1:]:
        if len(cells) != len(header):
            mistakes.note(f"line {line}: expected {len(header)} cells, but got {len(cells)}")
        elif labelled and label is not None and not cells[label]:
            mistakes.note(f"line {line}: {cells[column]} has no label, but others have")
        else:
            yield line, cells[column], cells[label] if label is not None else ""


def column_names(cells: Sequence[str]) -> list[str]:
    """The names of a CSV file's columns, by its first line: in lower case, as people may have written them."""
    return [cell.strip().lower() for cell in cells]


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _outside(name: str) -> Problem:
    return Problem(name, "outside_root", "a link that leads out of the folder is not followed; copy it in instead")
