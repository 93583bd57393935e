"""Confusion matrices as pictures: dark where the counts are, the same on every machine, names as text."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from srcache.errors import ConfigError, MissingExtraError
from srcache.study.compare.confusion_plot import draw_confusion

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")


def _drawn(counts, classes, title="title"):
    with Image.open(io.BytesIO(draw_confusion(counts, classes, title))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.medium
def test_a_confusion_matrix_is_dark_where_the_counts_are():
    page = _drawn([[9, 1], [0, 10]], ("cat", "dog"))
    height, width = page.shape[:2]
    dark = (page.astype(int).sum(axis=2) < 330) & (page[..., 2] > 80)
    left, right = dark[:, : width // 2], dark[:, width // 2 : int(width * 0.8)]
    assert left[: height // 2].mean() > 5 * left[height // 2 :].mean()
    assert right[height // 2 :].mean() > 5 * right[: height // 2].mean()
    assert np.array_equal(page, _drawn([[9, 1], [0, 10]], ("cat", "dog")))


@pytest.mark.medium
@pytest.mark.parametrize("count", [1, 2, 20, 31])
def test_pictures_grow_with_the_classes_but_stay_small_files(count):
    names = [f"class number {place}" for place in range(count)]
    png = draw_confusion(np.eye(count, dtype=int).tolist(), names, "title")
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert 300 < image.width < 2000
    assert len(png) < 300_000


@pytest.mark.medium
def test_names_are_text_and_never_markup():
    odd = ("<script>alert(1)</script>", "$x^2$ \\alpha {", "猫", "a\nb\t\x07", "", " " * 3, "ü" * 500, "$\\broken{$")
    page = _drawn(np.eye(len(odd), dtype=int).tolist(), odd, "$\\frac{ 猫 \n" * 9)
    assert page.shape[0] > 400


@pytest.mark.medium
def test_the_users_own_style_changes_nothing():
    import matplotlib

    before = draw_confusion([[1]], ("a",), "t")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert draw_confusion([[1]], ("a",), "t") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_counts_must_be_a_square_of_the_classes():
    for counts, classes in (([[1]], ("a", "b")), ([[1, 2]], ("a",)), ([], ())):
        with pytest.raises(ConfigError, match="rows and columns of counts"):
            draw_confusion(counts, classes, "t")


def test_without_matplotlib_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[eval\]'"):
        draw_confusion([[1]], ("a",), "t")
