"""What a classifier predicts for images: CSV files that join by name, so that arms with other files can be compared.

    name,key,label,prediction,p_cat,p_dog
    cat/tom,,cat,cat,0.9,0.1

`name` is the path relative to the data's root without suffix, with `/` between its parts; it, not the order of rows,
says which rows belong together. `key` may be empty, `label` is empty where the truth is unknown, and the probabilities
`p_<class>` are empty or left out where there are none. Files are UTF-8; a byte order mark, quotes, other orders of
columns, and missing `key` and `label` columns are taken as they come, and every mistake is reported with its line.

`prediction` need not be the most probable class: a threshold of one's own is a fair way to decide.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, isfinite
from pathlib import Path
from typing import Any

from srcache.catalog.names import in_one_form, stem_of
from srcache.errors import CatalogError, Mistakes, listed
from srcache.files import csv_text, write_atomic
from srcache.files.regular import read_regular
from srcache.files.system_errors import reading
from srcache.study.compare.spelling import Vocabulary, spelling_mistakes

COLUMNS = ("name", "key", "label", "prediction")
TOLERANCE = 1e-3
"""How far from 1 the sum of a row's probabilities may be: half precision and a few rounded digits are within."""

_PREFIX = "p_"
_SLACK = 1e-6
_MOST = 20


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One image.

    Attributes:
        name: the image's path below its root, without suffix.
        key: the image's key, or empty.
        label: its true class; None if unknown.
        prediction: the class that the classifier chose.
        probabilities: one for each class, in the order of `Predictions.classes`, each in [0, 1], together 1; or None.
    """

    name: str
    key: str
    label: str | None
    prediction: str
    probabilities: tuple[float, ...] | None = None

    @property
    def right(self) -> bool:
        """Whether the prediction is the label; False where there is none."""
        return self.prediction == self.label


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of one classifier for a set of images.

    Attributes:
        classes: their names.
        rows: one for each image.
        named: whether somebody has said the classes; else they are those that occur.
        failures: images without a row, since they cannot be used (`cache.failures.FailedEntry`); no file keeps them.

    Raises:
        CatalogError: every mistake at once: classes or names that are empty or double, labels or predictions that are
            no class, probabilities that are none.
    """

    classes: tuple[str, ...]
    rows: tuple[PredictionRow, ...]
    named: bool = field(default=True, compare=False)
    failures: tuple[Any, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        mistakes = list(_class_mistakes(self.classes))
        check = _row_check(self.classes)
        mistakes += [f"row {place}: {mistake}" for place, row in enumerate(self.rows, 1) for mistake in check(row)]
        _refuse("predictions have mistakes", mistakes)


@dataclass(frozen=True, slots=True)
class JoinedPredictions:
    """Several classifiers on the same images.

    Attributes:
        classes: of all of them.
        names: the images, sorted.
        labels: one for each name.
        classifiers: each with its rows in the order of `names`.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    classifiers: dict[str, Predictions]

    def right(self, classifier: str) -> tuple[bool, ...]:
        """For each name, whether that classifier was right."""
        return tuple(row.right for row in self.classifiers[classifier].rows)


def read_predictions(path: Path) -> Predictions:
    """Read a CSV of predictions. Without `p_` columns, the classes are those that occur, sorted.

    Raises:
        CatalogError: the file cannot be read, or holds mistakes; each is reported with its line.
    """
    header, lines = _table(path)
    classes = tuple(name.removeprefix(_PREFIX) for name in header if name.startswith(_PREFIX))
    _refuse(f"{path} has mistakes in its first line", _header_mistakes(header, classes))
    mistakes, found = list[str](), list[tuple[int, PredictionRow]]()
    for number, cells in lines:
        row = _row(dict(zip(header, cells, strict=False)), classes) if len(cells) == len(header) else None
        if isinstance(row, PredictionRow):
            found.append((number, row))
        else:
            mistakes.append(f"line {number}: {row or f'expected {len(header)} cells, but got {len(cells)}'}")
    rows = tuple(row for _, row in found)
    named = bool(classes)
    classes = classes or tuple(sorted({text for row in rows for text in (row.label, row.prediction) if text}))
    check = _row_check(classes)
    mistakes += [f"line {number}: {mistake}" for number, row in found for mistake in check(row)]
    _refuse(f"{path} has mistakes", mistakes)
    if not rows:
        raise CatalogError(f"{path} holds no predictions; expected a line for each image")
    return Predictions(classes, rows, named)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as CSV, completely or not at all; reading them gives the same values to the last digit.

    Raises:
        DiskFullError: no room, or no permission.
    """
    lines = [[*COLUMNS, *(f"{_PREFIX}{name}" for name in predictions.classes)]]
    nothing = [""] * len(predictions.classes)
    for row in predictions.rows:
        numbers = nothing if row.probabilities is None else [repr(float(value)) for value in row.probabilities]
        lines.append([row.name, row.key, row.label or "", row.prediction, *numbers])
    write_atomic(path, csv_text(lines))


def join(many: Mapping[str, Predictions]) -> JoinedPredictions:
    """Put several classifiers' rows side by side, by name.

    The classes are in the order of the first that knows them all, else sorted.

    Raises:
        CatalogError: nothing to join, rows that others lack, labels that differ, or classes that are written in
            several ways; the message lists them.
    """
    by_name = {title: {in_one_form(row.name): row for row in one.rows} for title, one in many.items()}
    alike = [title for title, one in many.items() if len(by_name[title]) < len(one.rows)]
    _refuse("names that differ in the Unicode form of a letter alone cannot be joined", alike)
    names = sorted({name for rows in by_name.values() for name in rows})
    if not names:
        raise CatalogError("there are no predictions to join; expected at least one classifier and one row")
    lost = [
        f"{title} lacks {len(lacking)} of {len(names)} images: {listed(lacking)}{_hint(lacking, rows)}"
        for title, rows in by_name.items()
        if (lacking := [name for name in names if name not in rows])
    ]
    _refuse("predictions are joined by name, and every image must be in all of them", lost)
    differing = [
        f"{name}: {', '.join(f'{title} {rows[name].label!r}' for title, rows in by_name.items())}"
        for name in names
        if len({rows[name].label for rows in by_name.values()}) > 1
    ]
    _refuse("the same image has different labels (None: it has none)", differing)
    first = next(iter(by_name.values()))
    labels = {row.label for row in first.values() if row.label is not None}
    words = {title: _vocabulary(one) for title, one in many.items()}
    _refuse(
        "predictions and labels must write each class in one way (classes that only look alike need columns "
        f"{_PREFIX}<class> for both)",
        spelling_mistakes(labels, words),
    )
    return JoinedPredictions(
        classes=_all_classes([one.classes for one in many.values()]),
        names=tuple(first[name].name for name in names),
        labels=tuple(first[name].label for name in names),
        classifiers={
            title: Predictions(one.classes, tuple(by_name[title][name] for name in names), one.named)
            for title, one in many.items()
        },
    )


def _vocabulary(one: Predictions) -> Vocabulary:
    declared = one.classes if one.named else ()
    return Vocabulary(predicted=frozenset(row.prediction for row in one.rows), declared=frozenset(declared))


def _all_classes(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    every = {name for names in lists for name in names}
    return next((names for names in lists if len(names) == len(every)), tuple(sorted(every)))


def _hint(lacking: Sequence[str], rows: Mapping[str, Any]) -> str:
    """What may be the reason, if it is the commonest one: suffixes that were not dropped."""
    bare = {in_one_form(stem_of(name)) for name in rows}
    if all(stem_of(name) in bare for name in lacking):
        return " (the names agree without their suffixes; leave .png and the like out of the name column)"
    return ""


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns' names, and each further line with its number."""
    try:
        with reading(path):
            data = read_regular(path)
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    header = [_column(cell) for cell in lines[0][1]] if lines else []
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise CatalogError(f"{path} is not separated by commas; save it with commas between its cells")
    return header, lines[1:]


def _column(cell: str) -> str:
    word = cell.strip().lower()
    return word if word in COLUMNS else cell


def _header_mistakes(header: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    for name in ("name", "prediction"):
        if name not in header:
            yield f"there is no column {name}; the columns are {', '.join(header) or 'none'}"
    unknown = [name for name in header if name not in COLUMNS and not name.startswith(_PREFIX)]
    if unknown:
        yield f"unknown columns {', '.join(unknown)}; known are {', '.join(COLUMNS)} and {_PREFIX}<class>"
    yield from (f"the column {name} is there {count} times" for name, count in Counter(header).items() if count > 1)
    yield from _class_mistakes(set(classes))


def _row(cells: Mapping[str, str], classes: Sequence[str]) -> PredictionRow | str:
    """One line, or what is wrong with its numbers."""
    texts = [cells[f"{_PREFIX}{name}"] for name in classes]
    numbers: tuple[float, ...] | None = None
    if any(text.strip() for text in texts):
        try:
            numbers = tuple(float(text) for text in texts)
        except ValueError:
            return f"expected {len(texts)} probabilities, or none, but got {', '.join(map(repr, texts))}"
    return PredictionRow(cells["name"], cells.get("key", ""), cells.get("label") or None, cells["prediction"], numbers)


def _class_mistakes(classes: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(classes).items():
        if count > 1:
            yield f"the class {name!r} is there {count} times"
        if not name or _unwritable(name):
            yield f"a class needs a name that UTF-8 can hold, but one is {name!r}"


def _row_check(classes: Sequence[str]) -> Callable[[PredictionRow], Iterator[str]]:
    """A function that yields the mistakes of one row after the other; it remembers the names that it has seen."""
    known, seen = set(classes), set[str]()

    def check(row: PredictionRow) -> Iterator[str]:
        if not row.name or _unwritable(row.name + row.key):
            yield f"an image needs a name (and a key) that UTF-8 can hold, but got {row.name!r} ({row.key!r})"
        if row.name in seen:
            yield f"{row.name} is there twice"
        seen.add(row.name)
        for what, name in (("label", row.label), ("prediction", row.prediction)):
            if name is not None and name not in known:
                yield f"{row.name}: the {what} {name!r} is none of the classes {listed([repr(one) for one in classes])}"
        if row.probabilities is not None:
            yield from _probability_mistakes(row.name, row.probabilities, len(known))

    return check


def _probability_mistakes(name: str, values: Sequence[float], count: int) -> Iterator[str]:
    if len(values) != count:
        yield f"{name}: expected {count} probabilities, but got {len(values)}"
    elif not all(isfinite(value) and -_SLACK <= value <= 1 + _SLACK for value in values):
        yield f"{name}: expected probabilities between 0 and 1, but got {', '.join(map(str, values))}"
    elif abs(fsum(values) - 1) > TOLERANCE:
        yield f"{name}: expected probabilities that sum to 1 (within {TOLERANCE}), but they sum to {fsum(values):.6g}"


def _unwritable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return "\0" in text


def _refuse(what: str, found: Iterable[str]) -> None:
    """Raise one error for all mistakes, if there are any; of many, the first twenty are listed."""
    lines, mistakes = list(found), Mistakes()
    for line in lines[:_MOST]:
        mistakes.note(line)
    mistakes.require(len(lines) <= _MOST, f"… and {len(lines) - _MOST} more")
    mistakes.raise_as(CatalogError, what)
