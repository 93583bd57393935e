"""What torch and Hugging Face data sets are made of, without their transforms.

A data set is asked for its files first, so that an image has the same key here as in a folder. Only where there are no
files is the picture in memory taken, as the data set gives it once its own transform has been taken off. The caller's
object is never changed: where something must be replaced, it is replaced in a shallow copy. Nothing heavy is imported
for an object that does not come from there, and a source may be pickled or forked like the data set behind it.
"""

import copy
import operator
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from srcache.errors import CatalogError, ImageError
from srcache.images import Decoded, Pixels, decode_both, to_pixels

_ONE_AT_A_TIME = threading.Lock()
_CHEAP_TARGETS = ("torchvision.datasets.cifar", "torchvision.datasets.mnist")
"""Modules whose classes give `targets[i]` as the label of item i, so that no picture is loaded for a label."""


class Source(Protocol):
    """A data set's items as files, bytes or pictures, with their labels.

    Attributes:
        transform: the image transform that was taken off the data set, or None. For a data set that picks by index
            out of another one (torch's Subset), the inner one's.
        root: the folder that the files lie in, if the data set has one.
    """

    transform: Callable[[Any], Any] | None
    root: Path | None

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def path(self, index: int) -> Path | None:
        """The file behind an item, if there is one."""
        ...

    def data(self, index: int) -> bytes | None:
        """The encoded file of an item, if there is one.

        Raises:
            ImageError: it cannot be read (`unreadable`).
        """
        ...

    def label(self, index: int) -> Any:
        """The target as the data set would give it, its target transform applied; None if there are none."""
        ...

    def load(self, index: int) -> Decoded:
        """The picture of an item.

        Raises:
            ImageError: it cannot be used; the reasons are those of `images`.
        """
        ...

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; None if there are none, or if a target transform renumbers them."""
        ...


def open_source(dataset: Any) -> Source:
    """Look into a map-style data set: a torchvision folder, a Subset, a Hugging Face Dataset, or (image, label) items.

    Raises:
        CatalogError: it is none of these, or it applies a transform that cannot be taken off.
    """
    if _is_a(dataset, "torch.utils.data", "Subset"):
        return _Subset(open_source(dataset.dataset), [int(index) for index in dataset.indices])
    if _is_a(dataset, "datasets", "DatasetDict") or _is_a(dataset, "datasets", "IterableDatasetDict"):
        raise CatalogError(f"expected one split, but got a DatasetDict of {', '.join(dataset)}; pass one of them")
    if _is_a(dataset, "datasets", "Dataset"):
        return _HuggingFace(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise CatalogError(
            f"expected a folder, a CSV file or a map-style data set, but got {type(dataset).__name__} without "
            "len() and indexing; a data set that can only be iterated has no names to cache under"
        )
    if _is_folder(dataset):
        return _Folder(dataset)
    return _Items(dataset)


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        ImageError: it cannot be read (`unreadable`).
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"the file cannot be read ({error.strerror or error})") from error


def label_text(label: Any, classes: Sequence[str] | None) -> str | None:
    """A label in words: the class's name for a number that has one; None for what is no single value."""
    if label is None or isinstance(label, str):
        return label
    try:
        number = operator.index(label)
    except TypeError:
        return None if hasattr(label, "__len__") else str(label)
    return classes[number] if classes and 0 <= number < len(classes) else str(number)


class _Folder:
    """torchvision's ImageFolder or DatasetFolder, or whatever has `samples` like them."""

    def __init__(self, dataset: Any) -> None:
        self.transform: Callable[[Any], Any] | None = getattr(dataset, "transform", None)
        self.root = Path(dataset.root).absolute() if isinstance(getattr(dataset, "root", None), str | Path) else None
        self._samples: Sequence[tuple[str | Path, Any]] = dataset.samples
        self._target_transform = getattr(dataset, "target_transform", None)
        self._classes = _class_names(dataset)

    def __len__(self) -> int:
        return len(self._samples)

    def path(self, index: int) -> Path | None:
        return Path(self._samples[index][0]).absolute()

    def data(self, index: int) -> bytes | None:
        return read_file(Path(self._samples[index][0]))

    def label(self, index: int) -> Any:
        target = self._samples[index][1]
        return self._target_transform(target) if self._target_transform else target

    def load(self, index: int) -> Decoded:
        return decode_both(read_file(Path(self._samples[index][0])))

    def classes(self) -> tuple[str, ...] | None:
        return self._classes


