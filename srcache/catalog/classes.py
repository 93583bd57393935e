"""The numbers of classes: a folder's are those of its class folders, a CSV file's those of its labels.

A number is a class's place in `Catalog.classes`. It must not depend on which images were found: a network that learnt
from one folder is asked about another one, in which a class may have no image.
"""

import re
from collections.abc import Collection, Iterable

from srcache.errors import listed

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOTHING = {"nan", "none", "null", "na", "n/a"}
MOST_CLASSES = 100_000
"""Whole numbers below this may be class numbers; larger ones are something else, such as dates."""


def classes_of_folders(
    labels: Iterable[str | None], folders: Iterable[str], caches: Collection[str] = ()
) -> tuple[str, ...]:
    """The classes that folders are, as text, with and without images; none if images have no labels.

    Args:
        labels: of the images.
        folders: the names of the folders beside each other, in any order.
        caches: those of them that are caches, and no classes as long as no image lies in them.
    """
    with_images = {label for label in labels if label is not None}
    return tuple(sorted(with_images | (set(folders) - set(caches)))) if with_images else ()


def classes_of_labels(labels: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The classes that labels name, in the order of their numbers; and why there are none, if they cannot be classes.

    Whole numbers stay the numbers that they are, with names for numbers in between too: `0, 2` has the classes 0, 1, 2,
    and `0.0, 2.0` as well, in their own spelling. Any other texts are names, in the order of text.
    """
    texts = sorted(set(labels))
    others = [text for text in texts if not _NUMBER.fullmatch(text)]
    if others and (len(others) == len(texts) or {text.lower() for text in others} - _NOTHING):
        return tuple(texts), ""
    wrong = others or [text for text in texts if float(text) < 0 or not float(text).is_integer()]
    if wrong:
        return (), _refusal(f"among them {listed(wrong, 3)}")
    spelled: dict[int, str] = {}
    for text in texts:
        if (same := spelled.setdefault(int(float(text)), text)) != text:
            return (), _refusal(f"and one of them is spelled {same} and {text}")
    if texts and max(spelled) >= MOST_CLASSES:
        return (), _refusal(f"up to {max(spelled)}")
    return tuple(spelled.get(number, str(number)) for number in range(max(spelled, default=-1) + 1)), ""


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Classes of labels that were accepted long ago: as `classes_of_labels`, but what cannot be classes is text."""
    texts = set(labels)
    classes, refusal = classes_of_labels(texts)
    return tuple(sorted(texts)) if refusal else classes


def _refusal(what: str) -> str:
    return (
        f"its labels are numbers, {what}; class numbers are whole and count from 0, so write names of classes instead "
        "(a number to learn, such as an age, is no class: serve it from a data set of your own)"
    )
