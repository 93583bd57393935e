"""The images of a study: which are on the page, in which variants, and what is known of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.study.report.data.copies import MOST, ImageCopies
from srcache.study.report.data.question import asked_pair, study_pairs
from srcache.study.report.data.study import Study, inside
from srcache.wording import real

KINDS = {"lr": "LR", "bicubic": "Bicubic", "sr": "SR", "hr": "HR"}
"""The variants of an image and how they are written, from the poorest to the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A study's images as the page shows them.

    Attributes:
        rows: what `results.json` says of each image on the page, in its order.
        places: an image's name → its place in `rows`.
        every: the rows of all images, on the page or not, by name.
    """

    rows: tuple[dict[str, Any], ...]
    places: Mapping[str, int]
    every: Mapping[str, dict[str, Any]]


def make_gallery(study: Study, most: int = MOST) -> Gallery:
    """Choose the images of a page: all, or those on which arms differ first, then others evenly spread."""
    every = {row["name"]: row for row in study.mappings("images") if isinstance(row.get("name"), str)}
    chosen = set(_chosen(study, every, most))
    rows = tuple(row for name, row in every.items() if name in chosen)
    return Gallery(rows=rows, places={row["name"]: at for at, row in enumerate(rows)}, every=every)


def image_files(study: Study, shown: Gallery) -> Iterator[Path]:
    """The files of the images on the page."""
    for row in shown.rows:
        for kind in KINDS:
            path = study.file(row.get(kind))
            if path is not None:
                yield path


def lost_files(study: Study, shown: Gallery, copies: ImageCopies) -> list[str]:
    """Files that the results name but that are not there, or cannot be read, with the reason."""
    problems = []
    for row in shown.rows:
        for kind in KINDS:
            if row.get(kind) is None:
                continue
            path = study.file(row[kind])
            reason = "no such file in the folder" if path is None else copies.unreadable.get(path)
            if reason:
                problems.append(f"{row[kind]} ({reason})")
    return problems


def figures(row: dict[str, Any]) -> list[tuple[str, str, float]]:
    """An image's quality as (variant, metric, value)."""
    quality = inside(row, dict, "quality") or {}
    found = []
    for kind in KINDS:
        for metric, value in (inside(quality, dict, kind) or {}).items():
            plain = real(value)
            if plain is not None:
                found.append((kind, str(metric), plain))
    return found


def answer(row: dict[str, Any], arm: str) -> tuple[str, bool] | None:
    """An arm's prediction for an image, and whether it is right; None where there is none."""
    given = inside(row, dict, "predictions", arm)
    if given is None or given.get("label") is None:
        return None
    return str(given["label"]), bool(given.get("right"))


def mixed_order(study: Study, shown: Gallery) -> list[int]:
    """The places of all images on the page: first those on which the arms of the question disagree, then those on which
    others do, then the rest; within each, one image of every class in turn."""
    asked = asked_pair(study)
    groups: tuple[list[int], ...] = ([], [], [])
    disputed = {name for pair in study_pairs(study) for name in (*pair.b_names, *pair.c_names)}
    for place, row in enumerate(shown.rows):
        answers = [answer(row, arm) for arm in asked or ()]
        apart = len({given[1] for given in answers if given is not None}) > 1
        groups[0 if apart else 1 if row["name"] in disputed else 2].append(place)
    return [place for group in groups for place in _in_turn(shown, group)]


def _in_turn(shown: Gallery, places: list[int]) -> list[int]:
    """Places by turns of their classes: the first of every class, then the second of every class."""
    turns: dict[str, int] = {}
    order = []
    for place in places:
        label = str(shown.rows[place].get("label"))
        turns[label] = turns.get(label, -1) + 1
        order.append((turns[label], list(turns).index(label), place))
    return [place for *_, place in sorted(order)]


def _chosen(study: Study, every: Mapping[str, dict[str, Any]], most: int) -> list[str]:
    names = list(every)
    if len(names) <= most:
        return names
    disputed = {name for pair in study_pairs(study) for name in (*pair.b_names, *pair.c_names)}
    first = [name for name in names if name in disputed][:most]
    taken = set(first)
    rest = [name for name in names if name not in taken]
    room = min(most - len(first), len(rest))
    return first + [rest[at * len(rest) // room] for at in range(room)]
