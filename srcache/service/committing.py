"""Encoded entries on their way to the store: collected, so that one commit stores many of them."""

import queue
from collections.abc import Callable

from srcache.stores import Entry, Group

_PAUSE = 0.05
"""Seconds that a commit waits for the next entry, if there is one being encoded."""


class CommitQueue:
    """Hands encoded entries from the threads that encode to the one that commits, in groups.

    Each entry comes with its cost, which the service counts until the entry is stored.
    """

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[tuple[Entry, int] | None] = queue.SimpleQueue()

    def put(self, entry: Entry, cost: int) -> None:
        """Add an entry; from any thread."""
        self._entries.put((entry, cost))

    def end(self) -> None:
        """Say that no entry will follow."""
        self._entries.put(None)

    def take(self, is_more_coming: Callable[[], object]) -> list[tuple[Entry, int]]:
        """What is encoded by now, up to some entries or megabytes; waits for the first; empty at the end.

        Args:
            is_more_coming: whether something is being encoded, for which a short wait pays.
        """
        group: list[tuple[Entry, int]] = []
        entries = Group()
        following = self._entries.get()
        while following is not None:
            group.append(following)
            entries.add(following[0])
            if entries.is_full:
                return group
            try:
                following = self._entries.get(timeout=_PAUSE if is_more_coming() else 0)
            except queue.Empty:
                return group
        if group:
            self._entries.put(None)
        return group
