"""Image quality that was measured of a cache's images, as `srcache eval images --out` writes it: a table by name."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from srcache.catalog.names import in_one_form
from srcache.errors import ConfigError
from srcache.files.regular import read_regular
from srcache.files.system_errors import reading

TABLE = "quality.csv"

Scores = Mapping[str, Mapping[str, float]]
"""Metric → name without suffix → value."""


def read_quality(path: Path) -> Scores:
    """The metrics in a table, or in the `quality.csv` of a folder.

    Raises:
        ConfigError: it is no such table; the message says where.
    """
    path = path / TABLE if path.is_dir() else path
    try:
        with reading(path):
            text = read_regular(path).decode("utf-8-sig")
        return _scores(text)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{path} is no table of image quality ({error}); `srcache eval images --test CACHE --out DIR` writes one"
        ) from error


def _scores(text: str) -> Scores:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    if header[:1] != ["name"] or len(set(header)) < len(header) or len(header) < 2:
        raise ValueError("its columns are not name and one for each metric")
    found: dict[str, dict[str, float]] = {metric: {} for metric in header[1:]}
    for cells in reader:
        if len(cells) != len(header):
            raise ValueError(f"line {reader.line_num}: expected {len(header)} cells, but got {len(cells)}")
        for metric, cell in zip(header[1:], cells[1:], strict=True):
            if cell:
                found[metric][in_one_form(cells[0])] = _number(cell, reader.line_num)
    return found


def _number(cell: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise ValueError(f"line {line}: {cell!r} is no number") from error
    if math.isnan(value):
        raise ValueError(f"line {line}: {cell!r} is no number")
    return value
