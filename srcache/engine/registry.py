"""Installed engines, found by name through entry points; nothing is loaded before it is asked for."""

from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from srcache.engine.interface import EngineInfo, Setup, SREngine
from srcache.engine.offline import hub_offline
from srcache.engine.running import on_device
from srcache.errors import EngineError
from srcache.machine import search_path

GROUP = "srcache.engines"
"""The group of entry points that an engine's package declares it in."""


def engine_names() -> list[str]:
    """The names of all installed engines, sorted; loads none of them."""
    return sorted(_installed(search_path()))


def find_engine(name: str) -> type[SREngine]:
    """An installed engine's class, by name.

    Raises:
        EngineError: there is none of this name, or several are, or its package is broken.
    """
    known = _installed(search_path())
    if name not in known:
        raise EngineError(f"no engine is named {name!r}; installed: {', '.join(sorted(known)) or 'none'}")
    if len(found := known[name]) > 1:
        several = ", ".join(sorted(point.value for point in found))
        raise EngineError(f"several engines are named {name!r}: {several}; uninstall the packages of all but one")
    try:
        engine: type[SREngine] = found[0].load()
    except Exception as error:  # a third-party module may raise anything while it is imported
        raise EngineError(f"engine {name} is installed but does not load: {error!r}; reinstall its package") from error
    if not isinstance(getattr(engine, "info", None), EngineInfo):
        raise EngineError(
            f"engine {name} has no `info: EngineInfo`, which an entry of {GROUP} needs; inform its author"
        )
    return engine


@lru_cache(maxsize=1)
def _installed(_: tuple[tuple[str, int], ...]) -> dict[str, list[EntryPoint]]:
    """Different entry points by engine. All packages are asked, once for a search path."""
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    return {name: [point for point in points.values() if point.name == name] for name, _ in points}


def open_engine(name: str, setup: Setup) -> SREngine:
    """Build an installed engine; loads its weights, with the Hugging Face hub's offline switch on.

    Raises:
        EngineError: no such engine, or it refuses the setup.
    """
    build: Any = find_engine(name)
    import torch  # noqa: F401  (what engines are called with: loaded here, not at the first image)

    with hub_offline(), on_device(setup.device):
        engine: SREngine = build(replace(setup, options=build.info.resolved(setup.options)))
    return engine
