"""The schema of recipes' files: kinder than the reader, and never stricter."""

from dataclasses import fields

import pytest
import yaml
from jsonschema import Draft7Validator

from srcache.recipe.fields import FIELDS
from srcache.recipe.reading import shipped_recipes
from srcache.recipe.recipe import Recipe
from srcache.recipe.schema import recipe_schema

SCHEMA = Draft7Validator(recipe_schema())


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_fits(name):
    Draft7Validator.check_schema(recipe_schema())
    assert list(SCHEMA.iter_errors(yaml.safe_load(shipped_recipes()[name]))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"engine": "resample", **one} for one in ({"scal": 2}, {"scale": 0}, {"size": "big"}, {"codec": "png"})),
        *({"engine": "resample", **one} for one in ({"degradation": "bicubic"}, {"options": [1]}, {"seed": -1})),
        {"scale": 2},
        {"engine": 3},
        [],
    ],
)
def test_mistakes_do_not_fit(wrong):
    assert not SCHEMA.is_valid(wrong)


@pytest.mark.parametrize("name", ["degradation", "tiling", "color_fix", "codec", "weights"])
def test_a_field_that_may_be_none_may_be_none(name):
    assert SCHEMA.is_valid({"engine": "x", name: None})
    assert SCHEMA.is_valid({"engine": "x", name: "none"})


def test_its_fields_are_those_of_a_recipe():
    assert set(SCHEMA.schema["properties"]) == {field.name for field in fields(Recipe)} == set(FIELDS)
