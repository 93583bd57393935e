"""The journal of entries that could not be made: one JSON object a line, appended, readable after a crash."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from srcache.files import append_line


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


def read_failures(journal: Path) -> dict[str, FailedEntry]:
    """The latest failure of each entry, with the number of tries; entries made since then are still listed."""
    found: dict[str, FailedEntry] = {}
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines() if journal.exists() else ():
        note = _parsed(line)
        if note is not None:
            tries = found[note.name].tries + 1 if note.name in found else 1
            found[note.name] = FailedEntry(note.name, note.source, note.reason, note.detail, tries)
    return found


def append_failure(journal: Path, failed: FailedEntry) -> None:
    """Append one failure."""
    note = {"name": failed.name, "source": failed.source, "reason": failed.reason, "detail": failed.detail}
    append_line(journal, json.dumps(note))


def failures_by_reason(failed: Iterable[FailedEntry]) -> dict[str, int]:
    """How many failures each reason has, the most frequent first."""
    counts: dict[str, int] = {}
    for one in failed:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _parsed(line: str) -> FailedEntry | None:
    """A journal's line; None for one that a crash cut short."""
    try:
        note = json.loads(line)
        return FailedEntry(note["name"], note["source"], note["reason"], note["detail"])
    except (ValueError, KeyError, TypeError):
        return None
