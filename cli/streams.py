"""The program's standard streams: there whatever the shell closed, and able to print any name."""

import io
import os
import sys
from contextlib import suppress
from typing import IO, Any


def open_streams(as_json: bool) -> None:
    """Give the process the streams that it lacks, before anything else is opened, and have them print all characters.

    A program that is started with `2>&-` has no stream 2, and the next file that it opens gets the number: a library's
    warning would be written into the middle of a cache.

    Args:
        as_json: a JSON document is due on stdout, which is UTF-8 whatever the language settings say.
    """
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if as_json and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _nowhere(mode: str) -> IO[Any]:
    """A stream of nothing, under the lowest number that is free, which started processes have too."""
    stream = open(os.devnull, mode)  # noqa: SIM115 - to the end of the process
    os.set_inheritable(stream.fileno(), True)
    return stream


def silence(number: int) -> None:
    """Have a stream's text go nowhere from now on."""
    with suppress(OSError):
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
