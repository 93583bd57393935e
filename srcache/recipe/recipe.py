"""Recipe: all that is meant to change a pixel of the result, and nothing else; its fingerprint names a cache's folder.

The fingerprint is BLAKE2b with 64 bits (`b2sum -l 64`) over the canonical JSON of the fully resolved recipe. Two rules
keep old caches alive: a released default never changes, and what is added later (`LATE_FIELDS`, an option's `late`)
stays out of the JSON while it holds its default. Whatever can have no effect is refused rather than ignored (a seed for
an engine that draws no noise), so that one image never has two names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from srcache.engine.interface import OptionValue, Setup, Tiling, upscaled_side
from srcache.images import AS_EVER, Colors
from srcache.recipe.degradation import Degradation

LATE_FIELDS: frozenset[str] = frozenset({"color_profile", "background"})
"""Fields added after the first release; each stays out of the fingerprint while it holds its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One complete way to make SR images: engine, settings, scale, degradation, codec.

    Build one with `load_recipe` or `resolve`, which know the engines.

    Attributes:
        name: for people; not in the fingerprint.
        engine, numerics, options: the engine's name, the version of its arithmetic, its settings.
        weights: SHA-256 over the files that the engine loads (see `srcache.weights`), or None if it has none.
        degradation: how LR is made from the source image; None if the source image is LR.
        scale: output side / input side.
        size: `scale` leaves the output at scale × LR; `source` resizes it to the source image's size (Lanczos).
        seed: the seed of all noise; 0 for engines that draw none.
        codec: None for lossless, or `jpeg:QUALITY`, `webp:QUALITY`.
        color_profile: `ignore` a source image's ICC profile, or convert to `srgb` by it.
        background: what transparent parts of a source image lie over: white, black or #rrggbb.
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
    color_profile: str = AS_EVER.profile
    background: str = AS_EVER.background

    @property
    def colors(self) -> Colors:
        """How the colours of source images become RGB."""
        return Colors(profile=self.color_profile, background=self.background)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; equal exactly when the same pixels are meant."""
        return blake2b(self.canonical().encode(), digest_size=8).hexdigest()

    @property
    def folder(self) -> str:
        """The name of this recipe's folder in a cache."""
        return f"{self.name}-{self.fingerprint}"

    def canonical(self) -> str:
        """The JSON text that the fingerprint is taken of: sorted keys, no spaces, integers without a decimal point."""
        plain = self.to_dict()
        del plain["name"]
        plain = without_late_defaults(plain)
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


def without_late_defaults(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's plain values without the late fields that hold their defaults: earlier versions know none of these."""
    return {name: value for name, value in plain.items() if name not in LATE_FIELDS or value != _default_of(name)}


def suffix_for(recipe: Recipe) -> str:
    """The suffix of the files that a recipe's images are exported to."""
    return {"jpeg": ".jpg", "webp": ".webp"}.get((recipe.codec or "").partition(":")[0], ".png")


def _default_of(name: str) -> Any:
    return next(f.default for f in fields(Recipe) if f.name == name)


def _normal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _normal(inner) for name, inner in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
