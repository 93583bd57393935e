"""Weights that engines have of their own, with the package that brings them.

They are named by `EngineInfo.weights`. If they do not lie in the engine's package, its class has a static method
`weights_file`, which finds and checks them, and raises what is wrong with them.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from srcache.engine import engine_names, find_engine
from srcache.errors import DamagedError, EngineError, MissingExtraError, WeightsError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWeights:
    """Weights that an engine has of its own; they are usable if there is no `problem`, which then names the remedy.

    Attributes:
        digest: SHA-256 over the files, or None if the engine has none of its own.
        path: where they lie, or None if that is the engine's own package, or not known because of the problem.
        problem: what is wrong; `damaged` tells bytes that are not what they should be from a package that is missing.
        loads: whether the engine runs a checkpoint that the recipe names.
    """

    engine: str
    digest: str | None
    path: Path | None = None
    problem: str | None = None
    damaged: bool = False
    loads: bool = False


def engine_weights(engine: str) -> EngineWeights:
    """Find and check an installed engine's own weights.

    Raises:
        EngineError: no such engine, or it does not load.
    """
    found = find_engine(engine)
    info, locate = found.info, getattr(found, "weights_file", None)
    known = EngineWeights(engine=engine, digest=info.weights, loads=info.loads)
    if locate is None:
        return known
    try:
        return replace(known, path=locate())
    except (MissingExtraError, WeightsError, DamagedError) as error:
        return replace(known, problem=str(error), damaged=isinstance(error, DamagedError))


def of_engines() -> list[EngineWeights]:
    """The weights of every installed engine that has some of its own; engines that do not load are left out."""
    found = []
    for name in engine_names():
        try:
            found.append(engine_weights(name))
        except EngineError:  # `srcache engines` lists it with its error
            continue
    return [one for one in found if one.digest]
