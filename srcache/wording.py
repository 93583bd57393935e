"""Numbers, times, sizes and lists as text for people: tables, reports and messages; anything else becomes a dash."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What is no character to be seen: controls, of which a terminal makes commands, others that turn a line's direction,
and the bytes of a name that are not UTF-8, as Python keeps them. Line breaks and tabs are seen."""

NOTHING = "–"
"""Stands for a value that is missing, or is no finite number."""


def printable(text: str) -> str:
    """Text as a terminal may have it: what a file's name makes of it cannot be a command; ESC becomes `\\x1b`."""
    return _UNSEEN.sub(_escaped, text)


def printable_json(text: str) -> str:
    """The same for a JSON document, in which such characters have a form of their own that means the same."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def real(value: Any) -> float | None:
    """The value as a float if it is a finite number (True and False are none), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        plain = float(value)
    except OverflowError:
        return None
    return plain if math.isfinite(plain) else None


def percent(value: Any, places: int = 1) -> str:
    """0.824 → 82.4 %."""
    share = real(value)
    return NOTHING if share is None else f"{100 * share:.{places}f} %"


def percent_range(low: Any, high: Any) -> str:
    """0.79, 0.86 → 79.0 to 86.0 %."""
    ends = real(low), real(high)
    return NOTHING if None in ends else f"{_points(ends[0])} to {_points(ends[1])} %"


def points(value: Any) -> str:
    """A difference of two shares in percentage points, with its sign: 0.02 → +2.0."""
    share = real(value)
    return NOTHING if share is None else f"{100 * share + 0.0:+.1f}".replace("-", "−")


def points_range(low: Any, high: Any) -> str:
    """−0.015, 0.046 → −1.5 to +4.6."""
    ends = real(low), real(high)
    return NOTHING if None in ends else f"{points(ends[0])} to {points(ends[1])}"


def p_value(value: Any, alpha: float | None = None) -> str:
    """A p-value with four decimals, or with eight if four would show it on the wrong side of `alpha`; `< 0.0001` below.

    Args:
        value: the p-value.
        alpha: the level that it is compared with, if any; a p-value equal to it counts as below.
    """
    p = real(value)
    if p is None:
        return NOTHING
    if p < 0.0001:
        return "< 0.0001"
    text = f"{p:.4f}"
    return text if alpha is None or (float(text) <= alpha) == (p <= alpha) else f"{p:.8f}"


def number(value: Any, places: int = 3) -> str:
    """A number with so many decimal places; an integer without any."""
    plain = real(value)
    if plain is None:
        return NOTHING
    if isinstance(value, int):
        return str(value)
    return f"{plain:.{places}f}".replace("-", "−")


def duration(seconds: Any) -> str:
    """A time in seconds, minutes or hours: 312.4 → 5.2 min."""
    span = real(seconds)
    if span is None:
        return NOTHING
    if span < 60:
        return f"{span:.1f} s"
    return f"{span / 60:.1f} min" if span < 3600 else f"{span / 3600:.1f} h"


def about(seconds: float) -> str:
    """A time that is only roughly known: 58 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def counted(count: int, thing: str) -> str:
    """A count and what is counted, in the singular or the plural: 1 image, 2 images; 1 class, 2 classes."""
    if count == 1:
        return f"1 {thing}"
    return f"{count} {thing}es" if thing.endswith("s") else f"{count} {thing}s"


def of_all(count: int, whole: int) -> str:
    """A count, and of how many if that is not all: 33, or 7 of 33."""
    return str(count) if count >= whole else f"{count} of {whole}"


def human_bytes(count: float) -> str:
    """A number of bytes in binary units: 1536 → 1.5 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def enumeration(names: Sequence[str]) -> str:
    """A list of names as in a sentence: A, B and C."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _points(share: float | None) -> str:
    return f"{100 * (share or 0):.1f}".replace("-", "−")


def meant(name: str, known: Iterable[str]) -> str:
    """In a message about a name that is none, the question whether another was meant, with a blank; empty without."""
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}? " if near else ""


def near_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """What may have been meant by a name that is none: names that begin with it, then those that differ little."""
    from difflib import get_close_matches

    folded = {one.casefold(): one for one in known}
    begun = [one for one in folded if len(name) > 1 and one.startswith(name.casefold())]
    near = get_close_matches(name.casefold(), folded, n=most)
    return [folded[one] for one in dict.fromkeys([*begun, *near])][:most]
