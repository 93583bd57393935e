"""Contact sheets: pixels are shown as they are, nothing overlaps or leaves the page, mistakes are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import ConfigError
from srcache.images import Pixels
from srcache.study.quality.contact_sheet import PAPER, Sheet, SheetRow, draw_sheet, drawable, fitted

COLOURS = [(200, 30, 30), (30, 160, 60), (40, 60, 200)]


def flat(height: int, width: int, colour: tuple[int, int, int]) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def box_of(page: Pixels, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right (exclusive) of all pixels of a colour."""
    rows, columns = np.nonzero((page == colour).all(-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(16, 64))
def test_an_image_fills_its_cell_without_new_colours(height: int, width: int, cell: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    shown = fitted(rgb, cell)
    assert max(shown.shape[:2]) <= cell
    if max(height, width) <= cell:
        times = shown.shape[0] // height
        assert max(shown.shape[:2]) > cell - max(height, width)
        assert (shown[::times, ::times] == rgb).all()
        assert (shown == np.kron(rgb, np.ones((times, times, 1), np.uint8))).all()
    else:
        assert max(shown.shape[:2]) == cell


def test_images_lie_in_order_centred_and_complete() -> None:
    row = SheetRow(caption="a", images=[flat(8, 8, COLOURS[0]), flat(16, 8, COLOURS[1]), flat(300, 600, COLOURS[2])])
    page = draw_sheet(Sheet(columns=["one", "two", "three"], rows=[row], cell=64))
    boxes = [box_of(page, colour) for colour in COLOURS]
    sizes = [(bottom - top, right - left) for top, left, bottom, right in boxes]
    assert sizes == [(64, 64), (64, 32), (32, 64)]
    assert all(
        (page[top:bottom, left:right] == colour).all()
        for (top, left, bottom, right), colour in zip(boxes, COLOURS, strict=True)
    )
    assert len({(top + bottom) // 2 for top, _, bottom, _ in boxes}) == 1
    middles = [(left + right) // 2 for _, left, _, right in boxes]
    assert middles[1] - middles[0] == middles[2] - middles[1] > 64


@pytest.mark.parametrize("notes", [(), ("16x16", "")])
def test_words_neither_touch_images_nor_leave_the_page(notes: tuple[str, ...]) -> None:
    rows = [
        SheetRow(
            caption="a class with a rather long name\nand a second line",
            images=[flat(4, 4, COLOURS[0])] * 2,
            notes=notes,
        ),
        SheetRow(caption="b", images=[flat(4, 4, COLOURS[1])] * 2, notes=notes),
    ]
    words = "a heading that is much wider than two small images beside each other will ever be"
    page = draw_sheet(Sheet(columns=["LR", "HR"], rows=rows, heading=words, footing=words, cell=64))
    assert all((page == colour).all(-1).sum() == 2 * 64 * 64 for colour in COLOURS[:2])
    margin = np.ones(page.shape[:2], bool)
    margin[24:-24, 24:-24] = False
    assert (page[margin] == PAPER).all()
    assert (page != np.array(PAPER, np.uint8)).any(-1).sum() > 4 * 64 * 64


def test_words_are_drawn_where_they_belong() -> None:
    row = SheetRow(caption="", images=[flat(4, 4, COLOURS[0])])
    bare = draw_sheet(Sheet(columns=[""], rows=[row], cell=64))
    titled = draw_sheet(Sheet(columns=["HR"], rows=[row], cell=64))
    assert bare.shape == titled.shape
    top, left, _, right = box_of(bare, COLOURS[0])
    changed = np.nonzero((bare != titled).any(-1))
    assert changed[0].max() < top
    assert left <= changed[1].min()
    assert changed[1].max() < right


def test_the_same_sheet_gives_the_same_pixels() -> None:
    sheet = Sheet(columns=["HR"], rows=[SheetRow(caption="moss", images=[flat(5, 7, COLOURS[2])])], heading="h")
    assert (draw_sheet(sheet) == draw_sheet(sheet)).all()


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("16×16 ÷4", "16x16 /4"),
        ("naïve café", "naive cafe"),
        ("ﬁeld", "field"),
        ("森 forest", "? forest"),
        ("ok", "ok"),
    ],
)
def test_letters_that_the_typeface_lacks_are_replaced(text: str, drawn: str) -> None:
    assert drawable(text) == drawn


@pytest.mark.medium
@given(st.text(max_size=20))
def test_any_text_can_be_drawn(text: str) -> None:
    row = SheetRow(caption=text, images=[flat(4, 4, COLOURS[0])], notes=(text,))
    page = draw_sheet(Sheet(columns=[text], rows=[row], heading=text, footing=text, cell=16))
    assert (page == COLOURS[0]).all(-1).sum() == 16 * 16
    assert drawable(text).isascii()


def test_a_row_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match=r"expected 2 images .* in row 'moss', but got 1 and 0"):
        Sheet(columns=["LR", "HR"], rows=[SheetRow(caption="moss", images=[flat(4, 4, COLOURS[0])])])
    with pytest.raises(ConfigError, match="in row 'moss', but got 1 and 2"):
        Sheet(columns=["HR"], rows=[SheetRow(caption="moss", images=[flat(4, 4, COLOURS[0])], notes=("a", "b"))])
    with pytest.raises(ConfigError, match="at least one row"):
        Sheet(columns=["HR"], rows=[])
