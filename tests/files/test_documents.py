"""Documents within limits: what is refused, what is read, and what a value should be."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_documents import ALIASES, BOMBS, within

from srcache.files.documents import MOST_YAML, json_text, misfit, parse_json, parse_yaml, short, yaml_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_json_writes_is_read(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_whole_pairs_and_the_bytes_of_file_names_are_read() -> None:
    assert parse_json(r'["\ud83d\ude00", "\udcff.png"]') == ["\U0001f600", "\udcff.png"]


@given(VALUES)
def test_what_is_written_as_json_is_utf_8_and_read(value: object) -> None:
    assert parse_json(json_text(value).encode()) == value
    odd = {"half \ud800": [value, "\udcff"], "pair": "\U0001f600 ä"}
    assert json.loads(json_text(odd).encode()) == odd
    assert "\U0001f600 ä" in json_text(odd)


@given(VALUES)
def test_what_yaml_writes_is_read(value: object) -> None:
    assert parse_yaml(yaml_text(value)) == value


@pytest.mark.parametrize(
    "value", ["a\x85b", {"\u2028": 1}, ["\u2029"], "\ufeff", "\ufeffx", "Grüße \U0001f600", "\x7f", "\r\n "]
)
def test_what_yaml_takes_for_the_end_of_a_line_is_read_as_it_was(value: object) -> None:
    assert parse_yaml(yaml_text(value)) == value
    assert yaml_text({"b": "Grüße", "a": 1}) == "b: Grüße\na: 1\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("[" * 100_000, "brackets in brackets"),
        ('{"a":' * 80 + "1" + "}" * 80, "more than 64 levels"),
        ("9" * 5000, "too large a number"),
        ("1e999", "too large a number"),
        ("[NaN]", "NaN is no JSON value"),
        ("-Infinity", "-Infinity is no JSON value"),
        (b"\xff", "decode"),
        ("", "Expecting value"),
        ("[1, 2", "Expecting"),
        (r'["\ud800"]', "half of a surrogate pair"),
        (r'{"\uDFFF": 1}', "half of a surrogate pair"),
        ('"a\udd00"', "half of a surrogate pair"),
        ('"' + "x" * 200 + '"', "may have 100"),
    ],
)
def test_json_beyond_the_limits_is_refused(data: str | bytes, why: str) -> None:
    most = {"most": 100} if "may have" in why else {}
    with within(5), pytest.raises(ValueError, match=why):
        parse_json(data, **most)


def read(text: str) -> str:
    """What a document holds, or why it is refused."""
    try:
        return json.dumps(parse_yaml(text))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("text", [*BOMBS, ALIASES])
def test_bombs_are_refused_or_plain_in_no_time(text: str) -> None:
    for bomb in (text, f"a: {text}", f"- {text}"):
        with within(10):
            assert 0 < len(read(bomb)) < 5000


def test_aliases_are_refused_and_dates_are_texts() -> None:
    with pytest.raises(ValueError, match="alias"):
        parse_yaml("a: &x [1]\nb: *x")
    assert parse_yaml("{a: 2024-02-30, b: 2024-02-03, c: 2024-02-03 10:00:00}") == {
        "a": "2024-02-30",
        "b": "2024-02-03",
        "c": "2024-02-03 10:00:00",
    }
    assert parse_yaml("{a: 0x10, b: 1e3, c: .5, d: yes, e: ~, f: .inf}") == {
        **{"a": 16, "b": "1e3", "c": 0.5, "d": True, "e": None, "f": math.inf}
    }
    with pytest.raises(ValueError, match=f"may have {MOST_YAML}"):
        parse_yaml("x" * (MOST_YAML + 1))


@pytest.mark.parametrize(
    ("value", "shape", "wrong"),
    [
        ({"a": 1}, {"a": int}, None),
        ({"a": 1, "more": []}, {"a": float, "b?": str}, None),
        ({"a": True}, {"a": int}, "a should be an integer, but is True"),
        ({"a": 1.0}, {"a": int}, "a should be an integer, but is 1.0"),
        ({}, {"a": int, "b?": int}, "it lacks a"),
        ({"b": None}, {"b?": str}, "b should be a text, but is None"),
        ({"b": None}, {"b": (str, type(None))}, None),
        ([{"a": "x"}, {}], [{"a": str}], "[1] lacks a"),
        ({"x": 1, "y": "2"}, {...: int}, "y should be an integer, but is '2'"),
        ({"x": {"y": [1, "z"]}}, {"x": {"y": [int]}}, "x.y[1] should be an integer, but is 'z'"),
        ([], {}, "it should be a mapping of names to values, but is []"),
        ({1: 2}, {}, "it should be a mapping of names to values, but is {1: 2}"),
        ("x", [str], "it should be a list, but is 'x'"),
    ],
)
def test_shapes(value: object, shape: object, wrong: str | None) -> None:
    assert misfit(value, shape) == wrong  # type: ignore[arg-type]
    if wrong and not (isinstance(value, dict) and 1 in value):
        with pytest.raises(ValueError, match=r"should be|lacks"):
            parse_json(json.dumps(value), shape)  # type: ignore[arg-type]


def test_values_in_messages_are_short() -> None:
    assert short("x") == "'x'"
    for value in ("x" * 9999, [["y" * 500] * 500] * 500, {at: "z" * 99 for at in range(999)}, 10**6000):
        assert len(short(value)) <= 401
