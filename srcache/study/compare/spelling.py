"""One spelling for each class in all prediction files: a class that is written in two ways is right in one of them.

Two names are one class in two spellings if they are equal as numbers (1, 1.0, 01), or but for capitals, outer spaces,
hyphens and underscores. Names and indices (cat, 3) have no letter in common; they show by predictions that are nobody's
label. A file that names both (by columns `p_<class>`) has two classes there, such as the letters a and A.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from srcache.errors import listed

_BLANKS = re.compile(r"[\s_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The classes that a file predicts, and those that it says there are; none where it does not say."""

    predicted: frozenset[str]
    declared: frozenset[str]


def spelling_mistakes(labels: Collection[str], many: Mapping[str, Vocabulary]) -> Iterator[str]:
    """What is wrong with the words of files that are to be compared, a line for each; nothing without labels.

    Args:
        labels: of all images.
        many: each file's words, by its title.
    """
    if not labels:
        return
    for title, words in many.items():
        strange = sorted(words.predicted - set(labels))
        variants = [(word, other) for word in strange if (other := _variant(word, labels, words.declared))]
        if variants:
            pairs = listed([f"{word!r} where the labels say {other!r}" for word, other in variants])
            yield f"{title} writes {pairs}"
        elif strange and not words.predicted & set(labels) and not words.declared & set(labels):
            said, known = (listed([repr(word) for word in sorted(found)]) for found in (words.predicted, labels))
            yield f"no prediction of {title} is the label of any image: it predicts {said}, but labels are {known}"
    yield from _between_files(labels, many)


def _between_files(labels: Collection[str], many: Mapping[str, Vocabulary]) -> Iterator[str]:
    """Spellings in which two files differ, of classes that no image has."""
    seen: dict[str, tuple[str, str]] = {}
    for title, words in many.items():
        for word in sorted((words.predicted | words.declared) - set(labels)):
            before, spelling = seen.setdefault(_plain(word), (title, word))
            both = {word, spelling}
            if spelling != word and not any(both <= one.declared for one in many.values()):
                yield f"{title} writes {word!r} where {before} writes {spelling!r}"


def _variant(word: str, labels: Collection[str], declared: Collection[str]) -> str | None:
    """The label of which a word is another spelling."""
    return next(
        (
            label
            for label in sorted(labels)
            if _plain(label) == _plain(word) and not (word in declared and label in declared)
        ),
        None,
    )


def _plain(word: str) -> str:
    """What all spellings of a class have in common."""
    text = _BLANKS.sub(" ", unicodedata.normalize("NFC", word).casefold()).strip()
    try:
        value = float(text)
    except ValueError:
        return text
    return repr(value + 0.0) if math.isfinite(value) else text
