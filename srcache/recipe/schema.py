"""The JSON schema of a recipe's file, for editors."""

from srcache.files.json_schema import DRAFT, Schema, object_schema
from srcache.images import PROFILES
from srcache.recipe.fields import PRECISIONS, SIZES
from srcache.recipe.recipe import Recipe

_NONE = {"type": ["string", "null"]}


def recipe_schema() -> Schema:
    """What a file of a recipe may hold; which options and scales an engine has is not part of it."""
    more: dict[str, Schema] = {
        "name": {"pattern": r"^[a-z0-9][a-z0-9._-]*$"},
        "options": {"type": ["object", "null"], "additionalProperties": {"type": ["boolean", "number", "string"]}},
        "weights": _NONE,
        "degradation": {"anyOf": [{"type": "string", "pattern": "^(none|[a-z]+/[0-9]+)$"}, {"type": "null"}]},
        "scale": {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 64}]},
        "size": {"enum": list(SIZES)},
        "tiling": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "precision": {"enum": list(PRECISIONS)},
        "seed": {"minimum": 0},
        "codec": {"anyOf": [{"type": "string", "pattern": "^(none|jpeg:[0-9]+|webp:[0-9]+)$"}, {"type": "null"}]},
        "color_profile": {"enum": list(PROFILES)},
    }
    return {"$schema": DRAFT, "title": "A recipe of srcache", **object_schema(Recipe, more), "required": ["engine"]}
