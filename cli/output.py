"""How commands write: JSON documents, tables and lists."""

import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from srcache.errors import MachineError
from srcache.wording import printable_json

from .saying import Document, is_quiet, keep, show
from .streams import silence

if TYPE_CHECKING:
    from srcache.cache import FailedEntry
    from srcache.catalog import Catalog
    from srcache.catalog.treated import Treatment

_MOST = 10
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?( %)?|< 0\.0001|inf|nan|[–∞]")
"""What is aligned to the right in a table: a number as `srcache.wording` writes it, and the signs for none."""

_DAMAGE = ("bad_record", "checksum", "damaged", "damaged_before")
"""Reasons for which an entry or a file of a cache was left out: it is not what was written."""


def document(command: str, result: Any, failures: Iterable[Any] = (), ok: bool = True) -> str:
    """The JSON document of a command: schema, ok, result, failures.

    Args:
        command: its name; `eval`'s, say, for all that `srcache eval` does.
        result: JSON values, dataclasses and paths, also inside each other. A number that JSON cannot hold becomes null
            beside a `…_reason`.
        failures: what could not be done, in values of the same kinds.
        ok: whether everything was done.
    """
    return _json(command, ok, _plain(result), [_plain(failure) for failure in failures])


def error_document(command: str, message: str, kind: str, code: int, failures: Iterable[Any] = ()) -> str:
    """The JSON document of a command that could not do its work; `failures` if that is because of some images."""
    failed = [_plain(failure) for failure in failures]
    return _json(command, False, None, failed, error={"kind": kind, "message": message, "exit_code": code})


def echo(text: str, err: bool = False, level: int | None = None) -> None:
    """Print a text, in which names of files may be: what a terminal would take for a command is shown, not sent.

    Args:
        text: one or more lines.
        err: whether they go to stderr.
        level: what they are in a log; if left out, an error on stderr, else a result.

    Raises:
        MachineError: stdout takes nothing more; on stderr that is passed over, for nobody is there to read it.
        BrokenPipeError: nobody reads stdout any more.
    """
    keep(text, level or (logging.ERROR if err else logging.INFO))
    try:
        show(text, err)
    except BrokenPipeError:
        raise
    except OSError as error:
        silence(2 if err else 1)
        if not err:
            what = f"what the command had to say could not be written to stdout ({error.strerror})"
            raise MachineError(f"{what}, but what was done is kept") from error


def note(text: str, err: bool = False) -> None:
    """Print how far something is, or what is good to know: all that `-q` leaves out, and a log has all the same."""
    if is_quiet():
        keep(text)
        return
    tqdm = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode(file=sys.stderr if err else sys.stdout) if tqdm else nullcontext():
        echo(text, err, logging.INFO)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings, a line each, to stderr."""
    for warning in warnings:
        echo(f"warning: {warning}", err=True)


def attributes(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of a report as a mapping, in this order: the `result` of a document."""
    return {name: getattr(value, name) for name in names}


def table(rows: Sequence[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Aligned columns; those of numbers, also in texts such as `82.4 %`, to the right, all others to the left."""
    body = [[_cell(cell) for cell in row] for row in rows]
    right = [all(map(_NUMBER.fullmatch, column)) for column in zip(*body, strict=True)] or [False] * len(headers)
    lines = [headers, *body] if headers else body
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if align else cell.ljust(width)
            for cell, width, align in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def first_lines(items: Sequence[object], most: int = _MOST) -> str:
    """The first few of many things, one an indented line, and how many more there are."""
    shown = [f"  {item}" for item in items[:most]]
    return "\n".join(shown if len(items) <= most else [*shown, f"  … and {len(items) - most} more (--json lists all)"])


def treatment_lines(done: "Treatment") -> None:
    """Say what was done to images beside what was asked for, and warn of classes without images; nothing else."""
    if str(done):
        note(str(done))
    for warning in done.warnings:
        echo(f"srcache: {warning}", err=True)


def left_out(catalog: "Catalog") -> "list[FailedEntry]":
    """The files that a catalog lacks, as failures."""
    from srcache.cache import FailedEntry

    return [FailedEntry("", problem.name, problem.reason, problem.detail) for problem in catalog.problems]


def nothing_lost(failures: "Sequence[FailedEntry]") -> bool:
    """Whether all that failed are links that lead back to a folder above them: no image is lost with those."""
    from srcache.catalog.listing import LOOP

    return all(failure.reason == LOOP for failure in failures)


def left_out_rows(failures: "Sequence[FailedEntry]") -> list[tuple[str, int, str]]:
    """The rows of a table that count the files which a catalog lacks, and links that are not followed; none without."""
    from srcache.catalog.listing import LOOP

    loops = sum(failure.reason == LOOP for failure in failures)
    counts = (
        ("not catalogued", len(failures) - loops, "files that could not be read or are outside the folder"),
        ("not followed", loops, "links that lead back to a folder above them; nothing is lost with those"),
    )
    return [row for row in counts if row[1]]


def failure_lines(failures: Sequence[Any]) -> str:
    """The first few failures as `reason: source: detail`, one a line, and how many more there are."""
    return first_lines([f"{one.reason}: {one.source}: {one.detail}" for one in failures])


def failed_code(failures: Sequence[Any]) -> int:
    """The exit code of a command that went on beside failures: 0 without any, 3 if a cache is damaged, else 1."""
    return (3 if any(one.reason in _DAMAGE for one in failures) else 1) if failures else 0


def finding_lines(findings: Sequence[Any]) -> str:
    """The first few things that are damaged as `reason: name: detail`, one a line, and how many more there are."""
    return first_lines([f"{one.reason}: {one.name or one.source}: {one.detail}" for one in findings])


def reasons(counts: Mapping[str, int]) -> str:
    """How often each reason for a failure was met: `empty 1, truncated 3`."""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _json(command: str, ok: bool, result: Any, failures: list[Any], **more: Any) -> str:
    plain = {"schema": f"srcache.{command}/1", "ok": ok, "result": result, "failures": failures, **more}
    return Document(printable_json(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else str(value)
    return str(value)


def _plain(value: Any) -> Any:
    """Plain JSON values; a number that JSON cannot hold becomes null beside a `…_reason`."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        plain = {str(key): _plain(inner) for key, inner in value.items()}
        undefined = {
            f"{key}_reason": "undefined" if math.isnan(inner) else "infinite"
            for key, inner in value.items()
            if isinstance(inner, float) and not math.isfinite(inner)
        }
        return {**plain, **undefined}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
