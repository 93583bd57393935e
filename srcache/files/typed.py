"""Values that people wrote in YAML or JSON, as the types that a dataclass declares for its fields.

The counterpart of `json_schema`: what a schema says of types is what is taken here, and besides a number in quotation
marks (`3e-3` is a text to YAML 1.1 without any). An integer may be written `5.0`. Nothing else is converted: true is
not 1.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from srcache.errors import Mistakes
from srcache.files.documents import short

_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
_WORDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}


def typed_fields(kind: type, values: Mapping[Any, Any], mistakes: Mistakes, prefix: str = "") -> dict[str, Any]:
    """Those of the values that name a field of a dataclass and are of its type; of the others a mistake is noted.

    Args:
        kind: the dataclass.
        values: by the names of fields.
        mistakes: where to note.
        prefix: of the names, in mistakes.
    """
    hints, names, found = get_type_hints(kind), [field.name for field in fields(kind)], {}
    for name, value in values.items():
        if name not in names:
            mistakes.note(f"there is no {prefix}{name}; known: {', '.join(names)}")
            continue
        try:
            found[name] = typed(value, hints[name])
        except (TypeError, ValueError, OverflowError):
            mistakes.note(f"{prefix}{name} must be {type_words(hints[name])}, but is {short(value)}")
    return found


def typed(value: Any, kind: Any) -> Any:
    """A value of a plain type, null where it may be, a tuple of such values from a list; of other types, as it is.

    Raises:
        TypeError, ValueError, OverflowError: it is something else.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        rest = [one for one in inner if one is not NoneType]
        return typed(value, rest[0]) if len(rest) == 1 else value
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(value)
        return tuple(typed(one, inner[0]) for one in value)
    if kind in (str, bool) and type(value) is not kind:
        raise TypeError(value)
    return _number(value, kind) if kind in (int, float) else value


def type_words(kind: Any) -> str:
    """A type in a message: an integer or null."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(type_words, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each {type_words(get_args(kind)[0])}"
    return _WORDS.get(kind, "a mapping")


def _number(value: Any, kind: Any) -> int | float:
    written = isinstance(value, str) and _NUMBER.fullmatch(value)
    if isinstance(value, bool) or not (written or isinstance(value, int | float)):
        raise TypeError(value)
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value) if kind is int else float(value)
