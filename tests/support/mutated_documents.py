"""Documents that were changed at random: values of other types and sizes, lost names, cut text, bombs."""

import copy
import json
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

ODD = (
    *(None, True, False, -1, 0, 1.5, 2**31, 2**63, 10**19, 1e308, -1e-300, float("nan"), float("inf")),
    *("", "x", "../..", "/", "\0", "\ud800", "ü" * 300, "x" * 5000, "9" * 400, "none", "a/b@c", "\x1b[2J"),
    *([], {}, [[]], {"": {}}, [None], ["a", 1], {"a": 1}, [[[[[[[[[]]]]]]]]], {"srcache": [1, {"b": None}]}),
)
"""Values that stand where others should."""

BOMBS = (
    *("[" * 2000, "{a: " * 500, "- " * 500, '{"a":' * 2000, "9" * 5000, "1e999", "NaN", "\\ud800", "\0", "\xff"),
    *("2024-02-30", "2024-02-03", "!!binary ===", "!!python/name:os.system", "!!timestamp x", "0x" + "f" * 400),
    *("&a [x, x]", "*a", "<<: {a: 1}", "? [a]\n: b", "!!set {a}", "!!int ''", ".inf", "1:30:00", "\u2028", "%TAG"),
)
"""Text that makes readers of YAML or JSON stumble."""

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 12))
"""A few hundred bytes that stand for gigabytes."""


def mutated(text: str, rng: random.Random, kind: str) -> bytes:
    """A document of a kind (json, jsonl, yaml, csv) that is no longer what it was."""
    if kind in ("json", "yaml") and rng.random() < 0.7:
        plain = json.loads(text) if kind == "json" else yaml.safe_load(text)
        for _ in range(rng.choice((1, 1, 2, 5))):
            plain = _changed(plain, rng)
        return _written(plain, kind)
    if kind == "jsonl" and text and rng.random() < 0.7:
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(_changed(json.loads(lines[at]), rng))
        return ("\n".join(lines) + "\n").encode()
    return _scribbled(text, rng)


def _written(plain: Any, kind: str) -> bytes:
    if kind == "json":
        return json.dumps(plain).encode()
    try:
        return yaml.safe_dump(plain, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    except yaml.YAMLError:
        return json.dumps(plain).encode()


def _changed(plain: Any, rng: random.Random) -> Any:
    """A value with one value in it replaced, lost, or doubled."""
    plain = copy.deepcopy(plain)
    places = list(_places(plain))
    if not places or rng.random() < 0.03:
        return copy.deepcopy(rng.choice(ODD))
    holder, name = rng.choice(places)
    how = rng.random()
    if how < 0.7:
        holder[name] = copy.deepcopy(rng.choice(ODD))
    elif how < 0.85:
        del holder[name]
    elif isinstance(holder, dict):
        holder[rng.choice(("odd", "", "x" * 999, "folder", "__class__"))] = holder.pop(name)
    else:
        holder.insert(0, holder[name])
    return plain


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield value, name
            yield from _places(value[name])


def _scribbled(text: str, rng: random.Random) -> bytes:
    """A text that was cut, flipped, or written into."""
    data, how = bytearray(text.encode()), rng.random()
    at = rng.randrange(len(data) + 1)
    if how < 0.2:
        del data[at:]
    elif how < 0.4 and data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
    elif how < 0.5:
        data += ALIASES.encode()
    elif how < 0.6:
        return rng.choice((b"", b"\xff\xfe", b"null", b"[]", b"{}", b"0", b'"x"', ALIASES.encode(), b"\n" * 999))
    else:
        data[at:at] = rng.choice(BOMBS).encode("utf-8", "surrogatepass")
    return bytes(data)


class HangError(BaseException):
    """Something took longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Around code that must come to an end by then."""

    def act(_number: int, _frame: object) -> None:
        raise HangError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, act)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
