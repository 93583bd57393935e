"""The fields of a recipe: each value that a user may write has one meaning, and every other one is refused by name."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recipe_samples import FULL, RECIPES

from srcache.engine.interface import Tiling
from srcache.errors import ConfigError, RecipeError
from srcache.recipe.degradation import Degradation
from srcache.recipe.fields import FIELDS, plain_options


@pytest.mark.medium
@given(RECIPES)
def test_what_a_recipe_writes_is_what_its_fields_read(recipe):
    plain = recipe.to_dict()
    assert set(plain) == set(FIELDS)
    assert {name: FIELDS[name](plain[name]) for name in plain} == {name: getattr(recipe, name) for name in plain}


@pytest.mark.parametrize("name", ["weights", "degradation", "tiling", "color_fix", "codec"])
def test_none_may_be_written_out_where_a_field_may_be_empty(name):
    assert getattr(FULL, name) is not None
    assert FIELDS[name](None) is FIELDS[name]("none") is None


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("seed", 5.0, 5),
        ("seed", 0, 0),
        ("numerics", 2**31, 2**31),
        ("scale", 2.0, 2),
        ("scale", 1.5, 1.5),
        ("scale", 64, 64),
        ("codec", "jpeg:1", "jpeg:1"),
        ("codec", "webp:090", "webp:90"),
        ("degradation", "box/3", Degradation(factor=3, filter="box")),
        ("tiling", "96/32", Tiling(size=96, overlap=32)),
        ("name", "a.b_c-9", "a.b_c-9"),
        ("options", None, {}),
    ],
)
def test_a_value_is_read_in_the_type_of_its_field(name, written, value):
    read = FIELDS[name](written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *[("seed", value) for value in (-1, 1.5, True, "5", None, 2**63)],
        *[("numerics", value) for value in (-1, 2**31 + 1, False)],
        *[("scale", value) for value in (0, -1, 64.1, math.inf, math.nan, True, "4", None)],
        *[("name", value) for value in ("", "A", "ä", "-a", "a/b", "a\n", 5)],
        *[("codec", value) for value in ("png", "qoi", "jpeg", "jpeg:0", 95)],
        *[("size", value) for value in ("huge", 4, None)],
        *[("precision", value) for value in ("fp64", 32)],
        *[("degradation", value) for value in (4, "bicubic", "bicubic/1")],
        *[("tiling", value) for value in (96, "96", "32/32")],
        *[("options", value) for value in ([], "filter", {1: 2}, {"a": None}, {"a": [1]}, {"a": math.inf})],
        ("weights", 5),
        ("color_fix", True),
        ("engine", None),
    ],
)
def test_any_other_value_is_refused_in_words(name, written):
    with pytest.raises(ConfigError) as caught:
        FIELDS[name](written)
    assert str(caught.value), "a refusal explains itself"


@given(st.dictionaries(st.text(max_size=3), st.booleans() | st.integers() | st.text(max_size=3), max_size=4))
def test_options_are_copied_as_they_are(options):
    read = plain_options(options)
    assert read == options
    assert read is not options


def test_all_odd_options_are_listed_with_their_values():
    with pytest.raises(RecipeError, match=r"but got a: None, c: \[1\]$"):
        plain_options({"a": None, "b": 1, "c": [1]})
