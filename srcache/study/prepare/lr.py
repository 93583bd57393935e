"""An LR copy of a tree."""

from pathlib import Path

from srcache.catalog.names import stems_of
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.images import encode
from srcache.progress import Progress
from srcache.recipe.degradation import Degradation
from srcache.study.prepare.run import Prepared, _claim, _is_whole, _Outcome, _run, _write


def make_lr(
    src: str | Path | Catalog,
    dst: str | Path,
    factor: int,
    filter: str = "bicubic",
    progress: Progress | None = None,
) -> Prepared:
    """An LR copy of a tree: the same relative names, as PNG, shrunk by `factor`.

    Raises:
        RecipeError: no such filter, or a factor below 2.
        ConfigError: dst will not do.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    degradation = Degradation(factor=factor, filter=filter)
    catalog, target = open_catalog(src), Path(dst)
    stems = stems_of([row.name for row in catalog.rows])
    _claim(catalog, (target,), "lr", {"degradation": str(degradation)})

    def work(index: int) -> _Outcome:
        path = target / f"{stems[index]}.png"
        if _is_whole(path):
            return _Outcome(kept=1)
        _write(path, encode(degradation.apply(catalog.load(index, check=True).rgb), "png"))
        return _Outcome(written=1)

    return _run(catalog, (target,), work, progress)
