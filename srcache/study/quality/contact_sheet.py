"""Contact sheets: rows of images side by side, with titles, captions and notes, for people to look at.

Small images are enlarged by repeating their pixels an integer number of times, so that what is seen is what is there;
large ones are shrunk to fit. Only Pillow and its built-in typeface are used. That has ASCII and little more: accents
are left out, and a letter that it cannot draw becomes a question mark.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srcache.errors import ConfigError
from srcache.images import Pixels

PAPER = (252, 252, 250)
INK = (32, 34, 38)
FAINT = (112, 116, 124)

_MARGIN = 32
_GAP = 14
_SIGNS = str.maketrans({"×": "x", "÷": "/", "–": "-", "—": "-", "…": "...", "±": "+/-", "→": "->", "’": "'"})
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """One line of a sheet: a caption at its left, images, and a note below each (empty, or as many as images)."""

    caption: str
    images: Sequence[Pixels]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is to be drawn.

    Attributes:
        columns: one title per image of a row.
        rows: at least one.
        heading, footing: lines above and below everything; empty for none.
        cell: the square that each image is fitted into, in pixels.
    """

    columns: Sequence[str]
    rows: Sequence[SheetRow]
    heading: str = ""
    footing: str = ""
    cell: int = 192

    def __post_init__(self) -> None:
        if not (self.rows and self.columns) or self.cell < 16:
            raise ConfigError("a sheet needs at least one row, one column and cells of at least 16 pixels")
        for row in self.rows:
            if len(row.images) != len(self.columns) or len(row.notes) not in (0, len(self.columns)):
                raise ConfigError(
                    f"expected {len(self.columns)} images (and as many notes, or none) in row {row.caption!r}, "
                    f"but got {len(row.images)} and {len(row.notes)}"
                )


def draw_sheet(sheet: Sheet) -> Pixels:
    """A sheet as one picture, uint8 RGB of shape (height, width, 3); the same sheet gives the same pixels."""
    page = _Page.planned(sheet)
    image = Image.new("RGB", page.size, PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN), drawable(sheet.heading), fill=INK, font=_font(22))
    for place, title in enumerate(sheet.columns):
        pen.text((page.middle(place), page.top - 10), drawable(title), fill=INK, font=_font(18), anchor="ms")
    for number, row in enumerate(sheet.rows):
        _draw_row(image, pen, page, number, row)
    pen.text((_MARGIN, page.size[1] - _MARGIN), drawable(sheet.footing), fill=FAINT, font=_font(14), anchor="ls")
    return np.asarray(image)


def drawable(text: str) -> str:
    """One line in the letters that the typeface has; others lose their accents or become a question mark."""
    plain = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    letters = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in letters)


def fitted(rgb: Pixels, cell: int) -> Pixels:
    """An image enlarged by the largest integer factor that fits into a square of `cell` pixels, or shrunk to fit."""
    height, width = rgb.shape[:2]
    times = cell // max(height, width)
    if times:
        return rgb.repeat(times, axis=0).repeat(times, axis=1)
    image = Image.fromarray(rgb)
    image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return np.asarray(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Where things lie, in pixels."""

    cell: int
    left: int
    top: int
    step: int
    size: tuple[int, int]

    @classmethod
    def planned(cls, sheet: Sheet) -> "_Page":
        step = sheet.cell + _GAP + (20 if any(row.notes for row in sheet.rows) else 0)
        captions = max(_width(row.caption, 18) for row in sheet.rows)
        left = _MARGIN + (captions + 20 if captions else 0)
        top = _MARGIN + 34 + (40 if sheet.heading else 0)
        images = left + len(sheet.columns) * (sheet.cell + _GAP) - _GAP
        widest = max(images, _MARGIN + _width(sheet.heading, 22), _MARGIN + _width(sheet.footing, 14))
        bottom = top + len(sheet.rows) * step - _GAP + (38 if sheet.footing else 0)
        return cls(cell=sheet.cell, left=left, top=top, step=step, size=(widest + _MARGIN, bottom + _MARGIN))

    def corner(self, place: int, number: int) -> tuple[int, int]:
        return self.left + place * (self.cell + _GAP), self.top + number * self.step

    def middle(self, place: int) -> int:
        return self.corner(place, 0)[0] + self.cell // 2


def _draw_row(image: Image.Image, pen: ImageDraw.ImageDraw, page: _Page, number: int, row: SheetRow) -> None:
    _, top = page.corner(0, number)
    pen.multiline_text(
        (_MARGIN, top + page.cell // 2), _lines(row.caption), fill=INK, font=_font(18), anchor="lm", spacing=6
    )
    for place, rgb in enumerate(row.images):
        left, _ = page.corner(place, number)
        shown = fitted(rgb, page.cell)
        height, width = shown.shape[:2]
        image.paste(Image.fromarray(shown), (left + (page.cell - width) // 2, top + (page.cell - height) // 2))
    for place, note in enumerate(row.notes):
        pen.text((page.middle(place), top + page.cell + 4), drawable(note), fill=FAINT, font=_font(14), anchor="ma")


def _lines(text: str) -> str:
    """A text of one or more lines, in letters that can be drawn."""
    return "\n".join(drawable(line) for line in text.splitlines())


def _width(text: str, size: int) -> int:
    font = _font(size)
    return max((int(font.getlength(line) + 1) for line in _lines(text).split("\n") if line), default=0)


def _font(size: int) -> _Font:
    return ImageFont.load_default(size=size)
