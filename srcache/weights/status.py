"""What weights there are on this machine, and what is wrong with them: of engines, and of bundles.

Weights that an engine has of its own are named by `EngineInfo.weights`. If they do not lie in the engine's package, its
class has a static method `weights_file`, which finds and checks them, and raises what is wrong with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.engine.registry import engine_names, find_engine
from srcache.errors import ConfigError, DamagedError, EngineError, MissingExtraError, WeightsError
from srcache.weights.bundle import check_by_engine, fetch_command
from srcache.weights.contents import content_problem, how_to_get_again
from srcache.weights.digests import WeightsRecord, recorded, recorded_digest, unchanged_file
from srcache.weights.manifest import Manifest, bundle_digest, load_manifest, shipped_manifests
from srcache.weights.search import FoundFile, search


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWeights:
    """Weights that an engine has of its own; they are usable if there is no `problem`, which then names the remedy.

    Attributes:
        digest: SHA-256 over the files, or None if the engine has none of its own.
        path: where they lie, or None if that is the engine's own package, or not known because of the problem.
        problem: what is wrong.
        damaged: whether that is bytes that are not what they should be, rather than a package that is missing.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleState:
    """How much of a bundle is on this machine, as far as can be said without hashing its files or running its engine.

    Attributes:
        digest: what a recipe names, or None if it was never located completely.
        parts: how many files it has.
        missing: the parts whose files are not here.
        made: whether an engine makes all its files when they are needed, so that it is never missing.
        bytes: of the files that are here.
        problem: what keeps it from being used, with the remedy.
    """

    name: str
    summary: str
    engine: str | None
    digest: str | None
    parts: int
    missing: tuple[str, ...]
    made: bool
    bytes: int
    licences: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a bundle that is gone, or is not what was recorded (`damaged`)."""

    bundle: str
    part: str
    detail: str
    damaged: bool


def bundle_states() -> list[BundleState]:
    """The shipped bundles, then those of people's own manifests that were located here; reads no large file.

    Raises:
        DamagedError: a record cannot be read.
    """
    names = shipped_manifests()
    own = {record.name for record in recorded().values()} - set(names)
    return [bundle_state(name) for name in [*names, *sorted(own)]]


def bundle_state(name: str | Path) -> BundleState:
    """How much of a bundle is here; a manifest that cannot be read is a problem, not an error.

    Raises:
        DamagedError: a record cannot be read.
    """
    try:
        manifest = load_manifest(name)
    except ConfigError as error:
        return BundleState(
            name=str(name),
            summary="",
            engine=None,
            digest=None,
            parts=0,
            missing=(),
            made=False,
            bytes=0,
            licences=(),
            problem=str(error),
        )
    found = search(manifest)
    made = all(part.source.made_by for part in manifest.parts)
    missing = () if made else tuple(part for part, one in found.items() if one is None)
    problem = None
    if missing:
        problem = f"lacks {len(missing)} of {len(found)} files; run: {fetch_command(manifest.name)}"
    elif changed := [str(one.path) for one in found.values() if one and one.kept and not _is_as_recorded(one)]:
        problem = f"{changed[0]} has changed since it was recorded; run: srcache models verify {manifest.name}"
    elif broken := next(((one.path, wrong) for one in found.values() if one and (wrong := _wrong(one.path))), None):
        problem = f"{broken[1]}; {how_to_get_again(broken[0], fetch_command(manifest.name))}"
    return BundleState(
        name=manifest.name,
        summary=manifest.summary,
        engine=manifest.engine,
        digest=_digest(manifest, found),
        parts=len(manifest.parts),
        missing=missing,
        made=made,
        bytes=sum(one.path.stat().st_size for one in found.values() if one),
        licences=tuple(sorted({part.source.licence for part in manifest.parts})),
        problem=problem,
    )


def choose_record(word: str) -> str | None:
    """The recorded bundle of this name, or whose digest begins so; None if there is none.

    Raises:
        WeightsError: a known bundle was not located here yet, or several digests begin so.
    """
    if word in shipped_manifests() or Path(word).suffix.lower() in {".yaml", ".yml"}:
        digest = recorded_digest(load_manifest(word).key)
        if digest is None:
            raise WeightsError(f"weights {word} were never found complete on this machine; run: {fetch_command(word)}")
        return digest
    fits = [digest for digest in recorded() if digest.startswith(word)]
    if len(fits) > 1:
        raise WeightsError(f"{len(fits)} bundles begin with {word!r}; `srcache models list` shows them")
    return fits[0] if fits else None


def verify_bundles(records: Sequence[WeightsRecord]) -> Iterator[Damage]:
    """Hash every file of these bundles anew, each file once, and report what is gone or damaged."""
    seen: dict[tuple[Path, str], tuple[str, bool] | None] = {}
    for record in records:
        for part, kept in record.parts.items():
            place = (kept.path, kept.loads)
            if place not in seen:
                seen[place] = None
                try:
                    unchanged_file(kept, fetch_command(record.name), hashed=True)
                    if wrong := content_problem(kept.path):
                        again = how_to_get_again(kept.path, fetch_command(record.name))
                        seen[place] = (f"{wrong}; {again}", True)
                except (DamagedError, WeightsError) as error:
                    seen[place] = (str(error), isinstance(error, DamagedError))
            trouble = seen[place]
            if trouble:
                yield Damage(record.name, part, *trouble)
        if not any(seen[kept.path, kept.loads] for kept in record.parts.values()):
            try:
                check_by_engine(record.engine, {part: kept.path for part, kept in record.parts.items()})
            except WeightsError as error:
                yield Damage(record.name, "(its files together)", str(error), True)


def _wrong(path: Path) -> str | None:
    try:
        return content_problem(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"


def _is_as_recorded(one: FoundFile) -> bool:
    return one.kept is not None and one.kept.is_as_recorded(one.path.stat())


def _digest(manifest: Manifest, found: dict[str, FoundFile | None]) -> str | None:
    known = {name: one.kept.sha256 for name, one in found.items() if one and one.kept}
    return bundle_digest(known) if len(known) == len(found) else manifest.digest
