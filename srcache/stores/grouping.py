"""How many entries are committed at once: few, so that a crash costs little; enough for a wait for the disk to pay."""

from srcache.stores.interface import Entry

MOST_ENTRIES = 64
MOST_BYTES = 16 << 20


class Group:
    """Entries on their way into a store, until there are enough to be committed.

    Args:
        most_bytes: their payloads' size at which there are enough, if less than usual.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = min(MOST_BYTES, most_bytes or MOST_BYTES)
        self._entries: list[Entry] = []
        self._size = 0

    def add(self, entry: Entry) -> None:
        """One more."""
        self._entries.append(entry)
        self._size += len(entry.payload)

    @property
    def is_full(self) -> bool:
        """Whether they should be committed now."""
        return len(self._entries) >= MOST_ENTRIES or self._size >= self._most_bytes

    def take(self) -> list[Entry]:
        """All of them; the group is empty then."""
        taken, self._entries, self._size = self._entries, [], 0
        return taken
