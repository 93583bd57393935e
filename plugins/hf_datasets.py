"""Hugging Face's `datasets`: data sets made from a cache, read into one, and served from one as they are."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from srcache.cache.manifest import Cache, find_folder
from srcache.catalog.huggingface_columns import features_of, image_value, import_datasets, label_feature
from srcache.catalog.scanning import open_catalog
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.by_content import VariantFinder
from srcache.dataset.items import NO_LABEL, require_complete
from srcache.dataset.policy import Policy
from srcache.errors import CatalogError, ConfigError, ImageError, SrcacheError, listed
from srcache.files import disk_errors
from srcache.images import encode, read_file
from srcache.recipe.recipe import Recipe
from srcache.service.remote import RemoteService


def to_hf(
    data: Any,
    cache: str | Path | Cache | None = None,
    recipe: str | Recipe | None = None,
    *,
    hr: Any = None,
    folder: str | Path | None = None,
) -> Any:
    """A `datasets.Dataset` of images as PNG, with their names and labels.

    Of an SRAugmentedDataset it has one column `image`, as that serves it in its present epoch. Of a folder, a CSV file,
    a Catalog or a data set, with a cache, it has one for each variant: `lr`, `sr000`, `sr001`, …, and `hr`. It is
    written to disk once, row by row, and mapped into memory. Its images are files of their own: `SRTransform` finds
    their SR images by the pixels, and SRAugmentedDataset wants a cache that is built from them.

    Args:
        data: an SRAugmentedDataset without a transform, or images that one can be made of.
        cache, recipe, hr: as SRAugmentedDataset takes them; `hr` for a recipe without a degradation.
        folder: where the data set's files go, and stay; None for the cache of `datasets`. They are written anew by each
            call, so remove what is not needed (`Dataset.cleanup_cache_files`), or use `save_to_disk` and a temporary
            folder.

    Raises:
        ConfigError: the images, the cache or the recipe are not there.
        MissError: an SR image is not in the cache.
        DiskFullError: there is no room, or no permission to write.
        MissingExtraError: `datasets` is not installed.
    """
    datasets = import_datasets("a Hugging Face data set")
    columns = {"image": data} if isinstance(data, SRAugmentedDataset) else _variants(data, cache, recipe, hr)
    label = _label_feature(next(iter(columns.values())))
    features = features_of(["name"], columns, label)
    with disk_errors(Path(folder or datasets.config.HF_DATASETS_CACHE)), _own_errors(datasets):
        return datasets.Dataset.from_generator(
            partial(_rows, columns, label is not None),
            features=features,
            cache_dir=None if folder is None else str(folder),
            fingerprint=uuid4().hex,
        )


def from_hf(dataset: Any, cache: str | Path | Cache, *, image: str = "", label: str = "", **given: Any) -> Any:
    """An SRAugmentedDataset over a `datasets.Dataset` that has several images, or a label of another name.

    Where it has one image and a `label`, it may be given to SRAugmentedDataset as it is.

    Args:
        dataset: one split. Images are found by the bytes of their files.
        cache: a cache directory.
        image: the column to serve; may be left out if there is one.
        label: the column with labels; may be left out if it is `label`, or the only ClassLabel.
        given: SRAugmentedDataset's other arguments.

    Raises:
        ConfigError: there are no such columns, or as SRAugmentedDataset.
    """
    columns = getattr(dataset, "features", None)
    if not isinstance(columns, Mapping):
        return SRAugmentedDataset(dataset, cache, **given)
    if missing := [name for name in (image, label) if name and name not in columns]:
        raise CatalogError(f"the data set has no column {', '.join(missing)}; it has {listed(list(columns))}")
    others = [name for name, feature in columns.items() if type(feature).__name__ == "Image" and name != image]
    if image:
        dataset = dataset.remove_columns(others)
    if label:
        labels = [name for name in ("label", "labels") if name in columns and name != label]
        dataset = dataset.remove_columns(labels)
        dataset = dataset if label == "label" else dataset.rename_column(label, "label")
    return SRAugmentedDataset(dataset, cache, **given)


class SRTransform:
    """Serves a `datasets.Dataset` from a cache as it is read: `dataset.with_transform(SRTransform("cache"))`.

    The images of a column become the variants that the policy chooses by the epoch: call `set_epoch` at the start of
    every one (`trainer_callback` does it in a Trainer); it also reaches workers, and the data sets that are made of
    this one by `shuffle` or `select`. Images are found by their pixels; with
    `dataset.cast_column("image", datasets.Image(decode=False))` by their files' bytes, which is faster.

    A Trainer wants `remove_unused_columns=False`, or it takes the column of images away.

    Args:
        cache, recipe, policy: as SRAugmentedDataset takes them.
        image: the column.
        transform: from a Pillow image to what the loop wants; None leaves it.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr" or "hr"; or an SR service's
            address or RemoteService, as SRAugmentedDataset takes them.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "lr=0.5,sr=0.5",
        *,
        image: str = "image",
        transform: Any = None,
        on_miss: "str | RemoteService" = "raise",
    ) -> None:
        if on_miss == "skip":
            raise ConfigError("on_miss must be one of raise, lr, hr, but is 'skip': a data set keeps its length")
        self._finder = VariantFinder(cache, recipe, policy, on_miss)
        self._image, self._transform = image, transform

    def __deepcopy__(self, memo: dict[int, Any]) -> "SRTransform":
        """The same object: `datasets` copies transforms, and a copy would not follow the epoch."""
        return self

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """A batch of rows, as `datasets` gives them; its other columns pass unchanged.

        Raises:
            CatalogError: there is no such column, or no image in it.
            MissError: an SR image is not in the cache, and `on_miss` says "raise".
        """
        if self._image not in rows:
            raise CatalogError(f"the rows have no column {self._image}, but {listed(list(rows))}; name it by image=")
        return {**rows, self._image: [self._served(value) for value in rows[self._image]]}

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._finder.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes; see `SRAugmentedDataset.counts`."""
        return self._finder.counts

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run."""
        self._finder.set_epoch(epoch)

    def _served(self, value: Any) -> Any:
        found = self._finder.find(*_image_in(value, self._image))
        image = Image.fromarray(found.pixels) if found is not None else None
        return image if self._transform is None else self._transform(image)


