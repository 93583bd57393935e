"""Columns of Hugging Face data sets that are made from a cache: images with their bytes, names, keys and labels.

One image is a row: `name`, then `lr`, `sr000`, `sr001` … and `hr` as far as they are there, then `label`. Whoever makes
such a data set, in memory or in files, takes the types of its columns and the values of its images from here.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from srcache.catalog.names import stem_of
from srcache.errors import CatalogError, listed, needs_extra


def import_datasets(what: str) -> Any:
    """The package `datasets`.

    Raises:
        MissingExtraError: it is not installed; `what` wants it.
    """
    with needs_extra("datasets", "datasets", what):
        import datasets
    return datasets


def features_of(texts: Iterable[str], images: Iterable[str], label: Any = None) -> Any:
    """The types of a data set's columns, as `datasets.Features`.

    Args:
        texts: columns of text, the first.
        images: columns of images.
        label: the type of the column `label`, as `label_feature` gives it; None without one.
    """
    datasets = import_datasets("a Hugging Face data set")
    columns = {**{name: datasets.Value("string") for name in texts}, **{name: datasets.Image() for name in images}}
    return datasets.Features({**columns, **({"label": label} if label is not None else {})})


def image_value(name: str, suffix: str, data: bytes) -> dict[str, Any]:
    """An image as a cell: its file's bytes, and what the file may be called.

    Args:
        name: the source image's.
        suffix: of the file, with a dot.
        data: the bytes.
    """
    return {"bytes": data, "path": f"{stem_of(name).replace('/', '_')}{suffix}"}


def label_feature(labels: Sequence[Any], classes: Sequence[str] | None) -> Any:
    """What `datasets` calls the type of labels: a ClassLabel where they are numbers of classes.

    Raises:
        CatalogError: they are of several types.
    """
    datasets = import_datasets("a Hugging Face data set")
    if classes and all(isinstance(label, int | np.integer) for label in labels):
        return datasets.ClassLabel(names=list(classes))
    kinds = {"int64": int | np.integer, "float64": int | float | np.number, "string": str}
    for kind, types in kinds.items():
        if all(isinstance(label, types) for label in labels):
            return datasets.Value(kind)
    found = sorted({type(label).__name__ for label in labels})
    raise CatalogError(f"expected labels that are all numbers or all texts, but they are {listed(found)}")
