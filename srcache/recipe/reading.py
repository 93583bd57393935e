"""Recipes as YAML: read (shipped ones, a user's file, a cache's own), changed, completed from the engine, and written.

All mistakes in a recipe are collected and reported by one error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srcache.engine.interface import EngineInfo
from srcache.engine.registry import find_engine
from srcache.errors import Mistakes, RecipeError
from srcache.files import read_text, shipped_texts, yaml_mapping
from srcache.files.documents import short, yaml_text
from srcache.recipe.fields import FIELDS, plain_options
from srcache.recipe.recipe import Recipe, without_late_defaults
from srcache.weights.resolve import require_weights, resolve_weights
from srcache.wording import meant

_WANTED = " of a recipe's fields"


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with srcache: name → YAML text."""
    return shipped_texts("recipes")


def load_recipe(source: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by its shipped name or from a YAML file, with `changes` such as {"scale": 2, "options.filter": "box"}.

    `weights` may be a bundle's name, or the file of a checkpoint or of a bundle's manifest, relative to the recipe's
    folder (or, for a shipped one, to the current folder); what is found is recorded, and the recipe then names it by
    its digest.

    Raises:
        RecipeError: no such recipe, or mistakes in it (all of them at once).
        WeightsError: the recipe names a checkpoint or bundle that is not there, or is none.
    """
    shipped, beside = shipped_recipes(), Path()
    if str(source) in shipped:
        text, name = shipped[str(source)], str(source)
    elif Path(source).suffix in {".yaml", ".yml"}:
        path = Path(source)
        text, name, beside = read_text(path, "recipe", RecipeError), path.stem, path.parent
    else:
        known = f"{meant(str(source), shipped)}use one of {', '.join(shipped)}, or a .yaml file"
        raise RecipeError(f"no recipe is named {str(source)!r}; {known}")
    changes = changes or {}
    plain = _with_changes({"name": name, **_mapping(text, str(source))}, changes)
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
        lacks = " and ".join(missing)
        raise RecipeError(f"a recipe has a name and an engine, but {lacks} is missing: {short(dict(plain))}")
    info = find_engine(str(plain["engine"])).info
    mistakes = Mistakes()
    values = _typed_fields({"numerics": info.numerics, "weights": info.weights, **plain}, mistakes)
    for name in sorted(set(plain) & set(info.options) - set(FIELDS)):
        mistakes.note(f"{name} is an option of engine {info.name}: write options.{name}")
    with mistakes.noting():
        values["options"] = info.settled(values.get("options") or {})
    _note_misfits(values, info, mistakes)
    mistakes.raise_as(RecipeError, f"recipe {plain.get('name', '')!r} cannot be used")
    recipe = Recipe(**values)
    require_engine(recipe, info)
    return recipe


def require_engine(recipe: Recipe, info: EngineInfo) -> None:
    """Refuse to go on with an installed engine that would compute something else than a recipe says.

    Args:
        recipe: a complete recipe.
        info: what the installed engine of this name says about itself.

    Raises:
        RecipeError: another version of the engine's arithmetic, or other weights.
        WeightsError: the checkpoint or bundle that the recipe names is not on this machine.
        DamagedError: its bytes are not what they were.
    """
    if info.numerics != recipe.numerics:
        raise RecipeError(
            f"recipe {recipe.folder} was made for version {recipe.numerics} of engine {recipe.engine}'s arithmetic, "
            f"but version {info.numerics} is installed; resolve the recipe anew (that starts a new folder)"
        )
    if info.loads:
        require_weights(str(recipe.weights), recipe.engine)
    elif info.weights != recipe.weights:
        raise RecipeError(
            f"recipe {recipe.folder} names weights {recipe.weights}, but engine {recipe.engine} loads {info.weights}; "
            "install those weights, or resolve the recipe anew (that starts a new folder)"
        )


def restore(text: str, origin: str) -> Recipe:
    """A complete recipe as a cache keeps it; needs no engine.

    Args:
        text: YAML, as `dump` writes it.
        origin: the file that it is from, for messages.

    Raises:
        RecipeError: the text is not one, or was written by a newer srcache.
    """
    mistakes = Mistakes()
    plain = _mapping(text, origin)
    values = _typed_fields(plain, mistakes)
    for name in ("name", "engine"):
        mistakes.require(name in plain, f"{name} is missing")
    mistakes.raise_as(RecipeError, f"{origin} is not a recipe that this srcache can read")
    return Recipe(**values)


def dump(recipe: Recipe) -> str:
    """A recipe as YAML, complete, for people and for `restore`."""
    head = f"# fingerprint {recipe.fingerprint}: everything here that is not `name` decides what the images look like\n"
    return head + yaml_text(without_late_defaults(recipe.to_dict()))


def _mapping(text: str, origin: str) -> dict[str, Any]:
    plain = yaml_mapping(text, origin, _WANTED, RecipeError)
    if not all(isinstance(name, str) for name in plain):
        raise RecipeError(f"{origin} must be a YAML mapping{_WANTED}")
    return plain


def _with_changes(plain: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        if name.startswith("options."):
            plain["options"] = {**plain_options(plain.get("options")), name.removeprefix("options."): value}
        else:
            plain[name] = value
    return plain


def _typed_fields(plain: Mapping[str, Any], mistakes: Mistakes) -> dict[str, Any]:
    """The fields in their types; every mistake is noted, none raised."""
    values: dict[str, Any] = {}
    unknown = sorted(set(plain) - set(FIELDS))
    mistakes.require(not unknown, f"unknown field {', '.join(unknown)}; known: {', '.join(FIELDS)}")
    for name in (name for name in plain if name in FIELDS):
        with mistakes.noting():
            values[name] = FIELDS[name](plain[name])
    return values


def _note_misfits(values: Mapping[str, Any], info: EngineInfo, mistakes: Mistakes) -> None:
    """Note what the engine cannot do, or would ignore."""
    scale, precision, color_fix = values.get("scale", 4), values.get("precision", "fp32"), values.get("color_fix")
    if info.scales is not None and scale not in info.scales:
        scales = ", ".join(map(str, info.scales))
        mistakes.note(f"scale must be one of {scales} for engine {info.name}, but is {scale}")
    if precision not in info.precisions:
        mistakes.note(f"engine {info.name} computes in {', '.join(info.precisions)}, not in {precision}")
    if info.loads and not values.get("weights"):
        mistakes.note(f"engine {info.name} runs a checkpoint; name it, such as weights: RealESRGAN_x4plus.pth")
    if values.get("tiling") and not info.tiles:
        mistakes.note(f"engine {info.name} does not tile; leave tiling out")
    if color_fix and color_fix not in info.color_fixes:
        mistakes.note(f"engine {info.name} has color fixes {', '.join(info.color_fixes) or 'none'}")
    if values.get("seed") and not info.stochastic:
        mistakes.note(f"engine {info.name} draws no noise; leave seed out")
    if values.get("size") == "source" and not values.get("degradation"):
        mistakes.note("size: source needs a degradation (without one the source image is the LR image)")
