"""The journal of failed entries."""

import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry that could not be made: why, in one word and a sentence, of which file, and how often it was tried."""

    name: str
    source: str
    reason: str
    detail: str
    tries: int = 1


def failures_by_reason(failed: Iterable[FailedEntry]) -> dict[str, int]:
    """How many failures each reason has, the most frequent first."""
    counts: dict[str, int] = {}
    for one in failed:
        counts[one.reason] = counts.get(one.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _failed(line: str) -> FailedEntry | None:
    """A journal's line; None for one that a crash cut short."""
    try:
        note = json.loads(line)
        return FailedEntry(note["name"], note["source"], note["reason"], note["detail"])
    except (ValueError, KeyError, TypeError):
        return None
