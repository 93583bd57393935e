"""YAML and JSON that somebody else may have written, or a disk has changed: read within limits, by one reader each.

A document is refused with a ValueError that says why in few words, and with nothing else: numbers of thousands of
digits, brackets of thousands of levels, infinities and bytes that are no UTF-8 too. Of YAML there is what JSON has, and
nothing more: no aliases, which let a few bytes stand for gigabytes, no dates, no types of Python's. What a document
should hold is said by a shape, see `misfit`.
"""

import json
import math
import re
from collections.abc import Mapping
from reprlib import Repr
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from yaml import SafeLoader

Shape: TypeAlias = "type | tuple[type, ...] | list[Shape] | Mapping[str | EllipsisType, Shape]"
"""What a value should be; see `misfit`."""

MOST_JSON = 256 << 20
"""Bytes of a JSON document."""

MOST_YAML = 64 << 10
"""Characters of a YAML document; they are read by a slow program."""

_LEVELS = 64
_DIGITS = 20
_HALF_MAY_BE = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
_UNPAIRED = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
"""What PyYAML writes as it is and reads as the end of a line, or not at all."""
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, but for those by which Python keeps the bytes of file names that are not UTF-8."""
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 120
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 8
_REPR.maxlevel = 3


def short(value: object) -> str:
    """A value as Python writes it, cut short, for a message."""
    try:
        text = _REPR.repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= 400 else f"{text[:400]}…"


def parse_json(data: bytes | str, shape: "Shape | None" = None, *, most: int = MOST_JSON) -> Any:
    """What a JSON document holds.

    Args:
        data: the document.
        shape: what it should hold; None for anything.
        most: bytes, or characters, that it may have.

    Raises:
        ValueError: it is no JSON, beyond a limit, or holds something else.
    """
    if len(data) > most:
        raise ValueError(f"it has {len(data)} bytes, and may have {most}")
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_integer)
    except RecursionError as error:
        raise ValueError("it has brackets in brackets, too deep to be read") from error
    if text.count("[") + text.count("{") > _LEVELS:
        _require_flat(found)
    if _HALF_MAY_BE.search(text) and _HALF.search(json.dumps(found, ensure_ascii=False)):
        raise ValueError("it has half of a surrogate pair, which is no character")
    if shape is not None and (wrong := misfit(found, shape)):
        raise ValueError(wrong)
    return found


def json_text(value: Any, **how: Any) -> str:
    """A value as JSON text that UTF-8 can hold: letters as they are, but for halves of surrogate pairs.

    A stranger's records have them, and so have names that are not UTF-8, as Python keeps them.

    Args:
        value: JSON values.
        how: further arguments of `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=False, **how)
    return _UNPAIRED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def yaml_text(value: Any) -> str:
    """A value as YAML text in its own order, that `parse_yaml` reads as it was; letters as they are where they can."""
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return yaml.safe_dump(value, sort_keys=False) if _BREAKS.search(text) else text


def parse_yaml(text: str) -> Any:
    """What a YAML document holds: mappings, lists, texts, numbers, true, false and null.

    Raises:
        ValueError: it is no YAML, beyond a limit, or has aliases or values of other types.
    """
    import yaml

    if len(text) > MOST_YAML:
        raise ValueError(f"it has {len(text)} characters, and may have {MOST_YAML}")
    try:
        found = yaml.load(text, _loader())
    except (RecursionError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"a value cannot be read ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:400]) from error
    return found


def misfit(value: Any, shape: Shape, place: str = "") -> str | None:
    """How a value differs from a shape, in words; None if it does not.

    A shape is a type, or several (a float may be written as an integer; true and false are no numbers); a list of one
    shape for lists of such values; a mapping of names to shapes, in which a name that ends in `?` may be missing, other
    names may be there, and `...` stands for all other names.
    """
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, "a list", place)
        found = (misfit(one, shape[0], f"{place}[{number}]") for number, one in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(shape, Mapping):
        return _mapping_misfit(value, shape, place)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    if isinstance(value, bool):
        fits = bool in kinds
    else:
        fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
    return None if fits else _wrong(value, " or ".join(_NAMES.get(kind, kind.__name__) for kind in kinds), place)


def _mapping_misfit(value: Any, shape: "Mapping[str | EllipsisType, Shape]", place: str) -> str | None:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        return _wrong(value, "a mapping of names to values", place)
    names = {str(name).removesuffix("?"): inner for name, inner in shape.items() if name is not ...}
    lacking = [name for name in names if name not in value and f"{name}?" not in shape]
    if lacking:
        return f"{place or 'it'} lacks {', '.join(lacking)}"
    for name, inner in value.items():
        expected = names.get(name, shape.get(...))
        if expected is not None and (wrong := misfit(inner, expected, f"{place}.{name}" if place else name)):
            return wrong
    return None


def _wrong(value: Any, wanted: str, place: str) -> str:
    return f"{place[:100] or 'it'} should be {wanted}, but is {short(value)}"


_NAMES = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    dict: "a mapping",
}


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_DIGITS]}… is too large a number")
    return value


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text[:_DIGITS]}… is too large a number")
    return int(text)


def _require_flat(value: Any) -> None:
    """Refuse brackets in brackets of more levels than anything that srcache writes."""
    level: list[Any] = [value]
    for _ in range(_LEVELS):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"it has brackets in brackets, more than {_LEVELS} levels")


def _loader() -> "type[SafeLoader]":
    """PyYAML's safe loader without what JSON has not; made when it is needed, for PyYAML takes long to import."""
    global _made
    if _made is None:
        _made = _make_loader()
    return _made


_made: "type[SafeLoader] | None" = None


def _make_loader() -> "type[SafeLoader]":
    import yaml

    class Plain(yaml.SafeLoader):
        """Reads plain values only."""

        level = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            """Refuse aliases, and too many levels."""
            if self.check_event(yaml.AliasEvent):
                raise ValueError("it has an alias (*), which is not read; write the value out")
            if self.level > _LEVELS:
                raise ValueError(f"it has brackets in brackets, more than {_LEVELS} levels")
            self.level += 1
            node = super().compose_node(parent, index)
            if isinstance(node, yaml.ScalarNode):
                node.value.encode()  # half of a surrogate pair is no text
            self.level -= 1
            return node

        def construct_integer(self, node: Any) -> int:
            """Refuse numbers that nobody counts to."""
            if len(node.value) > 2 * _DIGITS:
                raise ValueError(f"{node.value[:_DIGITS]}… is too large a number")
            return int(self.construct_yaml_int(node))

    kept = ("null", "bool", "int", "float", "seq", "map", "str")
    names = {f"tag:yaml.org,2002:{name}" for name in kept} | {None}
    Plain.yaml_constructors = {name: act for name, act in yaml.SafeLoader.yaml_constructors.items() if name in names}
    Plain.add_constructor("tag:yaml.org,2002:int", Plain.construct_integer)
    Plain.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag in names]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Plain
