"""Checks of stores in forked children: what `srcache.maintain.check_process` starts as a program that loads it all.

Every process of the tests has them (see conftest.py); a test that uses the fixture `spawned_checks` has the program.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

from forked import started
from forks import fork

from srcache.cache.manifest import RecipeFolder
from srcache.maintain import check_process

PROGRAM = "srcache.maintain.check_process"
LOADED = (PROGRAM, "srcache.stores.lmdb_kind", "srcache.stores.shards_kind", "numpy", "PIL.PngImagePlugin", "qoi")


class ForkedCheck:
    """Stands for the process that checks a store; `begin` forks it, with its words and its two files."""

    def __init__(self, begin: Callable[[list[str], int, int], "_Ends"], folder: RecipeFolder, work: str, errors: Any):
        given, written = os.pipe()
        words = [work, os.path.realpath(folder.path.parent), folder.path.name]
        self._child = begin(words, written, errors.fileno())
        os.close(written)
        self.stdout: IO[str] = os.fdopen(given)

    def __enter__(self) -> "ForkedCheck":
        return self

    def __exit__(self, *rest: object) -> None:
        self.stdout.close()
        self.wait()

    def wait(self) -> int:
        """The exit code, negative for a signal."""
        return self._child.wait()

    def kill(self) -> None:
        """Kill it if it still runs."""
        self._child.kill()


def from_elsewhere(folder: RecipeFolder, work: str, errors: Any) -> ForkedCheck:
    """A check for a process that has threads: a child of the process that serves the tests."""

    def begin(words: list[str], stdout: int, stderr: int) -> Any:
        return started(f"{PROGRAM}:main", words, stdout=stdout, stderr=stderr, loads=LOADED)

    return ForkedCheck(begin, folder, work, errors)


def from_here(folder: RecipeFolder, work: str, errors: Any) -> ForkedCheck:
    """A check for a process that has no threads: a child of its own."""
    return ForkedCheck(_Ends, folder, work, errors)


class _Ends:
    """A child of this process."""

    def __init__(self, words: list[str], stdout: int, stderr: int) -> None:
        def check() -> int:
            os.closerange(3, 1 << 16)  # as the program has none of its parent's files, its lock above all
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.argv = ["check", *words]
            check_process.main()
            return 0

        self._pid = fork(check, stdout, stderr)
        self._code: int | None = None

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)


def main() -> None:
    """The command line, with checks that are forked."""
    from srcache_cli.main import main as command

    check_process._started = from_here  # type: ignore[assignment]
    command()
