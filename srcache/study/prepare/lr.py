"""An LR copy of a tree of HR images: the same relative names, each image made smaller by one degradation."""

from pathlib import Path

from srcache.catalog.names import stems_of
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.images import encode
from srcache.progress import Progress
from srcache.recipe.degradation import Degradation
from srcache.study.prepare.claim import claim_folders
from srcache.study.prepare.run import ImageOutcome, Prepared, is_written, process_images, write_file


def make_lr(
    src: str | Path | Catalog,
    dst: str | Path,
    factor: int,
    filter: str = "bicubic",
    progress: Progress | None = None,
) -> Prepared:
    """An LR copy of a tree: the same relative names, as PNG, made smaller by `factor`.

    Args:
        src: a folder, a CSV or a catalog of HR images.
        dst: an empty folder, or one that does not exist.
        factor: how much smaller each side gets; 2 or more.
        filter: the resampling filter, see `Degradation`.
        progress: called with (done, total) images.

    Raises:
        RecipeError: no such filter, or a factor below 2.
        ConfigError: dst cannot be written to.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    degradation = Degradation(factor=factor, filter=filter)
    catalog, target = open_catalog(src), Path(dst)
    stems = stems_of([row.name for row in catalog.rows])
    claim_folders((target,), catalog, "lr", {"degradation": str(degradation)})

    def work(index: int) -> ImageOutcome:
        path = target / f"{stems[index]}.png"
        if is_written(path):
            return ImageOutcome(kept=1)
        write_file(path, encode(degradation.apply(catalog.load(index, check=True).rgb), "png"))
        return ImageOutcome(written=1)

    return process_images(catalog, (target,), work, progress)
