"""Journals of entries that could not be made: one JSON object a line, appended, readable after a crash.

Every process that fills a folder together with others writes a journal of its own; readers join all of them. A journal
is a log: a line that cannot be read is left out by who reads it, told by `verify`, and set aside by `repair`. One that
a crash cut short is no damage.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.catalog.listing import LOOP, Problem
from srcache.errors import DamagedError, ImageError, listed
from srcache.files import append_line
from srcache.files.documents import Shape, parse_json
from srcache.files.folders import paths_in
from srcache.files.system_errors import reading
from srcache.images.room import NO_MEMORY

_START = b'{"name": "'
"""How every line begins."""


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry that could not be made.

    Attributes:
        name: the entry's; empty for a file that has no key.
        source: the file, relative to what was built from.
        reason: one word, for counting.
        detail: a sentence.
        tries: how often it was tried.
    """

    name: str
    source: str
    reason: str
    detail: str
    tries: int = 1


def read_failures(journals: Iterable[Path]) -> dict[str, FailedEntry]:
    """The latest failure of each entry, with the number of tries; entries made since then are still listed."""
    notes = [note for journal in journals for note in _notes(journal)]
    found: dict[str, FailedEntry] = {}
    for _, note in sorted(notes, key=lambda dated: dated[0]):
        tries = found[note.name].tries + 1 if note.name in found else 1
        found[note.name] = replace(note, tries=tries)
    return found


def append_failure(journal: Path, failed: FailedEntry) -> None:
    """Append one failure, and when it came (seconds since 1970)."""
    note = {"name": failed.name, "source": failed.source, "reason": failed.reason, "detail": failed.detail}
    append_line(journal, json.dumps({**note, "time": round(time.time(), 3)}))


def failures_by_reason(failed: Iterable[FailedEntry]) -> dict[str, int]:
    """How many failures each reason has, the most frequent first."""
    counts: dict[str, int] = {}
    for one in failed:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def in_order(failed: Iterable[FailedEntry]) -> tuple[FailedEntry, ...]:
    """Failures by their source and name, whichever thread, process or machine told one first."""
    return tuple(sorted(failed, key=lambda one: (one.source, one.name, one.reason, one.detail)))


def not_catalogued(problems: Iterable[Problem]) -> tuple[FailedEntry, ...]:
    """Files that a catalog lacks, but for links that lead back to a folder above them: nothing is lost with those."""
    lost = (problem for problem in problems if problem.reason != LOOP)
    return tuple(FailedEntry("", problem.name, problem.reason, problem.detail) for problem in lost)


def failed_image(name: str, source: str, error: Exception) -> FailedEntry:
    """What is noted of an image that raised an error: its reason, and its words without the name in front of them.

    Args:
        name: of the entry that was wanted; empty if none was.
        source: the image.
        error: an ImageError, a MissError for an SR image that is not there, or a MemoryError.
    """
    if isinstance(error, MemoryError):
        return FailedEntry(name, source, "out_of_memory", NO_MEMORY)
    if not isinstance(error, ImageError):
        return FailedEntry(name, source, "missing", str(error).partition("; ")[0])  # what to do is said once, not here
    return FailedEntry(name, source, error.reason, str(error).removeprefix(f"{source}: "))


_NOTE: Shape = {**dict.fromkeys(("name", "source", "reason", "detail"), str), "time?": float}
"""What a line of a journal holds."""


def journals_of(home: Path) -> list[Path]:
    """The journals of a recipe's folder, that of the days of one writer first."""
    return [home / "failures.jsonl", *paths_in(home / "failures", "*.jsonl")]


def readable_journals(home: Path) -> dict[Path, DamagedError]:
    """What is wrong with each journal of a recipe's folder that holds lines which cannot be read."""
    damaged = dict[Path, DamagedError]()
    for journal in journals_of(home):
        try:
            bad = [number for number, line in enumerate(_lines(journal), start=1) if _note(line) is None]
        except OSError as error:
            damaged[journal] = DamagedError(f"{journal} cannot be read ({error.strerror})")
            continue
        if bad:
            which = f"line {bad[0]}" if len(bad) == 1 else f"lines {listed(bad)}"
            damaged[journal] = DamagedError(f"{which} of {journal} cannot be read; `srcache repair` sets a copy aside")
    return damaged


def readable_lines(journal: Path) -> bytes:
    """A journal without the lines that cannot be read."""
    return b"".join(line + b"\n" for line in _lines(journal) if _note(line) is not None)


def _notes(journal: Path) -> list[tuple[float, FailedEntry]]:
    """A journal's failures, each with its time; one without a time has that of the line before."""
    found, last = list[tuple[float, FailedEntry]](), 0.0
    try:
        notes = [_note(line) for line in _lines(journal)]
    except OSError:
        return []
    for time_of_one, failed in filter(None, notes):
        last = last if time_of_one is None else time_of_one
        found.append((last, failed))
    return found


def _lines(journal: Path) -> list[bytes]:
    """The lines that were written to their end: all that are not empty and not cut short."""
    with reading(journal):
        data = journal.read_bytes() if journal.exists() else b""
    return [line for line in data.split(b"\n") if line and not _is_cut_short(line)]


def _is_cut_short(line: bytes) -> bool:
    return line.startswith(_START[: len(line)]) and not line.endswith(b"}")


def _note(line: bytes) -> tuple[float | None, FailedEntry] | None:
    """A line's failure and its time; None if it cannot be read."""
    try:
        note = parse_json(line, _NOTE)
    except ValueError:
        return None
    moment = note.get("time")
    fields = (note[field] for field in ("name", "source", "reason", "detail"))
    return (None if moment is None else float(moment)), FailedEntry(*fields)
