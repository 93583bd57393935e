"""YAML -> Recipe: shipped recipes, changes, mistakes all at once; Recipe -> YAML."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from srcache.engine.interface import EngineInfo
from srcache.engine.registry import find_engine
from srcache.errors import ConfigError, RecipeError
from srcache.recipe.fields import _FIELDS, _options
from srcache.recipe.recipe import Recipe
from srcache.weights.resolve import resolve_weights


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with srcache: name → YAML text."""
    folder = files("srcache_configs").joinpath("recipes")
    found = {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def load_recipe(source: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by its shipped name or from a YAML file, with `changes` such as {"scale": 2, "options.filter": "box"}.

    `weights` may be a bundle's name, or the file of a checkpoint or of a bundle's manifest, relative to the recipe's
    (or, for a shipped one, to where we are); what is found is recorded, and the recipe then names it by its digest.

    Raises:
        RecipeError: no such recipe, or mistakes in it (all of them at once).
        WeightsError: the recipe names a checkpoint or bundle that is not there, or is none.
    """
    shipped, beside = shipped_recipes(), Path()
    if str(source) in shipped:
        text, name = shipped[str(source)], str(source)
    elif Path(source).suffix in {".yaml", ".yml"}:
        text, name, beside = _read(Path(source)), Path(source).stem, Path(source).parent
    else:
        raise RecipeError(f"no recipe is named {str(source)!r}; use one of {', '.join(shipped)}, or a .yaml file")
    plain = _mapping(text, str(source))
    plain.setdefault("name", name)
    changes = changes or {}
    plain = _changed(plain, changes)
    if isinstance(plain.get("weights"), str):
        plain["weights"] = resolve_weights(plain["weights"], Path() if "weights" in changes else beside)
    return resolve(plain)


def resolve(plain: Mapping[str, Any]) -> Recipe:
    """A recipe as people write it → a complete one: the engine's options, version and weights filled in.

    Raises:
        RecipeError: no name or engine, unknown or impossible fields; the message lists every mistake.
        EngineError: the engine is not installed.
    """
    missing = [name for name in ("name", "engine") if name not in plain]
    if missing:
        raise RecipeError(f"a recipe has a name and an engine, but {' and '.join(missing)} is missing: {dict(plain)}")
    info = find_engine(str(plain["engine"])).info
    mistakes: list[str] = []
    values = _checked({"numerics": info.numerics, "weights": info.weights, **plain}, mistakes)
    _collect(mistakes, lambda: values.update(options=info.settled(values.get("options") or {})))
    mistakes += _misfits(values, info)
    if mistakes:
        raise RecipeError(f"recipe {plain.get('name', '')!r} cannot be used:\n  - " + "\n  - ".join(mistakes))
    recipe = Recipe(**values)
    recipe.require(info)
    return recipe


def restore(text: str, origin: str) -> Recipe:
    """A complete recipe as a cache keeps it; needs no engine.

    Raises:
        RecipeError: the text is not one, or was written by a newer srcache.
    """
    mistakes: list[str] = []
    plain = _mapping(text, origin)
    values = _checked(plain, mistakes)
    mistakes += [f"{name} is missing" for name in ("name", "engine") if name not in plain]
    if mistakes:
        raise RecipeError(f"{origin} is not a recipe that this srcache can read:\n  - " + "\n  - ".join(mistakes))
    return Recipe(**values)


def dump(recipe: Recipe) -> str:
    """A recipe as YAML, complete, for people and for `restore`."""
    head = f"# fingerprint {recipe.fingerprint}: everything here that is not `name` decides what the images look like\n"
    return head + yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True)


def _misfits(values: Mapping[str, Any], info: EngineInfo) -> list[str]:
    """What the engine cannot do, or would ignore."""
    scale, found = values.get("scale", 4), []
    if info.scales is not None and scale not in info.scales:
        found.append(f"scale must be one of {', '.join(map(str, info.scales))} for engine {info.name}, but is {scale}")
    if (precision := values.get("precision", "fp32")) not in info.precisions:
        found.append(f"engine {info.name} computes in {', '.join(info.precisions)}, not in {precision}")
    if info.loads and not values.get("weights"):
        found.append(f"engine {info.name} runs a checkpoint; name it, such as weights: RealESRGAN_x4plus.pth")
    if values.get("tiling") and not info.tiles:
        found.append(f"engine {info.name} does not tile; leave tiling out")
    if values.get("color_fix") and values["color_fix"] not in info.color_fixes:
        found.append(f"engine {info.name} has color fixes {', '.join(info.color_fixes) or 'none'}")
    if values.get("seed") and not info.stochastic:
        found.append(f"engine {info.name} draws no noise; leave seed out")
    if values.get("size") == "source" and not values.get("degradation"):
        found.append("size: source needs a degradation (without one the source image is the LR image)")
    return found


def _checked(plain: Mapping[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """The fields in their types; every mistake is noted, none raised."""
    values: dict[str, Any] = {}
    unknown = sorted(set(plain) - set(_FIELDS))
    if unknown:
        mistakes.append(f"unknown field {', '.join(unknown)}; known: {', '.join(_FIELDS)}")
    for name in plain.keys() & _FIELDS.keys():
        _collect(mistakes, lambda name=name: values.update({name: _FIELDS[name](plain[name])}))  # type: ignore[misc]
    return values


def _collect(mistakes: list[str], act: Callable[[], object]) -> None:
    try:
        act()
    except ConfigError as error:
        mistakes.append(str(error))


def _changed(plain: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        if name.startswith("options."):
            plain["options"] = {**_options(plain.get("options")), name.removeprefix("options."): value}
        else:
            plain[name] = value
    return plain


def _mapping(text: str, origin: str) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{origin} is not YAML: {error}") from error
    if not isinstance(plain, dict) or not all(isinstance(name, str) for name in plain):
        raise RecipeError(f"{origin} must be a YAML mapping of a recipe's fields")
    return plain


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} cannot be read: {error}") from error
