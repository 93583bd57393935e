"""The side table of a recipe: what was measured of each SR image, beside the images and without touching them.

    CACHE/<recipe>/safety.csv     a row per SR image, by image and sample; columns as in `HEADER`, LF line ends
    CACHE/<recipe>/safety.json    the convention that every row was measured by, in words too; classifier and versions

`name` is the entry's name, `image` the source image's (relative, POSIX, without suffix, as in prediction files).
Numbers have six decimals; an empty cell was not measured. Both files are written atomically. Where the convention
changes, the old rows are removed first, then the new convention is written, then new rows: whenever the power fails,
rows and convention belong together.

`ScoreFilter` answers a policy's filters. Its rows are packed into a few buffers, for the reason that `items` gives.
"""

import csv
import io
import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from srcache.dataset.policy import COLUMNS, Filter, filter_text, parse_filter
from srcache.errors import DamagedError, PolicyError
from srcache.files import csv_text, disk_errors, write_atomic
from srcache.files.documents import parse_json
from srcache.files.system_errors import reading
from srcache.keys import ImageKey, entry_name, split_name

TABLE, ABOUT = "safety.csv", "safety.json"
SCHEMA = "srcache.safety-table/1"
LABELS = ("lr_label", "sr_label", "hr_label")
HEADER = ("name", "image", "key", "sample", *COLUMNS, *LABELS)

