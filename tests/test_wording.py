"""Numbers, times, sizes and lists as people read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.wording import (
    NOTHING,
    about,
    counted,
    duration,
    enumeration,
    human_bytes,
    near_names,
    number,
    of_all,
    p_value,
    percent,
    percent_range,
    points,
    points_range,
    printable,
    printable_json,
    real,
)


def test_words():
    assert [p_value(one) for one in (0.027533, 0.4010619, 0.00001, 1.0, 0, None, float("nan"))] == [
        *("0.0275", "0.4011", "< 0.0001", "1.0000", "< 0.0001", "–", "–")
    ]
    assert percent(0.8245) == "82.5 %"
    assert percent(True) == "–"
    assert points(-0.0151) == "−1.5"
    assert points(0.02) == "+2.0"
    assert points(-0.0) == "+0.0"
    assert points_range(-0.015, 0.046) == "−1.5 to +4.6"
    assert points_range(None, 0.046) == "–"
    assert number(3) == "3"
    assert duration(312.4) == "5.2 min"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB"), (2 << 40, "2.0 TiB")],
)
def test_bytes_for_people(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (59, "59.0 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_times_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "thing", "text"),
    [(0, "image", "0 images"), (1, "image", "1 image"), (2, "class", "2 classes"), (1, "class", "1 class")],
)
def test_counts_of_things(count, thing, text):
    assert counted(count, thing) == text


def test_lists_of_names():
    assert [enumeration(names) for names in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == [
        "",
        "A",
        "A and B",
        "A, B and C",
    ]


@given(st.floats(0, 1), st.sampled_from([0.01, 0.05, 0.1]))
def test_a_printed_p_lies_on_its_side_of_alpha(p, alpha):
    text = p_value(p, alpha)
    if text == "< 0.0001":
        assert p < 0.0001
    elif abs(p - alpha) > 1e-8:
        assert (float(text) <= alpha) == (p <= alpha)


NO_NUMBERS = [None, True, "5", [], float("nan"), float("inf"), -float("inf"), 10**400]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("write", [percent, points, p_value, number, duration])
def test_what_is_no_finite_number_is_a_dash(write, value):
    assert real(value) is None
    assert write(value) == NOTHING
    assert percent_range(0.5, value) == percent_range(value, 0.5) == NOTHING


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62))
def test_any_finite_number_is_taken_as_it_is(value):
    assert real(value) == float(value)


def test_shares_are_written_in_percent_with_one_decimal_or_as_many_as_asked():
    assert percent_range(0.79, 0.8649) == "79.0 to 86.5 %"
    assert percent_range(-0.001, 0) == "−0.1 to 0.0 %"
    assert (percent(0.82456, 2), percent(1), percent(0.5, 0)) == ("82.46 %", "100.0 %", "50 %")


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(0, 3, "0"), (1.5, 3, "1.500"), (-1.25, 1, "−1.2"), (12345, 1, "12345"), (0.5, 0, "0")],
)
def test_numbers_have_the_decimals_that_are_asked_for(value, places, text):
    assert number(value, places) == text


@pytest.mark.parametrize(
    ("p", "alpha", "text"),
    [
        (0.04999, 0.05, "0.0500"),
        (0.050001, 0.05, "0.05000100"),
        (0.0001, None, "0.0001"),
        (0.00009999, 0.05, "< 0.0001"),
    ],
)
def test_a_p_value_near_alpha_has_as_many_digits_as_it_needs(p, alpha, text):
    assert p_value(p, alpha) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_a_time_that_is_only_roughly_known(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_a_count_says_of_how_many_unless_it_is_all() -> None:
    assert (of_all(33, 33), of_all(7, 33), of_all(0, 0)) == ("33", "7 of 33", "0")


def test_what_a_terminal_takes_for_a_command_is_shown():
    name = "red\x1b[31m\r\x7f\x9b\u202egnp.\udcff\x00"
    assert printable(name) == r"red\x1b[31m\x0d\x7f\x9b\u202egnp.\xff\x00"
    assert printable("größe\t1\n – 日本語 🎉") == "größe\t1\n – 日本語 🎉"
    document = json.dumps({"name": name}, ensure_ascii=False)
    assert json.loads(printable_json(document).encode("utf-8")) == {"name": name}
    assert "\x9b" not in printable_json(document)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("exp", ["experiment", "explain", "export"]),
        ("experimnt", ["experiment", "export", "explain"]),
        ("VERIFY", ["verify"]),
        ("x", []),
        ("zzz", []),
        ("", []),
    ],
)
def test_near_names_begin_with_what_was_written_or_differ_little(name, near):
    assert near_names(name, ["experiment", "explain", "verify", "export"]) == near
