"""CSV as srcache reads and writes it: UTF-8, LF line ends, and quotes around cells that would end a line."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from srcache.errors import CatalogError


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as CSV text, which reads back as the same cells.

    The csv module leaves a bare CR in a cell unquoted, which file names may have; such a row is quoted as a whole.
    """
    out = io.StringIO()
    plain = csv.writer(out, lineterminator="\n")
    quoted = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(header)
    for row in rows:
        (quoted if any("\r" in cell for cell in row) else plain).writerow(row)
    return out.getvalue()


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of each row of a CSV file that is not empty; read as it is asked for.

    Raises:
        CatalogError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