_BY_CLASSIFIER = {"agree", "feature_distance"}
_RANGES = {
    "safe": (0.0, 1.0),
    "agree": (0.0, 1.0),
    "feature_distance": (0.0, 2.0),
    "back_projection": (0.0, math.inf),
    "back_projection_error": (0.0, 255.0),
}
_AGAIN = "`srcache safety --again` measures anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """What was measured of one SR image; `srcache.safety` defines the numbers. NaN and None: not measured."""

    image: str
    key: ImageKey
    sample: int
    safe: float
    back_projection: float
    back_projection_error: float
    agree: float = math.nan
    feature_distance: float = math.nan
    lr_label: str | None = None
    sr_label: str | None = None
    hr_label: str | None = None

    @property
    def name(self) -> str:
        """The entry's name."""
        return entry_name(self.key, self.sample)

    def passes(self, conditions: Filter) -> bool:
        """Whether every condition holds."""
        return all(condition.holds(getattr(self, condition.column)) for condition in conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """A side table in memory.

    Attributes:
        path: the CSV file.
        convention: how every row was measured, as JSON values; its `classifier` is None or a mapping with a `digest`.
        about: everything in safety.json.
        rows: by image and sample.
    """

    path: Path
    convention: Mapping[str, Any]
    about: Mapping[str, Any]
    rows: tuple[LabelScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What a filter does to the measured SR images: how many stay, and the source images of those that go.

    An image's later samples are written name#sample.
    """

    filter: str
    kept: int
    removed: int
    names: tuple[str, ...]


def read_scores(folder: Path) -> ScoreTable | None:
    """The side table in a recipe's folder; None if nothing was measured.

    Raises:
        DamagedError: it is not what was written; the message names file, line and mistake.
    """
    path = folder / TABLE
    if not path.exists():
        return None
    about = _about(folder)
    return ScoreTable(path=path, convention=about["convention"], about=about, rows=tuple(_rows(path, _data(path))))


def begin_scores(folder: Path, convention: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Remove all rows, and write how rows are measured from now on: rows of two conventions never stand together.

    Raises:
        DiskFullError: no room, or no permission.
    """
    with disk_errors(folder / TABLE):
        (folder / TABLE).unlink(missing_ok=True)
    about = {"schema": SCHEMA, "convention": convention, **notes}
    write_atomic(folder / ABOUT, json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_scores(folder: Path, rows: Iterable[LabelScore]) -> Path:
    """Replace all rows, atomically; returns the CSV file.

    Raises:
        DiskFullError: no room, or no permission.
    """
    lines = [_cells(row) for row in sorted(rows, key=lambda row: (row.image, row.key, row.sample))]
    write_atomic(folder / TABLE, csv_text([HEADER, *lines]))
    return folder / TABLE


def filter_effect(table: ScoreTable | Sequence[LabelScore], conditions: str | Filter) -> Removed:
    """What a filter, such as safe>0.9, keeps and removes of the measured images.

    Raises:
        PolicyError: the filter makes no sense.
    """
    rows = table.rows if isinstance(table, ScoreTable) else table
    read = parse_filter(conditions) if isinstance(conditions, str) else conditions
    gone = [row for row in rows if not row.passes(read)]
    names = tuple(f"{row.image}#{row.sample}" if row.sample else row.image for row in gone)
    return Removed(filter=filter_text(read), kept=len(rows) - len(gone), removed=len(gone), names=names)


class ScoreFilter:
    """Which samples of an image pass a filter. Opened by `open_score_filter`; picklable, and safe to fork.

    Attributes:
        path: the table that was read.
        digest: BLAKE2b with 128 bits of its bytes: choices through the same digest are the same.
    """

    def __init__(self, path: Path, digest: str, filters: Sequence[Filter], rows: Iterable[LabelScore]) -> None:
        self.path, self.digest = path, digest
        packed = sorted(
            (_packed(row.key, row.sample), bytes(row.passes(conditions) for conditions in filters)) for row in rows
        )
        self._rows = _PackedRows(b"".join(name for name, _ in packed))
        self._passes = {
            conditions: bytes(passed[place] for _, passed in packed) for place, conditions in enumerate(filters)
        }

    def passing(self, key: str, conditions: Filter) -> list[int]:
        """The measured samples of an image that pass, rising."""
        passes, found = self._passes[conditions], list[int]()
        for place, sample in self._measured(key):
            if passes[place]:
                found.append(sample)
        return found

    def knows(self, key: str) -> bool:
        """Whether anything was measured of an image."""
        return next(self._measured(key), None) is not None

    def _measured(self, key: str) -> Iterator[tuple[int, int]]:
        """(row, sample) of an image's measured samples."""
        start = bytes.fromhex(key)
        for place in range(bisect_left(self._rows, start), len(self._rows)):
            row = self._rows[place]
            if not row.startswith(start):
                return
            yield place, int.from_bytes(row[-2:], "big")


class _PackedRows(Sequence[bytes]):
    """Rows of 18 bytes (key, sample) in one buffer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // 18

    def __getitem__(self, place: Any) -> Any:
        return self._data[18 * place : 18 * place + 18]


def open_score_filter(folder: Path, filters: Sequence[Filter]) -> ScoreFilter:
    """Read the side table in a recipe's folder, to answer these filters.

    Raises:
        PolicyError: nothing was measured, or not what a filter asks for.
        DamagedError: the table is not what was written.
    """
    path = folder / TABLE
    wanted = ", ".join(map(filter_text, filters))
    if not path.exists():
        raise PolicyError(
            f"the policy filters by {wanted}, but nothing was measured of the SR images in {folder} (there is no "
            f"{TABLE}); run `srcache safety` first"
        )
    asked = {condition.column for conditions in filters for condition in conditions} & _BY_CLASSIFIER
    if asked and _about(folder)["convention"].get("classifier") is None:
        raise PolicyError(
            f"the policy filters by {wanted}, but {path} was measured without a classifier, so it has no "
            f"{' and no '.join(sorted(asked))}; run `srcache safety --classifier RUN`"
        )
    data = _data(path)
    return ScoreFilter(path, blake2b(data, digest_size=16).hexdigest(), filters, _rows(path, data))


def _packed(key: str, sample: int) -> bytes:
    return bytes.fromhex(key) + sample.to_bytes(2, "big")


def _about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        with reading(path):
            about = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} says how {TABLE} was measured, but cannot be read: {error}; {_AGAIN}") from error
    if not isinstance(about, dict) or not isinstance(about.get("convention"), dict) or "schema" not in about:
        raise DamagedError(f"{path} does not say how {TABLE} was measured; {_AGAIN}")
    if about["schema"] != SCHEMA:
        raise DamagedError(f"{path} has the schema {about['schema']!r}, but this srcache reads {SCHEMA}; {_AGAIN}")
    return about


def _data(path: Path) -> bytes:
    try:
        with reading(path):
            return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error}; {_AGAIN}") from error


def _rows(path: Path, data: bytes) -> Iterator[LabelScore]:
    """The rows of a table's bytes, one by one."""
    seen: set[str] = set()
    try:
        reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
        if next(reader, None) != list(HEADER):
            raise ValueError(f"its columns are not {','.join(HEADER)}")
        for cells in reader:
            try:
                score = _score(cells)
                if cells[0] in seen:
                    raise ValueError(f"{cells[0]} has a row already")
            except ValueError as error:
                raise ValueError(f"line {reader.line_num}: {error}") from error
            seen.add(cells[0])
            yield score
    except (ValueError, csv.Error) as error:
        raise DamagedError(f"{path} is not the table that was written: {error}; {_AGAIN}") from error


def _score(cells: Sequence[str]) -> LabelScore:
    if len(cells) != len(HEADER):
        raise ValueError(f"expected {len(HEADER)} cells, but got {len(cells)}")
    plain = dict(zip(HEADER, cells, strict=True))
    key, sample = split_name(plain["name"])
    if (plain["key"], plain["sample"]) != (key, str(sample)):
        raise ValueError(f"{plain['name']} is not key {plain['key']}, sample {plain['sample']}")
    numbers = {column: _value(column, plain[column]) for column in COLUMNS}
    labels = {column: plain[column] or None for column in LABELS}
    return LabelScore(image=plain["image"], key=key, sample=sample, **numbers, **labels)  # type: ignore[arg-type]


def _value(column: str, text: str) -> float:
    if not text and column in _BY_CLASSIFIER:
        return math.nan
    least, most = _RANGES[column]
    value = float(text)
    if not least <= value <= most:
        raise ValueError(f"{column} must lie from {least:g} to {most:g}, but is {text}")
    return value


def _cells(row: LabelScore) -> list[str]:
    numbers = ["" if math.isnan(value := getattr(row, column)) else f"{value:.6f}" for column in COLUMNS]
    return [row.name, row.image, row.key, str(row.sample), *numbers, *(getattr(row, label) or "" for label in LABELS)]
