"""Entries on their way to the store: in order, none lost, in groups that are neither too large nor waited for long."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.service import committing
from srcache.service.committing import CommitQueue
from srcache.stores import Entry, grouping


def entry(number, size=1):
    return Entry(str(number), b"x" * size, {})


def drained(queue):
    """Every group up to the end."""
    groups = []
    while group := queue.take(lambda: False):
        groups.append([(one.name, cost) for one, cost in group])
    return groups


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 5), st.integers(1, 100))
def test_groups_are_the_entries_in_order_and_none_goes_on_when_it_is_full(sizes, entries, most):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grouping, "MOST_ENTRIES", entries)
        patched.setattr(grouping, "MOST_BYTES", most)
        queue = CommitQueue()
        for number, size in enumerate(sizes):
            queue.put(entry(number, size), number)
        queue.end()
        groups = drained(queue)
    assert [one for group in groups for one in group] == [(str(number), number) for number in range(len(sizes))]
    for group in groups:
        assert len(group) <= entries
        assert sum(sizes[number] for _, number in group[:-1]) < most
    for group in groups[:-1]:
        assert len(group) == entries or sum(sizes[number] for _, number in group) >= most


def test_a_short_group_leaves_at_once_unless_something_is_being_encoded(monkeypatch):
    monkeypatch.setattr(committing, "_PAUSE", 20)
    queue = CommitQueue()
    queue.put(entry(0), 7)
    started = time.monotonic()
    assert [cost for _, cost in queue.take(lambda: False)] == [7]
    assert time.monotonic() - started < 10
    queue.put(entry(1), 1)
    threading.Timer(0.05, lambda: (queue.put(entry(2), 2), queue.end())).start()
    assert [one.name for one, _ in queue.take(lambda: True)] == ["1", "2"]
    assert queue.take(lambda: True) == []


def test_what_is_encoded_too_late_is_in_the_next_group(monkeypatch):
    monkeypatch.setattr(committing, "_PAUSE", 0.01)
    queue = CommitQueue()
    queue.put(entry(0), 0)
    assert [one.name for one, _ in queue.take(lambda: True)] == ["0"]
    queue.put(entry(1), 0)
    queue.end()
    assert drained(queue) == [[("1", 0)]]
