"""An LR copy of a tree of HR images: the same relative names, each image made smaller by one degradation.

Sides that the factor does not divide are cut first, at the right and below, as super-resolution papers do ("mod-crop"):
so an SR image of that factor lies pixel for pixel on what is left of HR, and can be measured against it. A recipe's own
degradation rounds instead, and always has.
"""

from dataclasses import dataclass
from pathlib import Path

from srcache.catalog.names import stems_of
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.catalog.sources import require_profiles
from srcache.errors import RecipeError
from srcache.images import AS_EVER, Colors, Pixels, divisible_part, encode
from srcache.progress import Progress
from srcache.recipe.degradation import Degradation
from srcache.study.prepare.claim import claim_folders
from srcache.study.prepare.run import (
    ImageOutcome,
    Prepared,
    color_parameters,
    is_written,
    process_images,
    write_file,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinking:
    """How LR copies are made: by a degradation, of what is left after `mod_crop`.

    Attributes:
        factor, filter: as in `Degradation`.
        mod_crop: take the top-left part whose sides the factor divides; else round the sides.
        color_profile, background: how the colours of HR become RGB, as in a recipe.

    Raises:
        RecipeError: no such filter, a factor below 2, or a mod_crop that is neither true nor false.
        ConfigError: no such color_profile or background.
    """

    factor: int
    filter: str = "bicubic"
    mod_crop: bool = True
    color_profile: str = AS_EVER.profile
    background: str = AS_EVER.background

    def __post_init__(self) -> None:
        Degradation(factor=self.factor, filter=self.filter)
        if not isinstance(self.mod_crop, bool):
            raise RecipeError(f"mod_crop must be true or false, but is {self.mod_crop!r}")
        object.__setattr__(self, "background", self.colors.background)

    def __str__(self) -> str:
        colors = f", {self.colors}" if self.colors != AS_EVER else ""
        return f"{self._degradation}{' after mod-crop' if self.mod_crop else ''}{colors}"

    @property
    def colors(self) -> Colors:
        """How the colours of HR become RGB."""
        return Colors(profile=self.color_profile, background=self.background)

    @property
    def parameters(self) -> dict[str, object]:
        """What makes two runs the same, as JSON values; what came later is left out where it does nothing."""
        mod_crop = {"mod_crop": True} if self.mod_crop else {}
        return {"degradation": str(self._degradation), **mod_crop, **color_parameters(self.colors)}

    @property
    def _degradation(self) -> Degradation:
        return Degradation(factor=self.factor, filter=self.filter)

    def apply(self, rgb: Pixels) -> Pixels:
        """An HR image → its LR copy."""
        part = divisible_part(rgb, self.factor) if self.mod_crop else rgb
        return self._degradation.apply(part)


def make_lr(
    src: str | Path | Catalog,
    dst: str | Path,
    factor: int | Shrinking,
    filter: str = "bicubic",
    progress: Progress | None = None,
    *,
    mod_crop: bool = True,
) -> Prepared:
    """An LR copy of a tree: the same relative names, as PNG, made smaller by `factor`.

    Args:
        src: a folder, a CSV or a catalog of HR images.
        dst: an empty folder, or one that does not exist.
        factor: how much smaller each side gets, 2 or more; or a Shrinking, which says all that follows too.
        filter: the resampling filter, see `Degradation`.
        mod_crop: shrink the top-left part whose sides the factor divides; else the sides are rounded.
        progress: called with (done, total) images.

    Raises:
        RecipeError: no such filter, or a factor below 2.
        ConfigError: dst cannot be written to.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    how = factor if isinstance(factor, Shrinking) else Shrinking(factor=factor, filter=filter, mod_crop=mod_crop)
    catalog, target = open_catalog(src), Path(dst)
    require_profiles(catalog.source, how.colors)
    stems = stems_of([row.name for row in catalog.rows])

    def work(index: int) -> ImageOutcome:
        path = target / f"{stems[index]}.png"
        if is_written(path):
            return ImageOutcome(kept=1)
        decoded = catalog.load(index, check=True, colors=how.colors)
        write_file(path, encode(how.apply(decoded.rgb), "png"))
        return ImageOutcome(written=1, notes=decoded.notes)

    with claim_folders((target,), catalog, "lr", how.parameters):
        return process_images(catalog, (target,), work, progress)
