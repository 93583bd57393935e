"""Something that is called in a forked child, as a program of its own would run it, with an exit code."""

import atexit
import fcntl
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress


def fork(act: Callable[[], int], stdout: int, stderr: int) -> int:
    """Call `act` in a child, which ends with what it returns, or with 97; returns the child's process id.

    Args:
        act: what is called; it may raise SystemExit.
        stdout, stderr: open files (their numbers) that the child writes to.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 97
    try:
        # each may have the other's number
        moved = [fcntl.fcntl(file, fcntl.F_DUPFD, 3) for file in (stdout, stderr)]
        for number, file in enumerate(moved, 1):
            os.dup2(file, number)
            os.close(file)
        code = _code_of(act)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError):  # full, or closed
                stream.flush()
        os._exit(code)


def _code_of(act: Callable[[], int]) -> int:
    try:
        return act()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
