"""The fields of a recipe: for each, a function that checks what a user wrote and gives it its type."""

import math
import re
from collections.abc import Callable
from typing import Any

from srcache.engine.interface import Tiling
from srcache.errors import RecipeError
from srcache.files.documents import short
from srcache.images import PROFILES, background_name, parse_codec
from srcache.recipe.degradation import Degradation

SIZES = ("scale", "source")
PRECISIONS = ("fp32", "bf16", "fp16")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def plain_options(value: Any) -> dict[str, Any]:
    """An engine's options as a user wrote them, in a dict; none are an empty one.

    Raises:
        RecipeError: they are no mapping of names to plain values.
    """
    if value is not None and (not isinstance(value, dict) or not all(isinstance(name, str) for name in value)):
        raise RecipeError(f"options must be a mapping of names to values, but is {short(value)}")
    odd = [f"{name}: {setting!r}" for name, setting in (value or {}).items() if not _is_plain(setting)]
    if odd:
        raise RecipeError(f"an option's value is a finite number, a text, true or false, but got {', '.join(odd)}")
    return dict(value or {})


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise RecipeError(f"name must be of lower-case letters, digits, '.', '_' and '-', but is {short(value)}")
    return value


def _text(what: str, *choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or (choices and value not in choices):
            raise RecipeError(
                f"{what} must be {'one of ' + ', '.join(choices) if choices else 'a text'}, but is {short(value)}"
            )
        return value

    return check


def _integer(what: str, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise RecipeError(f"{what} must be an integer from 0 to {most}, but is {short(value)}")
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None or value == "none" else check(value)


def _scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= 64:
        raise RecipeError(f"scale must be a number above 0, at most 64, but is {short(value)}")
    return int(value) if float(value).is_integer() else float(value)


def _is_plain(value: Any) -> bool:
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, bool | int | str)


def _lossy(value: Any) -> str:
    kind, quality = parse_codec(_text("codec")(value))
    if kind not in {"jpeg", "webp"}:
        raise RecipeError(
            f"codec names a lossy codec (jpeg:95); {kind} is lossless, which is what leaving it out means"
        )
    return f"{kind}:{quality}"


FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "engine": _text("engine"),
    "numerics": _integer("numerics", 2**31),
    "options": plain_options,
    "weights": _optional(_text("weights")),
    "degradation": _optional(lambda value: Degradation.parse(_text("degradation")(value))),
    "scale": _scale,
    "size": _text("size", *SIZES),
    "tiling": _optional(lambda value: Tiling.parse(_text("tiling")(value))),
    "precision": _text("precision", *PRECISIONS),
    "color_fix": _optional(_text("color_fix")),
    "seed": _integer("seed", 2**63 - 1),
    "codec": _optional(_lossy),
    "color_profile": _text("color_profile", *PROFILES),
    "background": background_name,
}
"""Field → what it makes of a value as YAML gives it; each raises a ConfigError that says what is wrong."""
