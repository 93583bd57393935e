"""JSON schemas that are made of dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from jsonschema import Draft7Validator

from srcache.errors import ConfigError
from srcache.files.json_schema import object_schema, type_schema


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Something inside.

    Attributes:
        many: of them.
    """

    many: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Something outside.

    Attributes:
        name, title: texts, both
            on two lines.
        rate: a number.

    Raises:
        never: anything.
    """

    name: str
    title: str | None = None
    rate: float = 0.5
    on: bool = False
    inner: Inner = field(default_factory=Inner)
    pair: tuple[str, str] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "a"


SCHEMA = object_schema(Outer, {"kind": {"enum": ["a", "b"]}, "rate": {"maximum": 1}}, without=("on",))


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({}, True),
        ({"name": "x", "title": None, "rate": 1, "kind": "b", "inner": {"many": [1, 2]}, "pair": ["a", "b"]}, True),
        ({"rate": "3e-1"}, True),
        ({"pair": None, "more": {"x": [1], "y": None}}, True),
        ({"name": None}, False),
        ({"rate": 2}, False),
        ({"rate": "fast"}, False),
        ({"kind": "c"}, False),
        ({"on": True}, False),
        ({"inner": {"few": 1}}, False),
        ({"inner": {"many": [0.5]}}, False),
        ({"pair": ["a"]}, False),
        ({"nme": "x"}, False),
    ],
)
def test_what_fits(value, good):
    Draft7Validator.check_schema(SCHEMA)
    assert Draft7Validator(SCHEMA).is_valid(value) is good


def test_what_the_docstring_says_of_each_is_there_and_its_default():
    found = SCHEMA["properties"]
    assert found["name"]["description"] == found["title"]["description"] == "texts, both on two lines."
    assert found["rate"]["description"] == "a number."
    assert "description" not in found["kind"]
    assert {name: one["default"] for name, one in found.items() if "default" in one} == {"rate": 0.5, "kind": "a"}


def test_more_about_a_field_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="Outer has no fields kinds; known: name"):
        object_schema(Outer, {"kinds": {}})


def test_a_type_that_is_not_known_may_be_anything():
    assert type_schema(list) == {}
