"""A scanned catalog: a CSV file with the keys of its images, so that whoever opens it hashes and looks up no file.

    key,name,label,class_number,path
    8f0c…,bark/1.png,bark,0,photos/bark/1.png

`srcache scan` writes it once, and every job of a cluster reads it. Keys, names, labels and the order of rows are those
of what was scanned, so that the catalog has the same digest. `path` is the file: relative to the CSV's folder if it
lies below that, else absolute. Class numbers are those that a training gives to the labels; they are written down
because class folders are numbered in another order than integers in a CSV file; a class without images has a line
without key, name and path. Nothing is compared with the files here: a build compares the key of each image it reads.

Any CSV file whose column `key` begins with a key is read so. Beside it only the name or the path of a file is needed.
"""

import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from srcache.catalog.classes import MOST_CLASSES, classes_of_labels
from srcache.catalog.listing import MOST_MISTAKES, PATH_COLUMNS, column_names
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.tables import csv_rows
from srcache.errors import CatalogError, Mistakes
from srcache.files import csv_text, write_atomic
from srcache.keys import ImageKey, is_key

COLUMNS = ("key", "name", "label", "class_number", "path")
"""The columns of a scanned catalog, as `write_scanned` writes them."""


def is_scanned(path: Path) -> bool:
    """Whether a path is that of a scanned catalog: a CSV file that names files, and the first of them has a key.

    Raises:
        CatalogError: it is a CSV file that cannot be read.
    """
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    first = [cells for _, cells in islice(csv_rows(path), 2)]
    columns = _columns(first[0]) if len(first) == 2 else None
    return columns is not None and len(first[1]) == columns.width and is_key(first[1][columns.key])


def require_writable(path: Path, force: bool = False) -> None:
    """Refuse a path at which no scanned catalog may be written; arguments and errors as of `write_scanned`."""
    if path.suffix.lower() != ".csv":
        raise CatalogError(f"a catalog's name ends in .csv, but got {path}; choose such a name")
    if path.is_dir():
        raise CatalogError(f"{path} is a folder; name a file in it, such as {path / 'catalog.csv'}")
    if path.exists() and not force and not _is_replaceable(path):
        raise CatalogError(f"{path} is there and is no scanned catalog; choose another name, or replace it by --force")


def write_scanned(catalog: Catalog, path: Path, *, force: bool = False) -> bool:
    """Write a catalog of files as a scanned catalog, in one step; returns whether that changed the file.

    Args:
        catalog: its rows have files.
        path: where to write; its name ends in `.csv`. A scanned catalog that is there is replaced.
        force: replace any other file too.

    Raises:
        CatalogError: the name is another one, or something else is there.
        DiskFullError: no room, or no permission.
    """
    require_writable(path, force)
    home = f"{os.path.abspath(path.parent)}{os.sep}".replace("//", "/")
    numbers = {label: str(number) for number, label in enumerate(catalog.classes)}
    lines: list[tuple[str | None, ...]] = [
        (row.key, row.name, row.label, numbers.get(row.label or ""), str(row.path).removeprefix(home))
        for row in catalog.rows
    ]
    bare = set(numbers) - {row.label for row in catalog.rows}
    lines += [("", "", label, number, "") for label, number in numbers.items() if label in bare]
    data = csv_text([COLUMNS, *lines]).encode()
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def read_scanned(path: Path) -> Catalog:
    """Read a scanned catalog; no file but this one is looked at.

    Raises:
        CatalogError: every mistake in it, with its line.
    """
    rows = csv_rows(path)
    _, header = next(rows)
    reader = _Reader(path.parent, _columns(header) or _NO_COLUMNS)
    found = [row for line, cells in rows if (row := reader.row(line, cells)) is not None]
    classes, unclassed = reader.classes()
    reader.mistakes.raise_as(CatalogError, f"{path} has mistakes", most=MOST_MISTAKES)
    unclassed = f"{path}: {unclassed}" if unclassed else ""
    return Catalog(rows=tuple(found), classes=classes, root=_root(found, path.parent), unclassed=unclassed)


class _Columns(NamedTuple):
    """The places of columns in a row, and how many there are; `label` and `number` may be missing."""

    width: int
    key: int
    name: int
    path: int
    label: int | None
    number: int | None


_NO_COLUMNS = _Columns(0, 0, 0, 0, None, None)


