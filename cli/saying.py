"""What a command says beside its result: `-q`, `-v` and `--log-file`, one rule for all commands.

`-q` leaves out progress and notes; warnings, errors and the result stay. `-v` shows what srcache's modules log, and
where time goes, on stderr. `--log-file` appends all that is said, and all that is logged, with the time of each line;
JSON documents are for programs, and are not in it. What was chosen holds until the command line is over (`main.run`).
"""

import logging
import shlex
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from srcache.errors import ConfigError
from srcache.files.system_errors import WRITING, not_written
from srcache.wording import duration, printable

LOGGER = logging.getLogger("srcache")
"""Above the loggers of all modules of srcache."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Document(str):
    """A JSON document: it is printed whatever `-q` says, and stays out of the log."""

    __slots__ = ()


class _Saying:
    """What one command line has chosen, and what is to be undone after it."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words, self.quiet, self.verbose = words, False, False
        self.file: _LogFile | None = None
        self.undo, self.started = ExitStack(), time.perf_counter()


_now = _Saying()
"""Of the command line that runs: a process runs one at a time."""


def begin(words: Sequence[str]) -> None:
    """A command line begins, in which nothing is chosen yet."""
    global _now
    _now = _Saying(words)


def saying_options(command: _Command) -> _Command:
    """`-q`, `-v` and `--log-file`."""
    for option in (
        click.option(
            "--log-file",
            type=click.Path(path_type=Path),
            callback=_open_log,
            is_eager=True,
            expose_value=False,
            help="Append what is said and logged to a file, with times.",
        ),
        _flag("-v", "--verbose", "Log on stderr what is done, and where time goes."),
        _flag("-q", "--quiet", "No progress and no notes; results, warnings and errors only."),
    ):
        command = option(command)
    return command


def is_quiet() -> bool:
    """Whether progress and notes are left out."""
    return _now.quiet


def show(text: str, err: bool = False) -> None:
    """The one place that prints: what a terminal would take for a command is shown, not sent."""
    click.echo(printable(text), err=err)


def keep(text: str, level: int = logging.INFO) -> None:
    """Write what was printed to the log, if there is one."""
    if _now.file is not None and not isinstance(text, Document):
        _now.file.write(level, text)


def over(code: int) -> None:
    """The command line is over, with this exit code: say how long it took, and let the next one choose anew."""
    if _now.verbose or _now.file:
        LOGGER.debug("exit code %d after %s", code, duration(time.perf_counter() - _now.started))
    _now.undo.close()
    begin(())


def _flag(short: str, name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(short, name, is_flag=True, callback=_choose, is_eager=True, expose_value=False, help=text)


def _choose(_context: click.Context, option: click.Parameter, chosen: bool) -> None:
    if not chosen:
        return
    if option.name == "quiet":
        _now.quiet = True
    elif not _now.verbose:
        _now.verbose = True
        _listen(_Console(logging.DEBUG))


def _open_log(_context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    if _now.file is not None:
        _now.undo.close()
    _now.file = _LogFile(path)
    _listen(_now.file)
    if not _now.verbose:  # what Python's logging prints of itself, as long as nobody listens
        _listen(_Console(logging.WARNING))
    _now.file.write(logging.INFO, f"$ {shlex.join(['srcache', *_now.words])}")


def _listen(handler: logging.Handler) -> None:
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)

    def leave() -> None:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        handler.close()

    _now.undo.callback(leave)


def _opened(path: Path) -> IO[bytes]:
    try:
        kind = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISREG(kind) or stat.S_ISCHR(kind):
            return path.open("ab", buffering=0)
    except OSError as error:
        if error.errno in WRITING and path.parent.is_dir():
            raise not_written(error, path) from error
        raise ConfigError(f"--log-file {path} cannot be opened ({error.strerror}); name a file in a folder") from error
    raise ConfigError(f"--log-file {path} is no file that lines can be appended to; name another one")


class _Console(logging.Handler):
    """Shows records on stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        tqdm, at = sys.modules.get("tqdm"), time.strftime("%H:%M:%S", time.localtime(record.created))
        with tqdm.tqdm.external_write_mode(file=sys.stderr) if tqdm else nullcontext(), suppress(OSError, ValueError):
            show(f"{at} {record.name}: {record.getMessage()}", err=True)


class _LogFile(logging.Handler):
    """Appends records and what was said to a file, a line at a time; a disk that is full ends it, not the command."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: IO[bytes] | None = _opened(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        self.write(record.levelno, f"{record.name}: {record.getMessage()}")

    def write(self, level: int, text: str) -> None:
        """Append a text, each of its lines with the time."""
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {logging.getLevelName(level)} "
        lines = [line for line in printable(text).splitlines() if line.strip()]
        try:
            if self._file is not None:
                self._file.write("".join(f"{head}{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.close()
            show(f"srcache: nothing more is logged: {self._path}: {error.strerror}", err=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None
        super().close()
