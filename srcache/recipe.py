"""Recipe: all that is meant to change a pixel of the result, and nothing else; its fingerprint names a cache's folder.

The fingerprint is BLAKE2b with 64 bits (`b2sum -l 64`) over the canonical JSON of the fully resolved recipe. Two rules
keep old caches alive: a released default never changes, and what is added later (`LATE_FIELDS`, an option's `late`)
stays out of the JSON while it holds its default. Whatever can have no effect is refused rather than ignored (a seed for
an engine that draws no noise), so that one image never has two names.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from srcache.degrade import Degradation
from srcache.engine import EngineInfo, OptionValue, Setup, Tiling, find_engine, upscaled_side
from srcache.errors import ConfigError, RecipeError
from srcache.images import parse_codec
from srcache.weights import require_weights, resolve_weights

LATE_FIELDS: frozenset[str] = frozenset()
"""Fields added after the first release; each stays out of the fingerprint while it holds its default."""

SIZES = ("scale", "source")
PRECISIONS = ("fp32", "bf16", "fp16")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to make SR images, complete. Build one with `load_recipe` or `resolve`, which know the engines.

    Attributes:
        name: for people; not in the fingerprint.
        engine, numerics, options: who computes, which version of its arithmetic, with which settings.
        weights: SHA-256 over the files that the engine loads (see `srcache.weights`), or None if it has none.
        degradation: how LR is made from the source image; None if the source image is LR.
        scale: output side / input side.
        size: `scale` leaves the output at scale × LR; `source` resizes it to the source image's size (Lanczos).
        seed: where noise starts from; 0 for engines that draw none.
        codec: None for lossless, or `jpeg:QUALITY`, `webp:QUALITY`.
    """

    name: str = field(compare=False)
    engine: str
    numerics: int = 1
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    weights: str | None = None
    degradation: Degradation | None = None
    scale: float = 4
    size: str = "scale"
    tiling: Tiling | None = None
    precision: str = "fp32"
    color_fix: str | None = None
    seed: int = 0
    codec: str | None = None

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; equal exactly when the same pixels are meant."""
        return blake2b(self.canonical().encode(), digest_size=8).hexdigest()

    @property
    def folder(self) -> str:
        """The name of this recipe's folder in a cache."""
        return f"{self.name}-{self.fingerprint}"

    def canonical(self) -> str:
        """The JSON text that the fingerprint is taken of: sorted keys, no spaces, whole numbers without a point."""
        plain = self.to_dict()
        del plain["name"]
        for late in LATE_FIELDS:
            if plain[late] == _default_of(late):
                del plain[late]
        return json.dumps(_normal(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written in recipe.yaml."""
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["options"] = dict(sorted(self.options.items()))
        plain["degradation"] = str(self.degradation) if self.degradation else None
        plain["tiling"] = str(self.tiling) if self.tiling else None
        plain["scale"] = _normal(self.scale)
        return plain

    def setup(self, device: str, compiled: bool = False) -> Setup:
        """What the engine is built with, to run on a device, compiled or not."""
        return Setup(
            scale=self.scale,
            options=dict(self.options),
            precision=self.precision,
            tiling=self.tiling,
            color_fix=self.color_fix,
            weights=self.weights,
            device=device,
            compiled=compiled,
        )

    def output_size(self, lr: tuple[int, int], source: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the stored image for an LR and a source image of these sizes."""
        if self.size == "source":
            return source
        return upscaled_side(lr[0], self.scale), upscaled_side(lr[1], self.scale)

    def require(self, info: EngineInfo) -> None:
        """Refuse to go on with an engine that would compute something else than this recipe says.

        Raises:
            RecipeError: another version of the engine's arithmetic, or other weights.
            WeightsError: the checkpoint or bundle that the recipe names is not on this machine.
            DamagedError: its bytes are not what they were.
        """
        if info.numerics != self.numerics:
            raise RecipeError(
                f"recipe {self.folder} was made for version {self.numerics} of engine {self.engine}'s arithmetic, "
                f"but version {info.numerics} is installed; resolve the recipe anew (that starts a new folder)"
            )
        if info.loads:
            require_weights(str(self.weights), self.engine)
        elif info.weights != self.weights:
            raise RecipeError(
                f"recipe {self.folder} names weights {self.weights}, but engine {self.engine} loads {info.weights}; "
                "install those weights, or resolve the recipe anew (that starts a new folder)"
            )


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


def _default_of(name: str) -> Any:
    return next(f.default for f in fields(Recipe) if f.name == name)


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _normal(inner) for name, inner in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise RecipeError(f"name must be of lower-case letters, digits, '.', '_' and '-', but is {value!r}")
    return value


def _text(what: str, *choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or (choices and value not in choices):
            raise RecipeError(
                f"{what} must be {'one of ' + ', '.join(choices) if choices else 'a text'}, but is {value!r}"
            )
        return value

    return check


def _whole(what: str, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise RecipeError(f"{what} must be a whole number from 0 to {most}, but is {value!r}")
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None or value == "none" else check(value)


def _scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= 64:
        raise RecipeError(f"scale must be a number above 0, at most 64, but is {value!r}")
    return int(value) if float(value).is_integer() else float(value)


def _options(value: Any) -> dict[str, Any]:
    if value is not None and (not isinstance(value, dict) or not all(isinstance(name, str) for name in value)):
        raise RecipeError(f"options must be a mapping of names to values, but is {value!r}")
    odd = [f"{name}: {setting!r}" for name, setting in (value or {}).items() if not _is_plain(setting)]
    if odd:
        raise RecipeError(f"an option's value is a finite number, a text, true or false, but got {', '.join(odd)}")
    return dict(value or {})


def _is_plain(value: Any) -> bool:
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, bool | int | str)


def _lossy(value: Any) -> str:
    kind, quality = parse_codec(_text("codec")(value))
    if kind not in {"jpeg", "webp"}:
        raise RecipeError(
            f"codec names a lossy codec (jpeg:95); {kind} is lossless, which is what leaving it out means"
        )
    return f"{kind}:{quality}"


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "engine": _text("engine"),
    "numerics": _whole("numerics", 2**31),
    "options": _options,
    "weights": _optional(_text("weights")),
    "degradation": _optional(lambda value: Degradation.parse(_text("degradation")(value))),
    "scale": _scale,
    "size": _text("size", *SIZES),
    "tiling": _optional(lambda value: Tiling.parse(_text("tiling")(value))),
    "precision": _text("precision", *PRECISIONS),
    "color_fix": _optional(_text("color_fix")),
    "seed": _whole("seed", 2**63 - 1),
    "codec": _optional(_lossy),
}
