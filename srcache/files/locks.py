"""Locks between threads that a fork cannot leave locked: a worker is forked whenever a loader starts one.

A forked process has a copy of every lock as it was, but only the thread that forked. A lock that another thread held is
then never released. `tests/files/test_locks.py` looks for locks of modules that would be left like that.
"""

import os
import threading
from weakref import WeakSet


class ForkLock:
    """A lock of one thread at a time, as `with lock:`, that is free in a process that was forked while another held it.

    Args:
        patience: how many seconds a fork waits for a thread that holds the lock. Waiting leaves what the lock guards
            in good order, also in the new process; after that time the new process has a new lock, and takes what it
            guards as it is.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self._patience, self._lock = patience, threading.RLock()
        self._taken: dict[int, bool] = {}
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Take the lock, if its holder releases it in time; at once, if that is the thread that forks."""
        self._taken[threading.get_ident()] = self._lock.acquire(timeout=self._patience)

    def after_fork(self, in_child: bool) -> None:
        """Release it in both processes; where it could not be taken, the new process gets a new one."""
        if self._taken.pop(threading.get_ident(), False):
            self._lock.release()
        elif in_child:
            self._lock, self._taken = threading.RLock(), {}


_LOCKS: WeakSet[ForkLock] = WeakSet()


def _before_fork() -> None:
    for lock in list(_LOCKS):
        lock.before_fork()


def _after_fork(in_child: bool) -> None:
    for lock in list(_LOCKS):
        lock.after_fork(in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )
