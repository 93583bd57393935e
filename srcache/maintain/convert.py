"""`srcache models convert`: a checkpoint taken in, and held once to the promises that a cache stands on.

An engine that runs checkpoints says, by a static method `checkpoint_setup(digest)`, how it would run one. It is then
built, and checked as authors of engines do: the same image gives the same pixels, whatever its batch and order.
The result lies beside the checkpoint; one that breaks a promise is not run afterwards.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.conformance import check_engine
from srcache.engine.registry import engine_names, find_engine
from srcache.errors import ConformanceError, EngineError, MissingExtraError
from srcache.machine import versions
from srcache.progress import Say
from srcache.weights.checkpoint import EngineCheck, adopt, check_of, record_check

_BATCH, _SIZE = 2, (16, 24)
"""Small, since networks of many millions of weights are run some twenty times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A checkpoint that was taken in.

    Attributes:
        file: where it came from.
        digest: its name.
        check: what came of holding it to the promises; None if no engine here runs it.
        unchecked: why no engine could tell, if one could not.
        notes: what was left out of it.
    """

    file: Path
    digest: str
    check: EngineCheck | None
    unchecked: str | None = None
    notes: tuple[str, ...] = ()


def convert(file: Path, say: Say | None = None) -> Converted:
    """Take a checkpoint in, and check it with the engine that runs it, unless that was done with the same versions.

    Raises:
        WeightsError: it cannot be read, is of another kind, or holds more than tensors.
        DiskFullError: no room.
    """
    notes: list[str] = []
    digest = adopt(file, notes.append)
    check = unchecked = None
    try:
        check = _check(file, digest, say)
    except MissingExtraError as error:
        unchecked = str(error)
    return Converted(file=file, digest=digest, check=check, unchecked=unchecked, notes=tuple(notes))


def _check(file: Path, digest: str, say: Say | None) -> EngineCheck | None:
    found = _engine_for(digest)
    if found is None:
        return None
    name, setup = found
    known = check_of(digest)
    if known is not None and (known.engine, known.versions) == (name, versions()):
        return known
    if say is not None:
        say(f"{file}: checking that engine {name} keeps its promises with it")
    check = EngineCheck(engine=name, scale=setup.scale, problem=_problem(name, setup), versions=versions())
    record_check(digest, check)
    return check


def _engine_for(digest: str) -> tuple[str, Any] | None:
    """The engine that runs a checkpoint, and how; None if none recognises it."""
    for name in engine_names():
        try:
            describe = getattr(find_engine(name), "checkpoint_setup", None)
            if describe is not None:
                return name, describe(digest)
        except EngineError:  # it does not load, or knows no such network
            continue
    return None


def _problem(name: str, setup: Any) -> str | None:
    try:
        check_engine(name, setup, batch=_BATCH, size=_SIZE)
    except ConformanceError as error:
        return str(error)
    return None
