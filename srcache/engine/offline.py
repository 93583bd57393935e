"""Engines are loaded without the Hugging Face hub: what they need is on this machine, or it is an error in words.

Packages that an engine's own packages import may ask the hub while they are imported: bitsandbytes, say, which
diffusers imports where it is installed, takes native code from there and runs it. Nobody asked for that.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

_SWITCH, _CONSTANTS = "HF_HUB_OFFLINE", "huggingface_hub.constants"
_TALKATIVE = ("bitsandbytes",)
"""Packages that warn, by their loggers, of what they could not get."""


@contextmanager
def hub_offline() -> Iterator[None]:
    """The hub's offline switch is on, and what is printed does not get among a command's own output; then as before.

    Meant for one thread at a time, before any work starts.
    """
    said, known = os.environ.get(_SWITCH), sys.modules.get(_CONSTANTS)
    before = getattr(known, _SWITCH, None)
    levels = {name: logging.getLogger(name).level for name in _TALKATIVE}
    os.environ[_SWITCH] = "1"
    if known is not None:
        _set(known, True)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if said is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = said
        if (now := sys.modules.get(_CONSTANTS)) is not None:
            _set(now, before if known is not None else _is_on())


def _set(constants: Any, value: Any) -> None:
    setattr(constants, _SWITCH, value)


def _is_on() -> bool:
    """What the package would have read from the environment."""
    said = os.environ.get(_SWITCH) or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}
