"""Confusion matrices as PNG: a row for each true class, a column for each predicted one, counts in the cells.

Drawn by matplotlib's Agg on a figure of its own, in its default style whatever the user's settings are; the same counts
give the same bytes. Names of classes are text and never markup: `$x$` is no formula. A class whose name has letters
that the typeface lacks is shown with its number.
"""

import io
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from srcache.errors import ConfigError, needs_extra

_LONGEST = 22
_COUNTED_UP_TO = 30


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> bytes:
    """A confusion matrix as PNG; colours are shares of a row, so that rare classes are seen as well as common ones.

    Raises:
        ConfigError: the counts are no square of the classes.
        MissingExtraError: matplotlib is not installed.
    """
    if not classes or len(counts) != len(classes) or any(len(row) != len(classes) for row in counts):
        raise ConfigError(f"expected {len(classes)} rows and columns of counts, one for each class, but got {counts}")
    with needs_extra("matplotlib", "eval", "drawing a confusion matrix"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        side = 2.6 + max(2.2, 0.5 * len(classes)) if len(classes) <= _COUNTED_UP_TO else 14.0
        figure = Figure(figsize=(side + 0.6, side), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure.add_subplot(), counts, [_label(place, name) for place, name in enumerate(classes, 1)], title)
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _fill(axes: Any, counts: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> None:
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class")
    places = range(len(labels))
    turned = max(map(len, labels)) * len(labels) > 24
    axes.set_xticks(places, labels, rotation=50 if turned else 0, ha="right" if turned else "center", parse_math=False)
    axes.set_yticks(places, labels, parse_math=False)
    if turned:
        for text in axes.get_xticklabels():
            text.set_rotation_mode("anchor")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    heading = textwrap.fill(_drawable(title), max(28, 5 * len(labels)), max_lines=3, placeholder=" …")
    axes.set_title(heading, parse_math=False, fontsize=11)
    if len(labels) > _COUNTED_UP_TO:
        return
    size = min(11.0, 46 / max(len(f"{count}") for row in counts for count in row))
    for row in places:
        for column in places:
            colour = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row][column]}", ha="center", va="center", color=colour, fontsize=size)


def _label(place: int, name: str) -> str:
    """A class's name, cut where it is long; with its number where letters are missing."""
    drawn = _drawable(name)
    if drawn != name or not drawn.strip():
        drawn = f"{place}: {drawn}"
    return drawn if len(drawn) <= _LONGEST else drawn[: _LONGEST - 1] + "…"


def _drawable(text: str) -> str:
    """The text in letters that the typeface has, others as □; control characters and line ends as spaces."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    letters = (" " if unicodedata.category(letter).startswith(("C", "Z")) else letter for letter in text)
    return "".join(letter if font.get_char_index(ord(letter)) else "□" for letter in letters)
