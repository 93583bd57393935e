"""Journals of entries that could not be made: one JSON object a line, appended, readable after a crash.

Every process that fills a folder together with others writes a journal of its own; readers join all of them.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.catalog.listing import LOOP, Problem
from srcache.errors import ImageError
from srcache.files import append_line
from srcache.files.documents import Shape, parse_json
from srcache.files.system_errors import reading


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
        return FailedEntry(name, source, "out_of_memory", "the image does not fit into this machine's memory")
    if not isinstance(error, ImageError):
        return FailedEntry(name, source, "missing", str(error).partition("; ")[0])  # what to do is said once, not here
    return FailedEntry(name, source, error.reason, str(error).removeprefix(f"{source}: "))


_NOTE: Shape = {**dict.fromkeys(("name", "source", "reason", "detail"), str), "time?": float}
"""What a line of a journal holds."""


def _notes(journal: Path) -> list[tuple[float, FailedEntry]]:
    """A journal's failures, each with its time; one without a time has that of the line before."""
    found, last = list[tuple[float, FailedEntry]](), 0.0
    with reading(journal):
        text = journal.read_text(encoding="utf-8", errors="replace") if journal.exists() else ""
    for line in text.splitlines():
        try:
            note = parse_json(line, _NOTE)
            name, source, reason, detail = (str(note[field]) for field in ("name", "source", "reason", "detail"))
            last = float(note.get("time", last))
        except (ValueError, KeyError, TypeError, AttributeError):  # a crash cut it short
            continue
        found.append((last, FailedEntry(name, source, reason, detail)))
    return found
