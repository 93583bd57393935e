"""Choices and orders of a gallery, against plain loops over the rows; numbers that are missing; many rows."""

import math

import numpy as np
import pytest

from srcache.dataset.scores import LabelScore
from srcache.keys import ImageKey
from srcache.server.gallery.index import GalleryIndex, shown_number
from srcache.server.gallery.rows import GalleryRow


def key(number: int) -> str:
    return f"{number:032x}"


def row(number: int, label: str = "", state: str = "", sample: int = 0) -> GalleryRow:
    return GalleryRow(f"{key(number)}-{sample:03d}", f"{label}/Bild {number}.png", label, state)


def score(number: int, safe: float, agree: float = math.nan) -> LabelScore:
    return LabelScore(
        image="x", key=ImageKey(key(number)), sample=0, safe=safe, back_projection=40.0, back_projection_error=1.0,
        agree=agree,
    )  # fmt: skip


ROWS = [row(number, "ab"[number % 2], "empty" if number == 7 else "") for number in range(20)]
SAFETY = {f"{key(number)}-000": score(number, number / 20, number % 3 > 0) for number in range(1, 15)}
QUALITY = {"psnr": {f"{'ab'[number % 2]}/Bild {number}": float(30 - number) for number in range(18)}}
INDEX = GalleryIndex(ROWS, SAFETY, QUALITY)


def choice(title: str):
    return next(one for one in INDEX.choices if one.title == title)


def found(title: str, words: str) -> list[int]:
    one = choice(title)
    number = [option.words for option in one.options].index(words) + 1
    places = INDEX.find({one.key: number})
    assert len(places) == one.options[number - 1].fits
    return places.tolist()


@pytest.mark.parametrize(
    ("title", "words", "fits"),
    [
        ("Class", "b", lambda n: n % 2 == 1),
        ("State", "stored", lambda n: n != 7),
        ("State", "empty", lambda n: n == 7),
        ("Label safety", "Safe: 0.5 to 0.9", lambda n: 10 <= n < 15),
        ("Label safety", "Safe: below 0.5", lambda n: 1 <= n < 10),
        ("Label safety", "Not measured", lambda n: n == 0 or n >= 15),
        ("Classifier on SR", "Same answer as on LR", lambda n: 1 <= n < 15 and n % 3 > 0),
        ("Classifier on SR", "Another answer than on LR", lambda n: 1 <= n < 15 and n % 3 == 0),
        ("Image quality", "Lowest tenth of psnr", lambda n: n in (16, 17)),
        ("Image quality", "Highest tenth of psnr", lambda n: n in (0, 1)),
    ],
)
def test_an_option_takes_the_rows_that_it_says(title, words, fits):
    assert found(title, words) == [number for number in range(20) if fits(number)]


def test_options_without_rows_and_choices_of_one_alone_are_left_out():
    assert choice("Label safety").options[0].words == "Safe: 0.5 to 0.9"
    plain = GalleryIndex([row(1), row(2)], {}, {})
    assert plain.choices == ()
    assert [order.words for order in plain.orders] == ["As listed", "Mixed"]


def test_choices_and_words_go_together():
    assert INDEX.find({"class": 2, "state": 2}).tolist() == [7]
    assert INDEX.find({"class": 1}, words="bILD 1").tolist() == [10, 12, 14, 16, 18]
    assert INDEX.find({}, words="nothing").tolist() == []
    for chosen, order in (({"class": 3}, 0), ({}, 99)):
        with pytest.raises(IndexError):
            INDEX.find(chosen, order)


def test_orders_put_what_has_no_number_last():
    words = [order.words for order in INDEX.orders]
    lowest = INDEX.find({}, words.index("psnr, lowest first")).tolist()
    assert lowest == [17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 6, 5, 4, 3, 2, 1, 0, 7, 18, 19], "7 failed, so it has none"
    assert INDEX.find({}, words.index("psnr, highest first")).tolist()[:3] == [0, 1, 2]
    assert INDEX.find({}, words.index("Safe, lowest first")).tolist()[:2] == [1, 2]


def test_the_mixed_order_is_a_function_of_seed_and_names_alone():
    one = [ROWS[place].entry for place in INDEX.find({}, 1)]
    backwards = GalleryIndex(ROWS[::-1], {}, {})
    assert [backwards.rows[place].entry for place in backwards.find({}, 1)] == one
    other = GalleryIndex(ROWS, {}, {}, seed=1)
    assert [ROWS[place].entry for place in other.find({}, 1)] != one
    assert sorted(one) == [each.entry for each in ROWS]


def test_a_part_counts_its_own_rows():
    part = INDEX.part([1, 3, 7, 8])
    assert [row.title for row in part.rows] == [ROWS[place].title for place in (1, 3, 7, 8)]
    assert {option.words: option.fits for option in part.choices[0].options} == {"a": 1, "b": 3}
    assert dict(part.numbers(0)) == {"Safe": 0.05, "psnr": 29.0}


def test_quality_is_of_first_samples_and_an_infinite_number_is_one():
    rows = [row(1, "a"), row(1, "a", sample=1)]
    index = GalleryIndex(rows, {}, {"psnr": {"a/Bild 1": math.inf}})
    assert (dict(index.numbers(0)), dict(index.numbers(1))) == ({"psnr": math.inf}, {})
    assert [shown_number(value) for value in (math.inf, math.nan, 31.23456)] == ["∞", "–", "31.23"]


def test_ten_thousand_rows_are_chosen_from_as_few_are():
    rows = [row(number, f"class {number % 500}") for number in range(10_000)]
    index = GalleryIndex(rows, {}, {})
    assert np.array_equal(index.find({"class": 1}), np.arange(0, 10_000, 500))
    assert len(index.find({}, 1)) == 10_000
