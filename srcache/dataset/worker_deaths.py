"""What is said where a process that reads images ended: which caches it may have read, and how to look at them.

A file that is cut off while it is read ends its reader (SIGBUS), and torch then guesses at shared memory. A user's
training loop is the user's, so its error is not caught here; but where it ends the program, a line below it names the
caches in use.
"""

import sys
from functools import cache
from types import TracebackType
from weakref import WeakKeyDictionary

from srcache.wording import enumeration

_PLACES: WeakKeyDictionary[object, str] = WeakKeyDictionary()
_SIGN = "DataLoader worker"
"""What torch says of a worker that ended; its error has no class of its own."""


def watch(reader: object, place: str) -> None:
    """Name a place in a cache, as long as its reader is in use, where the end of a worker ends the program."""
    _PLACES[reader] = place
    _extend_the_last_message()


def is_worker_death(error: BaseException) -> bool:
    """Whether torch says by this error that a worker process ended."""
    return isinstance(error, RuntimeError) and _SIGN in str(error)


def advice() -> str:
    """What a worker's end may have to do with the caches that this process reads; empty where it reads none."""
    places = sorted(set(_PLACES.values()))
    if not places:
        return ""
    return (
        f"a process that read from {enumeration(places)} ended: the machine killed it, perhaps for want of memory, or "
        "what it read was cut off meanwhile; `srcache verify` says whether a cache is damaged"
    )


@cache
def _extend_the_last_message() -> None:
    before = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if is_worker_death(error) and (note := advice()):
            error.add_note(f"srcache: {note}")
        before(kind, error, trace)

    sys.excepthook = explain
