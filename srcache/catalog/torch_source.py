"""Data sets as torch has them, as sources of images: torchvision's folders, and any map-style data set of items."""

import copy
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srcache.errors import CatalogError, ImageError
from srcache.images import Decoded, Pixels, decode_both, read_file, to_pixels

_ONE_AT_A_TIME = threading.Lock()
"""Held while any data set is asked for an item."""

_CHEAP_TARGETS = ("torchvision.datasets.cifar", "torchvision.datasets.mnist")
"""Modules whose classes give `targets[i]` as the label of item i, so that no image is loaded for a label."""


def has_samples(dataset: Any) -> bool:
    """Whether a data set has a list `samples` of (file, target) for its items, as torchvision's folders do."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list | tuple) or len(samples) != len(dataset):
        return False
    return all(isinstance(sample, tuple | list) and isinstance(sample[0], str | Path) for sample in samples[:1])


class FolderSource:
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
        """The file behind an item, if there is one; see `Source`."""
        return Path(self._samples[index][0]).absolute()

    def data(self, index: int) -> bytes | None:
        """The encoded file of an item, if there is one; see `Source`."""
        return read_file(Path(self._samples[index][0]))

    def label(self, index: int) -> Any:
        """The target of an item; see `Source`."""
        target = self._samples[index][1]
        return self._target_transform(target) if self._target_transform else target

    def load(self, index: int) -> Decoded:
        """The image of an item; see `Source`."""
        return decode_both(read_file(Path(self._samples[index][0])))

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; see `Source`."""
        return self._classes


class ItemsSource:
    """Any other map-style data set of (image, label), its image transform taken off in a shallow copy.

    One thread at a time asks it for an item: a data set over a zip or an HDF5 file may not be safe for more.
    """

    def __init__(self, dataset: Any) -> None:
        self.root: Path | None = None
        self._dataset, self.transform = _bare(dataset)
        self._classes = _class_names(dataset)
        cheap = type(dataset).__module__ in _CHEAP_TARGETS
        self._targets = dataset.targets if cheap else None
        self._last: tuple[int, tuple[Any, Any]] = (-1, (None, None))
        if len(dataset):
            _require_image(self._item(0)[0])

    def __len__(self) -> int:
        return len(self._dataset)

    def path(self, index: int) -> Path | None:
        """None: items have no files."""
        return None

    def data(self, index: int) -> bytes | None:
        """None: items have no files."""
        return None

    def label(self, index: int) -> Any:
        """The target of an item; see `Source`."""
        if self._targets is None:
            return self._item(index)[1]
        target, change = int(self._targets[index]), self._dataset.target_transform
        return change(target) if change else target

    def load(self, index: int) -> Decoded:
        """The image of an item; see `Source`."""
        try:
            image = self._item(index)[0]
        except OSError as error:
            raise ImageError("unreadable", f"the data set cannot read its item {index} ({error})") from error
        _require_image(image)
        if not isinstance(image, Image.Image):
            pixels = _pixels(image)
            return Decoded(pixels, pixels)
        return Decoded(to_pixels(image), np.asarray(image.convert("RGB")))

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; see `Source`."""
        return self._classes

    def _item(self, index: int) -> tuple[Any, Any]:
        """(image, label), kept until another is asked for, so that `load` and then `label` make it once."""
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


def _pass_through(*given: Any) -> Any:
    """Stands where a transform was: the image, or the image and its target, as they are."""
    return given[0] if len(given) == 1 else given


def _bare(dataset: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """A shallow copy without image transform, and the transform.

    torchvision keeps `transform` and `target_transform` once more as a pair in `transforms`; of that pair only the
    image's half is replaced. `_pass_through` goes in rather than None, for data sets that call without asking.
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
        _replace(bare, "transforms", _pass_through)
    if getattr(dataset, "transform", None) is not None:
        _replace(bare, "transform", _pass_through)
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


def _require_image(image: Any) -> None:
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


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    if getattr(dataset, "target_transform", None) is not None or not isinstance(names, list | tuple):
        return None
    return tuple(names) if all(isinstance(name, str) for name in names) else None
