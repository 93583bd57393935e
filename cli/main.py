"""`srcache`: one command per file, imported when it is called; one place turns errors into exit codes.

Exit codes: 0 ok · 1 some inputs failed (listed) · 2 usage or configuration · 3 something on disk is damaged ·
4 the machine failed (disk, device, a missing package or weights) · 70 internal error · 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import click

import srcache
from srcache.errors import MachineError, SrcacheError
from srcache.wording import counted

from .interrupts import AGAIN, INTERRUPTED, Stopping, command_of, is_resumed
from .lazy import LazyGroup
from .output import echo, error_document, note
from .saying import begin, over, saying_options
from .streams import open_streams, silence

COMMANDS = (
    "quickstart",
    "prepare",
    "scan",
    "build",
    "warm",
    "upscale",
    "serve",
    "train",
    "predict",
    "eval",
    "experiment",
    "info",
    "view",
    "verify",
    "repair",
    "explain",
    "safety",
    "prune",
    "export",
    "merge",
    "report",
    "engines",
    "models",
    "doctor",
)
"""In the order in which people need them; each is `command` in the module of its name."""

INTERNAL = 70
_AT_ONCE = "interrupted twice; it stopped at once"


@click.group(
    cls=LazyGroup,
    modules={name: name for name in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@saying_options
@click.version_option(srcache.__version__, prog_name="srcache")
def cli() -> None:
    """Super-resolve once, train many times.

    LR and HR are images of low and of high resolution; SR images are super-resolved LR images.

    \b
    srcache quickstart                                      see it work on embedded images
    srcache build PHOTOS --cache CACHE --recipe bicubic     fill a cache
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name); returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    begin(words)
    code = INTERNAL
    try:
        code = _run(words)
        return code
    finally:
        _tell_warnings()
        over(code)


def _run(words: list[str]) -> int:
    try:
        code = cli.main(args=words, prog_name="srcache", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(words, error.format_message(), "UsageError", 2, _usage(error))
    except SrcacheError as error:
        return _fail(words, str(error), type(error).__name__, error.exit_code, failures=getattr(error, "failures", ()))
    except (KeyboardInterrupt, click.Abort) as stop:
        return _fail(words, _interrupted(stop, words), "Interrupted", INTERRUPTED)
    except BrokenPipeError:
        silence(1)
        return 1
    except Exception as error:
        if os.environ.get("SRCACHE_DEBUG"):
            raise
        return _unexplained(words, error)


def _unexplained(words: list[str], error: Exception) -> int:
    """The exit code of an error that no function explained: the system's, or a bug."""
    from srcache.files.system_errors import from_system

    if (found := from_system(error)) is not None:
        return _fail(words, str(found), type(found).__name__, found.exit_code)
    text = f"internal error ({type(error).__name__}: {error}); this is a bug in srcache; "
    return _fail(words, text + "SRCACHE_DEBUG=1 shows where it happened", "InternalError", INTERNAL)


def main() -> NoReturn:
    """The console script. SIGTERM, which clusters send before they kill a process, is handled like Ctrl-C."""
    words = sys.argv[1:]
    open_streams("--json" in words)
    command = command_of(words, COMMANDS)
    document = error_document(command, _AT_ONCE, "Interrupted", INTERRUPTED) + "\n" if "--json" in words else None
    stopping = Stopping(command, _advice(words), document)
    stopping.install()
    stopping.code = run()
    sys.exit(stopping.code)


def _tell_warnings() -> None:
    """What Pillow had to say of images that were read, once, and counted."""
    apart = sys.modules.get("srcache.images.apart")
    told = apart.told_of() if apart is not None else {}
    for text, images in sorted(told.items(), key=lambda item: (-item[1], item[0])):
        note(f"note: Pillow says of {counted(images, 'image')}, used all the same: {text}", err=True)


def _fail(
    words: list[str], message: str, kind: str, code: int, usage: str = "", failures: Sequence[object] = ()
) -> int:
    if "--json" in words:
        with suppress(MachineError):  # the message below is all that can be said
            echo(error_document(command_of(words, COMMANDS), message, kind, code, failures))
    echo(f"{usage}srcache: {message}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return ""
    return f"{context.get_usage()}\nTry '{context.command_path} --help'.\n"


def _interrupted(stop: BaseException, words: Sequence[str]) -> str:
    report = getattr(stop, "report", None) or getattr(stop.__cause__, "report", None)  # click wraps what it catches
    if report is None:
        return f"interrupted{_advice(words)}"
    return f"interrupted; the batch in hand was finished: {report.added} added, {report.left} left{AGAIN}"


def _advice(words: Sequence[str]) -> str:
    return AGAIN if is_resumed(command_of(words, COMMANDS), words) else ""


if __name__ == "__main__":
    main()
