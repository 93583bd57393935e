"""Groups of entries are full by number or by size, and begin anew when they are taken."""

import pytest

from srcache.stores import Entry
from srcache.stores.grouping import MOST_BYTES, MOST_ENTRIES, Group


@pytest.mark.parametrize(
    ("most_bytes", "size", "count"),
    [(MOST_BYTES, 1, MOST_ENTRIES), (MOST_BYTES, 5 << 20, 4), (100, 30, 4), (1, 0, MOST_ENTRIES), (1, 1, 1)],
)
def test_a_group_is_full_by_number_or_by_size(most_bytes, size, count):
    group = Group(most_bytes)
    for turn in range(2):
        entries = [Entry(f"{turn}-{number}", bytes(size), {}) for number in range(count)]
        for entry in entries:
            assert not group.is_full
            group.add(entry)
        assert group.is_full
        assert group.take() == entries
        assert not group.is_full
    assert group.take() == []
