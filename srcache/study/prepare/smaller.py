"""Copies of images that are no larger than a size, for studies whose networks see no more of them anyway."""

from pathlib import Path

from srcache.catalog.names import stems_apart
from srcache.catalog.rows import Catalog
from srcache.catalog.sources import require_profiles
from srcache.images import AS_EVER, Colors, Pixels, encode, resize
from srcache.progress import Progress
from srcache.study.prepare.claim import claim_folders
from srcache.study.prepare.run import (
    ImageOutcome,
    Prepared,
    color_parameters,
    is_written,
    process_images,
    write_file,
)
from srcache.study.prepare.split import names_by_class

_FILTER = "lanczos"


def fit_within(rgb: Pixels, longest: int) -> Pixels:
    """An image whose longer side has at most `longest` pixels, its aspect kept; a smaller one stays as it is."""
    height, width = rgb.shape[:2]
    if max(height, width) <= longest:
        return rgb
    share = longest / max(height, width)
    return resize(rgb, (max(1, round(height * share)), max(1, round(width * share))), _FILTER)


def make_smaller(
    catalog: Catalog,
    dst: Path,
    longest: int,
    colors: Colors = AS_EVER,
    progress: Progress | None = None,
) -> Prepared:
    """Class folders with a copy of every image, as PNG, whose longer side has at most `longest` pixels.

    Args:
        catalog: images with labels.
        dst: an empty folder, or that of an earlier run.
        longest: in pixels.
        colors: how the colours of the images become RGB.
        progress: called with (done, total) images.

    Raises:
        ConfigError: dst cannot be written to.
        CatalogError: several copies would have the same name.
        DiskFullError: no room, or no permission.
    """
    require_profiles(catalog.source, colors)
    names = stems_apart(names_by_class(catalog.rows))

    def work(index: int) -> ImageOutcome:
        path = dst / f"{names[index]}.png"
        if is_written(path):
            return ImageOutcome(kept=1)
        decoded = catalog.load(index, check=True, colors=colors)
        write_file(path, encode(fit_within(decoded.rgb, longest), "png"))
        return ImageOutcome(written=1, notes=decoded.notes)

    with claim_folders((dst,), catalog, "smaller", {"longest": longest, **color_parameters(colors)}):
        return process_images(catalog, (dst,), work, progress)
