"""Complete shards of a spool are uploaded, in a thread beside the writer; those that others left there too.

A shard's index goes first, so that whoever sees a shard finds its index. Neither replaces an object that is there: the
name of a shard holds its writer's id, so one of this name is this one, which an upload that was cut off left complete.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from srcache.files.file_locks import take
from srcache.files.objects import ObjectFolder
from srcache.stores.shard_home import INDEX
from srcache.stores.shard_names import shards_in

_AHEAD = 2
"""Complete shards that may wait before a writer has to."""

_PAUSE = 30.0
"""Seconds after a failure in which nothing is tried again, so that a process that ends for it ends soon."""


class Uploader:
    """Uploads the complete shards of a spool.

    Args:
        spool: the folder in which shards are written.
        objects: opens the folder of objects, in whatever process it is called.
        below: the store's place in it.
        keep: takes a shard and its index, once they are uploaded, out of the spool.
    """

    def __init__(
        self, spool: Path, objects: Callable[[], ObjectFolder], below: str, keep: Callable[[Path, Path], None]
    ) -> None:
        self._spool, self._objects, self._below, self._keep = spool, objects, below, keep
        self._pid, self._thread = os.getpid(), threading.Thread()
        self._error: BaseException | None = None
        self._failed = -_PAUSE

    def start(self) -> None:
        """Upload what is complete, in a thread."""
        if self._pid != os.getpid():
            self._pid, self._thread = os.getpid(), threading.Thread()
        if not self._thread.is_alive() and self._error is None and self._waiting():
            self._thread = threading.Thread(target=self._act, name="srcache-upload", daemon=True)
            self._thread.start()

    def wait(self, *, finish: bool) -> None:
        """Wait until nearly everything is uploaded, or (`finish`) everything.

        Raises:
            MachineError: it could not be.
        """
        while True:
            self._check()
            if time.monotonic() >= self._failed + _PAUSE:
                self._error = None
                self.start()
            if len(self._waiting()) <= (0 if finish else _AHEAD):
                return
            self._thread.join(0.05)

    def _check(self) -> None:
        if self._error is not None and not self._thread.is_alive() and self._failed + _PAUSE > time.monotonic():
            raise self._error

    def _waiting(self) -> list[Path]:
        return [self._spool / shard.name for shard in shards_in(self._spool)[0]]

    def _act(self) -> None:
        try:
            while waiting := self._waiting():
                for path in waiting:
                    self._upload(path)
        except BaseException as error:
            self._failed, self._error = time.monotonic(), error

    def _upload(self, path: Path) -> None:
        """Upload one shard, unless another process of this machine is faster."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            with suppress(OSError):
                take(handle, wait=True)
            if not path.exists():
                return
            index, objects = path.with_name(f"{path.name}{INDEX}"), self._objects()
            for file in (index, path):
                if file.exists():
                    objects.put(f"{self._below}{file.name}", file)
            self._keep(path, index)
        finally:
            os.close(handle)
