"""Answers that were sent a moment ago, kept as they were: what is asked for again costs no look-up and no encoding.

An entry of a name never changes, so neither does what was made of it.
"""

from collections import OrderedDict
from typing import NamedTuple

from srcache.server.answers import Headers

ReadyKey = tuple[str, str, int, str]
"""The recipe's fingerprint, the image's key as a client gave it, the sample, and the Accept header."""

_OVERHEAD = 4096
_LARGEST = 16
"""Of all the memory, one answer may take at most a sixteenth."""


class Ready(NamedTuple):
    """An image as it is sent: its bytes, its tag, and its headers as an answer to GET and to POST."""

    body: bytes
    tag: str
    got: Headers
    posted: Headers


class ReadyAnswers:
    """The answers that were asked for last, up to so many bytes; used in the event loop only."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._held: OrderedDict[ReadyKey, Ready] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: ReadyKey) -> Ready | None:
        """An answer, if it is still there."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def keep(self, key: ReadyKey, ready: Ready) -> None:
        """Keep an answer in place of those that were not asked for longest; a large one is not kept."""
        cost = len(ready.body) + _OVERHEAD
        if key in self._held or cost > self._most // _LARGEST:
            return
        self._held[key] = ready
        self._bytes += cost
        while self._bytes > self._most:
            _, gone = self._held.popitem(last=False)
            self._bytes -= len(gone.body) + _OVERHEAD
