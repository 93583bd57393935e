"""CSV files as srcache reads them: in UTF-8, row by row; `srcache.files.csv_text` writes them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from srcache.errors import CatalogError
from srcache.files.regular import open_regular
from srcache.files.system_errors import reading


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of each row of a CSV file that is not empty; read as it is asked for.

    Raises:
        CatalogError: it cannot be read.
    """
    try:
        with reading(path), io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
