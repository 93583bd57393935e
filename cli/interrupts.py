"""Ctrl-C, and the signals by which clusters and terminals stop a command: what is said at once, and what a second does.

The first one raises KeyboardInterrupt in the main thread: what is in hand is finished, and `main.run` ends by 130. The
second one does not wait for that. It ends the process where it stands, without Python's own way out, on which threads
that still compute would meet a library that is being taken down. What is committed is safe against that, as it is
against a power failure, and locks and unfinished files are left as a kill leaves them: the next run takes over.
"""

import atexit
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

AGAIN = ". Run the same command again to go on"

_IMAGES = {"build", "warm", "upscale"}
_STEPS = {
    *("quickstart", "prepare", "scan", "train", "predict", "eval", "experiment", "verify", "repair", "safety"),
    *("prune", "export", "merge", "report", "models"),
}
_GOES_ON = {"quickstart", "prepare", "scan", "build", "warm", "train", "experiment", "merge", "models"}
"""Commands that do not repeat what the same command did before it was stopped."""

_ONE_PRESS = 0.3
"""Seconds in which several signals are one: a terminal sends it to a program, and to the one that started it and
passes it on."""

INTERRUPTED = 130
_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What a terminal's Ctrl-C, a cluster, and a terminal that is closed send."""


class Stopping:
    """What the program knows of signals: whether one came, and how to say what a second one does.

    Args:
        command: the name of the command that runs.
        advice: how to go on; empty where the same command would begin anew.
        last_words: the document that is due on stdout, if it ends at once; None if none is.

    Attributes:
        code: the exit code, once it is known.
    """

    def __init__(self, command: str, advice: str = "", last_words: str | None = None) -> None:
        self._command, self._advice, self._last_words = command, advice, last_words
        self._process, self._since, self.code = os.getpid(), 0.0, INTERRUPTED

    def install(self) -> None:
        """Handle the signals of this process from now on, to its very end, but for those that `nohup` or a shell's `&`
        have it ignore."""
        atexit.register(self._leave)
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.handle)

    def handle(self, _number: int, _frame: object) -> None:
        """A signal came: interrupt, or end at once if that was done before."""
        if os.getpid() != self._process:  # a forked worker: the program itself says what there is to say
            raise KeyboardInterrupt
        if not self._since:
            self._since = time.monotonic()
            self._say(first_words(self._command))
            raise KeyboardInterrupt
        if time.monotonic() - self._since > _ONE_PRESS:
            self._end()

    def _leave(self) -> None:
        """The last that Python does at its end: skip what follows, where threads and signals may still do harm."""
        if not self._since or os.getpid() != self._process:
            return
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(self.code)

    def _end(self) -> NoReturn:
        self._say(f"stopped at once; what was stored before is kept{self._advice}")
        if self._last_words:
            _write(1, self._last_words)
        os._exit(INTERRUPTED)

    def _say(self, text: str) -> None:
        if text:
            _write(2, f"{os.linesep if os.isatty(2) else ''}srcache: {text}\n")


def first_words(command: str) -> str:
    """What is said at once, when a command is told to stop; empty for one that ends at once anyway."""
    if command in _IMAGES:
        return "finishing the images in hand; press again to stop at once"
    return "stopping; press again to stop at once" if command in _STEPS else ""


def _write(handle: int, text: str) -> None:
    """Write past the buffers, one of which may be in the middle of a line; a stream that is closed is left alone."""
    try:
        os.write(handle, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def is_resumed(command: str, words: Sequence[str]) -> bool:
    """Whether the same command line, given again, goes on where it was stopped."""
    return command in _GOES_ON and "--dry-run" not in words


def command_of(words: Sequence[str], commands: Sequence[str]) -> str:
    """The command that a command line names; the program's own name if it names none."""
    return next((word for word in words if word in commands), "srcache")