class _Subset:
    """Chosen items of another source, in the chosen order."""

    def __init__(self, inner: Source, indices: Sequence[int]) -> None:
        self.transform = inner.transform
        self.root = inner.root
        self._inner = inner
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def path(self, index: int) -> Path | None:
        return self._inner.path(self._indices[index])

    def data(self, index: int) -> bytes | None:
        return self._inner.data(self._indices[index])

    def label(self, index: int) -> Any:
        return self._inner.label(self._indices[index])

    def load(self, index: int) -> Decoded:
        return self._inner.load(self._indices[index])

    def classes(self) -> tuple[str, ...] | None:
        return self._inner.classes()


def subset(source: Source, indices: Sequence[int]) -> Source:
    """A source of some items of another one."""
    return _Subset(source, indices)


class _HuggingFace:
    """A Hugging Face Dataset with one image column, read as files.

    What `set_transform` or `set_format` would do does not happen: such a function makes rows out of rows, so there is
    no image transform in it that could be taken off and applied later.
    """

    def __init__(self, dataset: Any) -> None:
        import datasets

        self.transform: Callable[[Any], Any] | None = None
        self.root: Path | None = None
        features = dict(dataset.features)
        self._image = _image_column(features)
        self._label = _label_column(features)
        feature = features[self._label] if self._label else None
        self._names = tuple(feature.names) if feature and type(feature).__name__ == "ClassLabel" else None
        plain = dataset.with_format(None)
        self._images = plain.select_columns([self._image]).cast_column(self._image, datasets.Image(decode=False))
        self._labels = plain.select_columns([self._label]) if self._label else None
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def __len__(self) -> int:
        return len(self._images)

    def path(self, index: int) -> Path | None:
        item = self._item(index)
        return Path(item["path"]).absolute() if item["bytes"] is None and item["path"] else None

    def data(self, index: int) -> bytes | None:
        item = self._item(index)
        if item["bytes"] is not None:
            return bytes(item["bytes"])
        if not item["path"]:
            raise ImageError("unreadable", "the data set has no image in this row")
        return read_file(Path(item["path"]))

    def label(self, index: int) -> Any:
        return self._labels[index][self._label] if self._labels is not None else None

    def load(self, index: int) -> Decoded:
        return decode_both(self.data(index) or b"")

    def classes(self) -> tuple[str, ...] | None:
        return self._names

    def _item(self, index: int) -> dict[str, Any]:
        """One row, kept until another is asked for: `path` and then `data` read it once."""
        last, item = self._last
        if last != index:
            item = self._images[index][self._image] or {"bytes": None, "path": None}
            self._last = (index, item)
        return item


class _Items:
    """Any other map-style data set of (image, label), its image transform taken off in a shallow copy.

    One thread at a time asks it for an item: a data set over a zip or an HDF5 file may not stand more.
    """

    def __init__(self, dataset: Any) -> None:
        self.root: Path | None = None
        self._dataset, self.transform = _bare(dataset)
        self._classes = _class_names(dataset)
        cheap = type(dataset).__module__ in _CHEAP_TARGETS
        self._targets = dataset.targets if cheap else None
        self._last: tuple[int, tuple[Any, Any]] = (-1, (None, None))
        if len(dataset):
            _require_picture(self._item(0)[0])

    def __len__(self) -> int:
        return len(self._dataset)

    def path(self, index: int) -> Path | None:
        return None

    def data(self, index: int) -> bytes | None:
        return None

    def label(self, index: int) -> Any:
        if self._targets is None:
            return self._item(index)[1]
        target, change = int(self._targets[index]), self._dataset.target_transform
        return change(target) if change else target

    def load(self, index: int) -> Decoded:
        try:
            image = self._item(index)[0]
        except OSError as error:
            raise ImageError("unreadable", f"the data set cannot read its item {index} ({error})") from error
        _require_picture(image)
        if not isinstance(image, Image.Image):
            pixels = _pixels(image)
            return Decoded(pixels, pixels)
        return Decoded(to_pixels(image), np.asarray(image.convert("RGB")))

    def classes(self) -> tuple[str, ...] | None:
        return self._classes

    def _item(self, index: int) -> tuple[Any, Any]:
        """(image, label), kept until another is asked for: `load` and then `label` make it once."""
        with _ONE_AT_A_TIME:
            last, item = self._last
            if last != index:
                found = self._dataset[index]
                if not isinstance(found, tuple | list) or len(found) < 2:
                    what = type(found).__name__
                    raise CatalogError(f"expected items of (image, label), but item {index} is a {what}")
                item = (found[0], found[1])
                self._last = (index, item)
            return item


