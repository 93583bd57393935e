"""Tables: a caption, headers with their scope, numbers to the right, and a frame that scrolls on a narrow screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srcache.html.markup import Child, Markup, prose, tag
from srcache.wording import real

HEATS = 8
"""Steps of shading; the page's style has a background for each (.heat0 …), readable under its ink."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell, and how: `heat` in [0, 1] shades it, `mark` is a class of the page's style."""

    content: Child
    heat: float | None = None
    mark: str = ""


def data_table(
    caption: Child, headers: Sequence[Child], rows: Sequence[Sequence[Child]], left: int = 1, label: str = ""
) -> Markup:
    """A table whose first column heads its rows. The first `left` columns hold words, the others numbers.

    `label` names the scrolling frame for a screen reader, where the caption is long.
    """
    head = tag("tr", [tag("th", header, scope="col", class_=_side(at, left)) for at, header in enumerate(headers)])
    body = [tag("tr", [_cell(cell, at, left) for at, cell in enumerate(row)]) for row in rows]
    table = tag("table", tag("caption", tag("div", caption)), tag("thead", head), tag("tbody", body))
    return framed(table, label or _plain(caption))


def framed(content: Child, label: str) -> Markup:
    """A frame that scrolls sideways, by keyboard too."""
    return tag("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def definitions(pairs: Sequence[tuple[Child, Child]]) -> Markup:
    """Terms and what they are; those without a value are left out."""
    shown = [(term, value) for term, value in pairs if value not in (None, "")]
    return tag("dl", [tag("div", tag("dt", term), tag("dd", value)) for term, value in shown], class_="facts")


def folded(summary: Child, *content: Child, **attributes: Any) -> Markup:
    """Content behind a summary that opens it."""
    return tag("details", tag("summary", summary), *content, **attributes)


def missing(what: str, made_by: str = "") -> Markup:
    """The sentence that stands where a part of the results is not there."""
    hint = f" {made_by}" if made_by else ""
    return tag("p", prose(f"Not in this report: {what}.{hint}"), class_="missing")


def shaded(content: Child, value: Any, low: float, high: float) -> Cell:
    """A cell shaded by where a value lies between two others."""
    plain = real(value)
    if plain is None:
        return Cell(content)
    return Cell(content, 0.0 if high <= low else min(1.0, max(0.0, (plain - low) / (high - low))))


def _cell(child: Child, at: int, left: int) -> Markup:
    cell = child if isinstance(child, Cell) else Cell(child)
    classes = [_side(at, left), cell.mark]
    if cell.heat is not None:
        classes.append(f"heat{min(HEATS - 1, int(cell.heat * HEATS))}")
    kind = {"scope": "row"} if at == 0 else {}
    return tag("th" if at == 0 else "td", cell.content, class_=" ".join(filter(None, classes)) or None, **kind)


def _side(at: int, left: int) -> str:
    return "" if at < left else "n"


def _plain(caption: Child) -> str:
    return "Table" if isinstance(caption, Markup) or not isinstance(caption, str) else caption
