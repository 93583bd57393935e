"""Paired random crops: squares of HR images, and the LR version of each under the same name."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from srcache.catalog.names import stems_of
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.catalog.sources import require_profiles
from srcache.errors import ConfigError, ImageError
from srcache.images import AS_EVER, Colors, Pixels, encode
from srcache.progress import Progress
from srcache.recipe.degradation import Degradation
from srcache.study.prepare.claim import claim_folders
from srcache.study.prepare.run import ImageOutcome, Prepared, color_parameters, is_written, process_images, write_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSettings:
    """Which squares to cut: where one lies depends on the image's key, the seed and the square's number alone.

    Attributes:
        size: side in pixels; a multiple of `factor`.
        factor: how much smaller the LR version is.
        per_image: squares per image.
        seed: another seed is other squares.
        color_profile, background: how the colours of the images become RGB, as in a recipe.
    """

    size: int = 512
    factor: int = 4
    per_image: int = 30
    seed: int = 0
    color_profile: str = AS_EVER.profile
    background: str = AS_EVER.background

    @property
    def colors(self) -> Colors:
        """How the colours of the images become RGB."""
        return Colors(profile=self.color_profile, background=self.background)

    @property
    def parameters(self) -> dict[str, object]:
        """What makes two runs the same, as JSON values."""
        plain = {name: getattr(self, name) for name in ("size", "factor", "per_image", "seed")}
        return {**plain, **color_parameters(self.colors)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", self.colors.background)
        Degradation(factor=self.factor)
        if self.size < 1 or self.size % self.factor:
            raise ConfigError(f"size must be a multiple of factor {self.factor}, but is {self.size}")
        if self.per_image < 1:
            raise ConfigError(f"per_image must be at least 1, but is {self.per_image}")


def make_crops(
    src: str | Path | Catalog,
    hr_dst: str | Path,
    lr_dst: str | Path,
    squares: CropSettings,
    progress: Progress | None = None,
) -> Prepared:
    """Random squares of every image, and their LR versions under the same names (`…_000.png`, `…_001.png`, …).

    LR is the bicubic degradation of the square itself. An image smaller than a square fails with reason `too_small`.

    Args:
        src: a folder, a CSV or a catalog.
        hr_dst: an empty folder, or one that does not exist; for the squares.
        lr_dst: the same; for their LR versions.
        squares: how large, how many, and the seed.
        progress: called with (done, total) images.

    Raises:
        ConfigError: a folder that cannot be written to.
        CatalogError: names are equal once their suffixes are dropped, or the source cannot be read.
        DiskFullError: no room, or no permission.
    """
    degradation, count = Degradation(factor=squares.factor), squares.per_image
    catalog, folders = open_catalog(src), (Path(hr_dst), Path(lr_dst))
    stems, digits = stems_of([row.name for row in catalog.rows]), max(3, len(str(count - 1)))
    require_profiles(catalog.source, squares.colors)

    def work(index: int) -> ImageOutcome:
        names = [f"{stems[index]}_{number:0{digits}d}.png" for number in range(count)]
        missing = [n for n, name in enumerate(names) if not all(is_written(folder / name) for folder in folders)]
        if not missing:
            return ImageOutcome(kept=2 * count)
        decoded = catalog.load(index, check=True, colors=squares.colors)
        rgb = decoded.rgb
        _require_size(rgb, squares.size)
        for number in missing:
            square = crop(rgb, squares.size, f"{squares.seed}/{catalog.rows[index].key}/{number}")
            write_file(folders[0] / names[number], encode(square, "png"))
            write_file(folders[1] / names[number], encode(degradation.apply(square), "png"))
        return ImageOutcome(written=2 * len(missing), kept=2 * (count - len(missing)), notes=decoded.notes)

    with claim_folders(folders, catalog, "crops", squares.parameters):
        return process_images(catalog, folders, work, progress)


def crop(rgb: Pixels, size: int, name: str) -> Pixels:
    """A square of `size` pixels out of an image at least as large; where it lies is a function of `name` alone."""
    digest, (height, width) = blake2b(name.encode(), digest_size=16).digest(), rgb.shape[:2]
    top = int.from_bytes(digest[:8], "big") % (height - size + 1)
    left = int.from_bytes(digest[8:], "big") % (width - size + 1)
    return rgb[top : top + size, left : left + size]


def _require_size(rgb: Pixels, size: int) -> None:
    height, width = rgb.shape[:2]
    if min(height, width) < size:
        raise ImageError("too_small", f"{width}×{height} pixels are smaller than a square of {size}")