def _untouched(*given: Any) -> Any:
    """Stands where a transform was: the image, or the image and its target, as they are."""
    return given[0] if len(given) == 1 else given


def _bare(dataset: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """A shallow copy without image transform, and the transform.

    torchvision keeps `transform` and `target_transform` once more as a pair in `transforms`; of that pair only the
    image's half is replaced. `_untouched` goes in rather than None, for data sets that call without asking.
    """
    bare, transform = copy.copy(dataset), getattr(dataset, "transform", None)
    pair = getattr(dataset, "transforms", None)
    if pair is not None and hasattr(pair, "transform") and hasattr(pair, "target_transform"):
        pair = copy.copy(pair)
        pair.transform = None
        _replace(bare, "transforms", pair)
    elif pair is not None:
        _refuse_joint(dataset)
        transform = pair
        _replace(bare, "transforms", _untouched)
    if getattr(dataset, "transform", None) is not None:
        _replace(bare, "transform", _untouched)
    return bare, transform


def _replace(dataset: Any, name: str, value: Any) -> None:
    try:
        setattr(dataset, name, value)
    except AttributeError as error:
        raise CatalogError(
            f"the {name} of {type(dataset).__name__} cannot be taken off ({error}); pass the data set without it"
        ) from error


def _refuse_joint(dataset: Any) -> None:
    if hasattr(dataset, "transform") or hasattr(dataset, "target_transform"):
        raise CatalogError(
            f"{type(dataset).__name__} has `transforms` that change image and target together; there is no way to "
            "apply them after a variant is chosen. Pass the data set without, or with `transform` instead"
        )


def _require_picture(image: Any) -> None:
    if isinstance(image, Image.Image) or _kind(image) == "uint8":
        return
    what = f"{type(image).__name__} of {_kind(image)}" if _kind(image) else type(image).__name__
    raise CatalogError(
        "expected items that start with a Pillow image, a uint8 array (H, W, 3) or a uint8 tensor (3, H, W), but got "
        f"a {what}; if the data set applies a transform itself, pass it without and give the transform to srcache"
    )


def _kind(image: Any) -> str:
    """The type of an array's or a tensor's numbers, without `torch.`; empty for anything else."""
    return str(getattr(image, "dtype", "")).removeprefix("torch.") if hasattr(image, "shape") else ""


def _pixels(image: Any) -> Pixels:
    array = np.asarray(image if isinstance(image, np.ndarray) else image.numpy())
    if not isinstance(image, np.ndarray) and array.ndim == 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError("unsupported", f"expected an array (H, W, 3) or a tensor (3, H, W), but got {image.shape}")
    return np.ascontiguousarray(array)


def _is_folder(dataset: Any) -> bool:
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list | tuple) or len(samples) != len(dataset):
        return False
    return all(isinstance(sample, tuple | list) and isinstance(sample[0], str | Path) for sample in samples[:1])


def _is_a(value: Any, package: str, name: str) -> bool:
    """Whether a class of this name and package is among a value's ancestors; imports nothing."""
    return any(
        kind.__name__ == name and f"{kind.__module__}.".startswith(f"{package}.") for kind in type(value).__mro__
    )


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    if getattr(dataset, "target_transform", None) is not None or not isinstance(names, list | tuple):
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None


def _image_column(features: dict[str, Any]) -> str:
    found = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if len(found) != 1:
        columns = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise CatalogError(
            f"expected a data set with one Image column, but {len(found)} of its columns are: {columns}; "
            "use cast_column, or select_columns, to leave exactly one"
        )
    return found[0]


def _label_column(features: dict[str, Any]) -> str | None:
    named = [name for name in ("label", "labels") if name in features]
    found = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if not named and len(found) > 1:
        raise CatalogError(
            f"expected one label column, but {', '.join(found)} could be it; rename one to `label` with rename_column"
        )
    return (named or found or [None])[0]
