"""Parts are disjoint, together they are everything, about equally large, and the same wherever they are computed."""

from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.catalog.parts import Part, parts_of
from srcache.catalog.scanning import from_dataset, scan
from srcache.errors import ConfigError
from srcache.keys import ImageKey

KEYS = [ImageKey(blake2b(b"%d" % number, digest_size=16).hexdigest()) for number in range(20_000)]


def part_of(key: ImageKey, count: int) -> int:
    (found,) = (index for index in range(count) if Part(index, count).holds(key))
    return found


@given(st.binary(min_size=16, max_size=16), st.integers(1, 100), st.integers(1, 9))
def test_a_key_is_in_one_part_and_in_one_part_of_that(data: bytes, count: int, inner: int) -> None:
    key = ImageKey(data.hex())
    index = part_of(key, count)
    assert [part.holds(key) for part in Part(index, count).split(inner)].count(True) == 1
    assert not any(
        part.holds(key) for other in range(count) if other != index for part in Part(other, count).split(inner)
    )


@pytest.mark.parametrize("count", [2, 3, 8, 64])
def test_parts_and_their_parts_are_about_equally_large(count: int) -> None:
    sizes = Counter(part_of(key, count) for key in KEYS)
    mean = len(KEYS) / count
    assert all(abs(sizes[index] - mean) < 6 * mean**0.5 for index in range(count))
    inside = [sum(part.holds(key) for key in KEYS) for part in Part(0, 2).split(2)]
    assert all(abs(size - 5_000) < 400 for size in inside), "a part of a part is no remainder of the same number"


def test_the_rule_is_frozen() -> None:
    """Jobs that are restarted with another version must find their own part."""
    assert [part_of(key, 8) for key in KEYS[:12]] == [0, 4, 6, 3, 0, 0, 2, 7, 3, 3, 6, 5]


def test_the_parts_of_keys_are_listed() -> None:
    assert parts_of(KEYS[:5], 8) == [0, 3, 4, 6]
    assert parts_of([], 8) == []


@pytest.mark.parametrize("text", ["0/1", "2/3", " 7/8 ", "03/10"])
def test_a_part_is_written_as_index_and_count(text: str) -> None:
    index, count = map(int, text.split("/"))
    assert Part.parse(text) == Part(index, count)
    assert str(Part(index, count)) == f"{index}/{count}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3/3", "expected 0/3 to 2/3, but got 3/3"),
        ("1/1", "expected 0/1 to 0/1, but got 1/1"),
        ("0/0", "expected at least 0/1, but got 0/0"),
        ("x", "expected a part i/N, such as 0/8 for the first of eight, but got 'x'"),
        ("-1/3", "but got '-1/3'"),
        ("1/3/5", "but got '1/3/5'"),
        ("1.0/3", "but got '1.0/3'"),
        ("¹/3", "but got '¹/3'"),
        ("/", "but got '/'"),
        ("", "but got ''"),
    ],
)
def test_other_words_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Part.parse(text)
    assert message in str(caught.value)


def test_a_part_of_a_catalog_keeps_its_order_classes_and_problems(photos: Path) -> None:
    (photos / "moss/elsewhere.png").symlink_to(__file__)
    catalog = scan(photos)
    parts = [Part(index, 3).of(catalog) for index in range(3)]
    assert sorted((row for part in parts for row in part.rows), key=catalog.rows.index) == list(catalog.rows)
    for part in parts:
        assert list(part.rows) == [row for row in catalog.rows if row in part.rows]
        assert (part.classes, part.problems, part.root) == (catalog.classes, catalog.problems, catalog.root)
        assert part.digest != catalog.digest
    assert Part(0, 1).of(catalog) is catalog


def test_a_part_of_a_data_set_loads_its_own_images(hf: Any) -> None:
    catalog = from_dataset([(hf[index]["image"].convert("RGB"), 0) for index in range(12)])
    part = Part(1, 2).of(catalog)
    assert 0 < len(part) < 12
    for index, row in enumerate(part.rows):
        whole = next(place for place, other in enumerate(catalog.rows) if other.name == row.name)
        assert (part.load(index, check=True).rgb == catalog.load(whole).rgb).all()
