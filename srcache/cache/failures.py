"""Journals of entries that could not be made: one JSON object a line, appended, readable after a crash.

Every process that fills a folder together with others writes a journal of its own; readers join all of them.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.files import append_line
from srcache.files.documents import Shape, parse_json


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


_NOTE: Shape = {**dict.fromkeys(("name", "source", "reason", "detail"), str), "time?": float}
"""What a line of a journal holds."""


def _notes(journal: Path) -> list[tuple[float, FailedEntry]]:
    """A journal's failures, each with its time; one without a time has that of the line before."""
    found, last = list[tuple[float, FailedEntry]](), 0.0
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines() if journal.exists() else ():
        try:
            note = parse_json(line, _NOTE)
            name, source, reason, detail = (str(note[field]) for field in ("name", "source", "reason", "detail"))
            last = float(note.get("time", last))
        except (ValueError, KeyError, TypeError, AttributeError):  # a crash cut it short
            continue
        found.append((last, FailedEntry(name, source, reason, detail)))
    return found