def _columns(header: list[str]) -> _Columns | None:
    """Where the columns are; None if there is none of keys, or none of files."""
    names = column_names(header)
    path = next((names.index(name) for name in PATH_COLUMNS if name in names), None)
    if "key" not in names or path is None:
        return None
    name, label, number = (names.index(one) if one in names else None for one in ("name", "label", "class_number"))
    return _Columns(len(names), names.index("key"), path if name is None else name, path, label, number)


@dataclass(slots=True)
class _Reader:
    """Takes in rows one after the other, and collects their mistakes, labels and class numbers.

    Attributes:
        lines: where each name was first.
        labels: each label, with its class number as the file has it, and the line where it was first.
        bare: the first line without a label.
    """

    home: Path
    columns: _Columns
    mistakes: Mistakes = field(default_factory=Mistakes)
    lines: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    bare: int | None = None

    def row(self, line: int, cells: list[str]) -> Row | None:
        """The row of a line; None if there is a mistake in it, or if it names a class without images."""
        if len(cells) != self.columns.width:
            self.mistakes.note(f"line {line}: expected {self.columns.width} cells, but got {len(cells)}")
            return None
        key, name, path = cells[self.columns.key], cells[self.columns.name], cells[self.columns.path]
        label = cells[self.columns.label] if self.columns.label is not None else ""
        if label and not (key or name or path):
            self._labelled(line, label, cells)
            return None
        wrong = self._wrong(key, name, path)
        if wrong is None and self.lines.setdefault(name, line) != line:
            wrong = f"{name} is already on line {self.lines[name]}"
        if wrong is not None:
            self.mistakes.note(f"line {line}: {wrong}")
            return None
        file = Path(path) if path[0] == "/" else Path(f"{self.home}/{path}")
        return Row(ImageKey(key), name, self._labelled(line, label, cells), file)

    def classes(self) -> tuple[tuple[str, ...], str]:
        """The labels in the order of their numbers, or as in any CSV file where they have none; and why there are none.

        A number that no label has, since lines were taken out, gets a name too, so that the others stay what they are.
        """
        if self.bare is not None and self.labels:
            self.mistakes.note(f"line {self.bare}: there is no label, but others have one")
        numbers = {label: number for label, number, _ in self.labels.values()}
        if not all(number.isdecimal() for number in numbers.values()):
            if any(numbers.values()):
                wrong = next(label for label, number in numbers.items() if not number.isdecimal())
                self.mistakes.note(f"line {self.labels[wrong][2]}: expected a class number, but got {numbers[wrong]!r}")
            return classes_of_labels(numbers)
        named = {int(number): label for label, number in numbers.items()}
        if len(named) < len(numbers):
            self.mistakes.note("several labels have the same class number")
        if (most := max(named, default=-1)) >= MOST_CLASSES:
            self.mistakes.note(f"expected class numbers below {MOST_CLASSES}, but got {most}")
            return (), ""
        gaps = {number: f"{number}" if f"{number}" not in numbers else f"class {number}" for number in range(most + 1)}
        return tuple((gaps | named).values()), ""

    def _wrong(self, key: str, name: str, path: str) -> str | None:
        if not is_key(key):
            return f"expected a key of 32 hexadecimal digits, but got {key!r}"
        if not _is_inner(name):
            return f"expected a name of folders and a file, without .., but got {name!r}"
        if path is not name and not _is_inner(path.removeprefix("/")):
            return f"expected a path below the CSV's folder or an absolute one, without .., but got {path!r}"
        return None

    def _labelled(self, line: int, label: str, cells: list[str]) -> str | None:
        """The label as it is kept, once for all of its rows."""
        if not label:
            self.bare = self.bare or line
            return None
        number = cells[self.columns.number] if self.columns.number is not None else ""
        kept, first, where = self.labels.setdefault(label, (label, number, line))
        if number != first:
            self.mistakes.note(f"line {line}: {label} has class number {number!r}, but {first!r} on line {where}")
        return kept


def _is_inner(path: str) -> bool:
    """Whether a path names something below a folder, in the one way in which it is written."""
    around = f"/{path}/"
    return not ("//" in around or "/./" in around or "/../" in around or "\0" in path)


def _root(rows: list[Row], home: Path) -> Path:
    """The folder that names are relative to, by the first row; the CSV's own if its file has another name."""
    path, name = (str(rows[0].path), rows[0].name) if rows else ("", "")
    return Path(path[: -len(name)]) if path.endswith(f"/{name}") else home


def _is_replaceable(path: Path) -> bool:
    """Whether a file begins as `write_scanned` lets files begin."""
    try:
        _, header = next(csv_rows(path), (0, []))
    except CatalogError:
        return False
    return tuple(header) == COLUMNS