def _variants(
    base: Any, cache: str | Path | Cache | None, recipe: str | Recipe | None, hr: Any
) -> dict[str, SRAugmentedDataset]:
    """A data set for each variant that a cache and its base have, by the name of its column."""
    if cache is None:
        raise ConfigError("images have SR variants in a cache only; give cache=, or an SRAugmentedDataset")
    held = find_folder(cache, recipe)
    policies = {"lr": "lr", **{f"sr{sample:03d}": f"sr#{sample}" for sample in range(held.samples)}}
    if hr is not None or held.recipe.degradation is not None:
        policies["hr"] = "hr"
    catalog = require_complete(open_catalog(base))
    columns = {name: SRAugmentedDataset(catalog, cache, recipe, policy, hr) for name, policy in policies.items()}
    for data in columns.values():
        data.transform = None
    return columns


@contextmanager
def _own_errors(datasets: Any) -> Iterator[None]:
    """Around the making of a data set, where errors come in one of `datasets`."""
    try:
        yield
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, SrcacheError | OSError):
            raise error.__cause__ from None
        raise


def _rows(columns: Mapping[str, SRAugmentedDataset], labelled: bool) -> Iterator[dict[str, Any]]:
    first = next(iter(columns.values()))
    for index in range(len(first)):
        name = first.name(index)
        row: dict[str, Any] = {"name": name}
        for column, data in columns.items():
            image, label = data[index]
            if not isinstance(image, Image.Image):
                what = type(image).__name__
                raise CatalogError(
                    f"expected a data set of Pillow images, but its transform makes a {what}; leave it out"
                )
            row[column] = image_value(name, ".png", encode(np.asarray(image), "png"))
        yield {**row, "label": label} if labelled else row


def _label_feature(data: SRAugmentedDataset) -> Any:
    """What `datasets` calls the type of a data set's labels; None if it has none."""
    labels = data.targets
    if all(label is None or (isinstance(label, int) and label == NO_LABEL) for label in labels):
        return None
    return label_feature(labels, data.classes)


def _image_in(value: Any, column: str) -> tuple[bytes | Image.Image, str]:
    """A row's image, as `datasets` gives it (decoded or not), and what to call it in a message."""
    if isinstance(value, Image.Image):
        return value, f"an image in column {column}"
    if isinstance(value, Mapping) and (value.get("bytes") is not None or value.get("path")):
        title = str(value.get("path") or f"an image in column {column}")
        try:
            return bytes(value["bytes"]) if value.get("bytes") is not None else read_file(Path(title)), title
        except ImageError as error:
            raise ImageError(error.reason, f"{title}: {error}") from error
    raise CatalogError(f"expected images in column {column}, but a row has {type(value).__name__}")
