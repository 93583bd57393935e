"""HTML as values: everything that is not markup already is escaped, so that no name can become part of the page."""

import html
import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

_VOID = {"br", "hr", "img", "input", "meta", "link", "col"}


class Markup(str):
    """A piece of HTML that may stand in a page as it is."""

    __slots__ = ()


Child = object
"""What an element may hold: Markup as it is; None is left out; lists are opened; anything else is text, escaped."""


def tag(name: str, *children: Child, **attributes: Any) -> Markup:
    """One element. `class_` → class, `aria_label` → aria-label; True is a bare attribute, None and False are none."""
    words = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{concat(*children)}</{name}>")


def concat(*children: Child) -> Markup:
    """Several pieces, one after the other."""
    return Markup("".join(_piece(child) for child in children))


def text(value: object) -> Markup:
    """A text, escaped; letters that cannot be written as UTF-8, and control characters, become a replacement mark."""
    plain = str(value)
    visible = plain if plain.isprintable() else "".join(_shown(letter) for letter in plain)
    return Markup(html.escape(visible, quote=True))


def prose(words: str) -> Markup:
    """A sentence of the page's own, in which `commands` stand between backticks."""
    return concat([tag("code", part) if at % 2 else part for at, part in enumerate(words.split("`"))])


def name(value: object) -> Markup:
    """A name that came from outside: its writing direction stays its own."""
    return tag("bdi", value)


def json_block(identity: str, value: Any) -> Markup:
    """Data for the page's script. No string in it can end the block, because it holds none of `<`, `>` and `&`."""
    plain = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        plain = plain.replace(letter, f"\\u{ord(letter):04x}")
    return tag("script", Markup(plain), type="application/json", id=identity)


def _piece(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, Iterable) and not isinstance(child, str | bytes | Mapping):
        return "".join(_piece(inner) for inner in child)
    return text(child)


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    written = key.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{text(value)}"'


def _shown(letter: str) -> str:
    """Controls and overrides of the writing direction are shown as a mark; joiners and direction marks stay."""
    steers = unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in "\n\t\u200c\u200d\u200e\u200f"
    return "\N{REPLACEMENT CHARACTER}" if steers else letter
