"""JSON schemas of what people write in YAML, made of the frozen dataclasses that it becomes, for editors to complete.

The dataclasses declare names, types and defaults, and their docstrings say under `Attributes:` what each is; which
values are allowed is added by whoever knows the constants. A schema is kinder than the reader of a file: what depends
on several values, on this machine or on other files is left to that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from srcache.errors import ConfigError

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The version that editors know best."""

_NUMBER_AS_TEXT = r"^[-+]?[0-9.]+[eE][-+]?[0-9]+$"
"""`3e-3`, which YAML 1.1 reads as a text, and YAML 1.2 as a number."""

_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"anyOf": [{"type": "number"}, {"type": "string", "pattern": _NUMBER_AS_TEXT}]},
    Any: {},
}


def object_schema(kind: type, more: Mapping[str, Schema], *, without: Sequence[str] = ()) -> Schema:
    """The schema of a mapping from which a dataclass is made.

    Args:
        kind: the dataclass.
        more: for some of its fields, what is known beside the type: it replaces what it contradicts.
        without: fields that people do not write.

    Raises:
        ConfigError: `more` has a name that is no field.
    """
    hints, told = get_type_hints(kind), _attributes(kind)
    names = [f.name for f in fields(kind) if f.name not in without]
    unknown = sorted(set(more) - set(names))
    if unknown:
        raise ConfigError(f"{kind.__name__} has no fields {', '.join(unknown)}; known: {', '.join(names)}")
    defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    properties: Schema = {}
    for name in names:
        known = more.get(name, {})
        says_type = bool({"type", "anyOf", "enum"} & set(known))
        found: Schema = {**({} if says_type else type_schema(hints[name])), **known}
        if isinstance(defaults.get(name), str | int | float):
            found["default"] = defaults[name]
        properties[name] = {"description": told[name], **found} if name in told else found
    return {"type": "object", "additionalProperties": False, "properties": properties}


def type_schema(kind: Any) -> Schema:
    """The schema of a type: plain ones, lists, mappings, dataclasses, and null where that is one of several."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if is_dataclass(kind) and isinstance(kind, type):
        return object_schema(kind, {})
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _any_of([{"type": "null"} if one is NoneType else type_schema(one) for one in inner])
    if origin is tuple:
        listed: Schema = {"type": "array", "items": type_schema(inner[0])}
        return listed if Ellipsis in inner else {**listed, "minItems": len(inner), "maxItems": len(inner)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": type_schema(inner[1])}
    return {}


def _any_of(schemas: Sequence[Schema]) -> Schema:
    if all(set(one) == {"type"} for one in schemas):
        return {"type": [one["type"] for one in schemas]}
    return {"anyOf": list(schemas)}


def _attributes(kind: type) -> dict[str, str]:
    """What a class's docstring says under `Attributes:` of each name; several names may share a line."""
    text = (kind.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    found: dict[str, str] = {}
    for names, said in re.findall(r"^ {8}([a-z_]+(?:, [a-z_]+)*): (.*(?:\n {12}.*)*)", text, re.MULTILINE):
        found |= {name: " ".join(said.split()) for name in names.split(", ")}
    return found
