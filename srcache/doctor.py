"""What this machine can do for srcache, and what is missing: behind `srcache doctor` and `srcache engines`."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from srcache.engine.interface import EngineInfo
from srcache.engine.registry import engine_names, find_engine
from srcache.errors import DamagedError, EngineError, extra_advice, extra_command
from srcache.files import user_folder, yaml_mapping
from srcache.images import Decoder, decoders_in_use
from srcache.machine import NETWORK, TRIED, accelerators, cores, device_name, file_system, usable_memory, versions
from srcache.recipe.reading import shipped_recipes
from srcache.weights.manifest import shipped_manifests
from srcache.weights.status import bundle_state, engine_weights

_DEVELOPERS = {"dev", "all"}
_REQUIREMENT = re.compile(r"([\w.-]+)\s*([^;]*)(?:;(.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """An installed engine: what it says about itself, or why it does not load."""

    name: str
    info: EngineInfo | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """An optional part of srcache: packages that it lacks, and the command that installs them."""

    name: str
    missing: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeState:
    """A shipped recipe, and what keeps it from running here, with the command that helps; None if it can run."""

    name: str
    engine: str
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder that srcache writes to, now or later."""

    path: Path
    free: int
    filesystem: str
    network: bool
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What `check_machine` found.

    Attributes:
        cores, memory: what this process may use; memory in bytes.
        devices: what torch can compute on, each with its model and memory.
        decoders: what reads JPEG, PNG and QOI files, and why it is not a faster decoder.
        problems: what keeps srcache from working, with what to do.
        advice: what does not, but is worth changing.
    """

    system: str
    cores: int
    memory: int
    versions: dict[str, str]
    devices: tuple[str, ...]
    decoders: tuple[Decoder, ...]
    extras: tuple[Extra, ...]
    engines: tuple[EngineState, ...]
    recipes: tuple[RecipeState, ...]
    home: Place
    cache: Place | None
    problems: tuple[str, ...]
    advice: tuple[str, ...]


def check_machine(cache: Path | None = None) -> Checkup:
    """Examine this machine.

    Args:
        cache: a folder that holds, or shall hold, a cache.
    """
    devices, problems = _devices()
    home, place = _place(user_folder()), _place(cache) if cache else None
    engines = tuple(list_engines())
    problems = [*(_install_advice(*found) for found in _missing_packages(None)), *problems]
    if place and not place.writable:
        problems.append(f"{place.path} cannot be written to; choose another folder for the cache, or give permission")
    advice = [f"engine {one.name} is broken: {one.error}" for one in engines if one.error]
    if place and place.network:
        advice.append(
            f"{place.path} is on {place.filesystem}, shared by machines: keep LMDB caches on a local disk, "
            "or make caches with --store shards"
        )
    if not home.writable:
        advice.append(f"{home.path} cannot be written to, so every scan hashes all files anew; set SRCACHE_HOME")
    return Checkup(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=cores(),
        memory=usable_memory(),
        versions=versions(),
        devices=devices,
        decoders=decoders_in_use(),
        extras=tuple(_extras()),
        engines=engines,
        recipes=tuple(list_recipes()),
        home=home,
        cache=place,
        problems=tuple(problems),
        advice=tuple(advice),
    )


def list_engines() -> Iterator[EngineState]:
    """Every installed engine, by name; nothing heavy is loaded, and a broken one is listed with its error."""
    for name in engine_names():
        try:
            yield EngineState(name=name, info=find_engine(name).info)
        except EngineError as error:
            yield EngineState(name=name, error=str(error))


def list_recipes() -> Iterator[RecipeState]:
    """Every shipped recipe, by name, and whether it can run here; downloads nothing, and reads no large file."""
    for name, text in shipped_recipes().items():
        plain = yaml_mapping(text, f"recipe {name}")
        engine, weights = str(plain["engine"]), plain.get("weights")
        yield RecipeState(name=name, engine=engine, problem=_obstacle(engine, weights))


def _obstacle(engine: str, weights: str | None) -> str | None:
    """What keeps an engine from running a recipe's weights."""
    lacking = [extra for extra in _extras() if extra.name == engine and extra.missing]
    if lacking:
        return f"lacks {', '.join(lacking[0].missing)}; {extra_advice(lacking[0].name)}"
    try:
        if weights in shipped_manifests():
            return bundle_state(str(weights)).problem
        return engine_weights(engine).problem
    except (EngineError, DamagedError) as error:
        return str(error)


def _requirements() -> Iterator[tuple[str | None, str, str]]:
    """What the package srcache requires: (extra, None for all users; package; versions)."""
    for line in requires("srcache") or ():
        match = _REQUIREMENT.match(line)
        package, wanted, marker = match.groups() if match else ("", "", "")
        extra = re.search(r"extra\s*==\s*[\"']([\w-]+)", marker or "")
        yield (extra[1] if extra else None), package, wanted.strip()


def _missing_packages(extra: str | None) -> Iterator[tuple[str, str, str | None]]:
    """Packages of an extra that are not installed or too old: (package, versions, the installed version if any)."""
    for name, package, wanted in _requirements():
        installed = _installed_version(package) if name == extra else None
        if name == extra and (installed is None or _is_older(installed, wanted)):
            yield package, wanted, installed


def _install_advice(package: str, wanted: str, installed: str | None) -> str:
    if installed is None:
        return f"{package} is not installed; run: pip install '{package}{wanted}'"
    return f"{package} {installed} is too old; run: pip install -U '{package}{wanted}'"


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_older(installed: str, wanted: str) -> bool:
    """Whether a version is below what `>=` asks for; other conditions are left to pip."""
    least = re.search(r">=\s*([\d.]+)", wanted)

    def numbers(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3]]

    return bool(least) and numbers(installed) < numbers(least[1] if least else "")


def _extras() -> Iterator[Extra]:
    names = dict.fromkeys(name for name, _, _ in _requirements() if name and name not in _DEVELOPERS)
    for name in sorted(names):
        missing = tuple(package for package, _, _ in _missing_packages(name))
        yield Extra(name=name, missing=missing, command=extra_command(name))


def _devices() -> tuple[tuple[str, ...], list[str]]:
    """What torch can compute on; or why it does not load."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return (), [f"torch does not load ({error}); reinstall it: https://pytorch.org/get-started"]
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    found = [f"cuda:{number} {card.name}, {card.total_memory >> 20} MiB" for number, card in enumerate(cards)]
    found += [device_name(kind) for kind in accelerators() if kind != "cuda"]
    return ("cpu", *(f"{one}{_untried(one)}" for one in found)), []


def _untried(device: str) -> str:
    """What is to be said of a device of a kind on which nobody has run srcache's tests."""
    kind = re.split(r"[: ]", device)[0]
    return "" if kind in TRIED else f" (srcache was never tried on {kind}: compare some images with --device cpu)"


def _place(path: Path) -> Place:
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    filesystem = file_system(there)
    return Place(
        path=path,
        free=shutil.disk_usage(there).free,
        filesystem=filesystem,
        network=filesystem in NETWORK,
        writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
    )
