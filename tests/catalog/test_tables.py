"""CSV text reads back as the same cells, whatever they hold; what is no CSV is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srcache.catalog.tables import csv_rows
from srcache.errors import CatalogError
from srcache.files import csv_text

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["", "a\rb", "\r", "\n", "\r\n", '"', "a,b", " x ", "é\u2028", "\ufeff"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=5))
def test_a_table_reads_back(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(csv_text([("a", "b", "c"), *rows]).encode())
    assert [cells for _, cells in csv_rows(path)] == [["a", "b", "c"], *map(list, rows)]


def test_plain_rows_are_plain() -> None:
    assert csv_text([("key", "name"), ("1", "a b"), ("2", "c\rd")]) == 'key,name\n1,a b\n2,"c\rd"\n'


def test_lines_are_counted_and_empty_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n\r\n"1\n2",3\r\n4,5')
    assert list(csv_rows(path)) == [(1, ["a", "b"]), (4, ["1\n2", "3"]), (5, ["4", "5"])]


@pytest.mark.parametrize("data", [b"a,b\n\xff,1\n", b'a,b\n"open', b'a,b\n"x"y,1\n'])
def test_what_is_no_csv_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(CatalogError, match="cannot be read as CSV in UTF-8"):
        list(csv_rows(path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        list(csv_rows(tmp_path / "table.csv"))
