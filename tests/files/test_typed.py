"""Values as people write them, taken as a dataclass's types; a schema of the same class agrees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from srcache.errors import Mistakes
from srcache.files.json_schema import object_schema
from srcache.files.typed import typed_fields


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Something to write."""

    name: str = ""
    on: bool = True
    count: int = 1
    most: int | None = None
    rate: float = 0.5
    shares: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        *(("name", "x", "x"), ("on", False, False), ("count", 5.0, 5), ("count", "12", 12), ("most", None, None)),
        *(("rate", "3e-3", 0.003), ("rate", 1, 1.0), ("shares", [1, 0.5], (1.0, 0.5)), ("texts", [], ())),
        *(("changes", {"a": 1}, {"a": 1}), ("count", 2**63 - 1, 2**63 - 1), ("count", "9007199254740993", 2**53 + 1)),
    ],
)
def test_a_value_is_taken_as_its_fields_type(name, value, taken):
    mistakes = Mistakes()
    found = typed_fields(Choice, {name: value}, mistakes)[name]
    assert (found, type(found), mistakes.found) == (taken, type(taken), [])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("name", ["x"], r"a text, but is ['x']"),
        ("on", 1, "true or false, but is 1"),
        ("count", True, "an integer, but is True"),
        ("count", float("inf"), "an integer, but is inf"),
        ("count", float("nan"), "an integer, but is nan"),
        ("count", 2.5, "an integer, but is 2.5"),
        ("count", "x", "an integer, but is 'x'"),
        ("count", None, "an integer, but is None"),
        ("most", "1.5", "an integer or null, but is '1.5'"),
        ("rate", "1.2.3", "a number, but is '1.2.3'"),
        ("shares", "0.5", "a list, each a number, but is '0.5'"),
        ("shares", [None], "a list, each a number, but is [None]"),
    ],
)
def test_what_is_of_another_type_is_named_with_what_it_must_be(name, value, words):
    mistakes = Mistakes()
    assert typed_fields(Choice, {name: value, "count2": 1}, mistakes, "data.") == {}
    assert mistakes.found[0] == f"data.{name} must be {words}"
    assert mistakes.found[1].startswith("there is no data.count2; known: name, on, count")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False, width=16) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(["name", "on", "count", "most", "rate", "shares", "texts"]), VALUES)
def test_a_schema_of_the_same_class_agrees(name, value):
    mistakes = Mistakes()
    typed_fields(Choice, {name: value}, mistakes)
    assert Draft7Validator(object_schema(Choice, {})).is_valid({name: value}) == (not mistakes.found)
