"""Data sets as torch has them, as sources of images: torchvision's folders, and any map-style data set of items."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srcache.catalog.base_transform import TakenOff
from srcache.errors import CatalogError, ImageError, SrcacheError
from srcache.files.locks import ForkLock
from srcache.images import AS_EVER, Colors, Decoded, Pixels, decode_both, decode_pillow, read_file

_ONE_AT_A_TIME = ForkLock(patience=5)
"""Held while any data set is asked for an item; what a data set holds in turn, such as a zip's lock, is free then."""

_LOADERS = ("default_loader", "pil_loader", "accimage_loader")
_TARGETS_ARE_LABELS = (("torchvision.datasets.cifar", "CIFAR10"), ("torchvision.datasets.mnist", "MNIST"))
"""Classes whose items have the label `targets[i]`, so that no image is loaded for a label."""

_TRIED = 8
"""Items that are asked for, until one gives an image, to see what a data set is."""


def is_of(dataset: Any, package: str, name: str) -> bool:
    """Whether a class of this name and package is among a data set's ancestors; imports nothing."""
    return any(_is_class(kind, package, name) for kind in type(dataset).__mro__)


def is_asked_as(dataset: Any, package: str, name: str) -> bool:
    """Whether items come from the methods of this class itself, and no subclass has its own; imports nothing.

    Only then may an item be read in another way than by asking the data set for it.
    """
    for method in ("__getitem__", "__getitems__", "__len__"):
        owner = next((kind for kind in type(dataset).__mro__ if method in vars(kind)), None)
        if owner is None and method == "__getitems__":
            continue
        if owner is None or not _is_class(owner, package, name):
            return False
    return True


def is_plain_folder(dataset: Any) -> bool:
    """Whether items are the files in `samples`, as torchvision's own folders and loaders read them."""
    loader = getattr(dataset, "loader", None)
    home, name = getattr(loader, "__module__", ""), getattr(loader, "__name__", "")
    known = home == "torchvision.datasets.folder" and name in _LOADERS
    return known and is_asked_as(dataset, "torchvision.datasets", "DatasetFolder")


class FolderSource:
    """torchvision's ImageFolder or DatasetFolder, as `is_plain_folder` has it, read as files."""

    def __init__(self, dataset: Any) -> None:
        self.transform: Callable[[Any], Any] | None = getattr(dataset, "transform", None)
        self.root = Path(dataset.root).absolute() if isinstance(getattr(dataset, "root", None), str | Path) else None
        self._home = Path.cwd()
        self._samples: Sequence[tuple[str | Path, Any]] = dataset.samples
        self._target_transform = getattr(dataset, "target_transform", None)
        self._classes = _class_names(dataset)

    def __len__(self) -> int:
        return len(self._samples)

    def path(self, index: int) -> Path | None:
        """The file behind an item, if there is one; see `Source`."""
        return self._home / self._samples[index][0]

    def data(self, index: int) -> bytes | None:
        """The encoded file of an item, if there is one; see `Source`."""
        return read_file(self._home / self._samples[index][0])

    def label(self, index: int) -> Any:
        """The target of an item; see `Source`."""
        target = self._samples[index][1]
        change = self._target_transform
        return _asked(index, lambda: change(target)) if change else target

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        """The image of an item; see `Source`."""
        return decode_both(read_file(self._home / self._samples[index][0]), colors)

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; see `Source`."""
        return self._classes


class ItemsSource:
    """Any other map-style data set of (image, label), its image transform taken off in a shallow copy.

    One thread at a time asks it for an item: a data set over a zip or an HDF5 file may not be safe for more.

    Raises:
        CatalogError: its first items are no images, or its transform cannot be taken off.
    """

    def __init__(self, dataset: Any) -> None:
        self.root: Path | None = None
        self.transform: Callable[[Any], Any] | None = None
        self._classes = _class_names(dataset)
        cheap = any(is_asked_as(dataset, *known) for known in _TARGETS_ARE_LABELS)
        self._targets = dataset.targets if cheap else None
        self._last: tuple[int, tuple[Any, Any]] = (-1, (None, None))
        taken = TakenOff(dataset)
        self._dataset = taken.bare
        if len(dataset):
            self._try()
            self.transform = taken.transform()
        if taken.unused:  # it is the data set's own business
            self._dataset, self._last = dataset, (-1, (None, None))

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
        return _asked(index, lambda: change(target)) if change else target

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        """The image of an item; see `Source`."""
        image = self._item(index)[0]
        if not isinstance(image, Image.Image):
            pixels = _asked(index, lambda: _pixels(image))
            return Decoded(pixels, pixels)
        found: Decoded = _asked(index, lambda: decode_pillow(image, colors))
        return found

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; see `Source`."""
        return self._classes

    def _try(self) -> None:
        """Ask for the first items until one is an image."""
        first: ImageError | None = None
        for index in range(min(_TRIED, len(self._dataset))):
            try:
                self._item(index)
                return
            except ImageError as error:
                first = first or error
        raise CatalogError(str(first)) from first

    def _item(self, index: int) -> tuple[Any, Any]:
        """(image, label), kept until another is asked for, so that `load` and then `label` make it once."""
        with _ONE_AT_A_TIME:
            last, item = self._last
            if last != index:
                item = _checked(_asked(index, lambda: self._dataset[index]), index)
                self._last = (index, item)
            return item


def _is_class(kind: type, package: str, name: str) -> bool:
    return kind.__name__ == name and f"{kind.__module__}.".startswith(f"{package}.")


def _asked(index: int, ask: Callable[[], Any]) -> Any:
    """What a data set, or a decoder, gives when it is asked for an item.

    Raises:
        ImageError: it raised something; another item may be good.
    """
    try:
        return ask()
    except SrcacheError:
        raise
    except Exception as error:  # somebody else's code
        what = f"{type(error).__name__}: {str(error).strip()}"
        raise ImageError("unreadable", f"the data set cannot give its item {index} ({what})") from error


def _checked(item: Any, index: int) -> tuple[Any, Any]:
    """(image, label) of an item, if it starts with an image."""
    if not isinstance(item, tuple | list) or len(item) < 2:
        what = type(item).__name__
        raise ImageError("unsupported", f"expected items of (image, label), but item {index} is a {what}")
    image = item[0]
    if not isinstance(image, Image.Image) and _kind(image) != "uint8":
        what = f"{type(image).__name__} of {_kind(image)}" if _kind(image) else type(image).__name__
        raise ImageError(
            "unsupported",
            "expected items that start with a Pillow image, a uint8 array (H, W, 3) or a uint8 tensor (3, H, W), but "
            f"item {index} has a {what}; if the data set applies a transform itself, pass it without and give the "
            "transform to srcache",
        )
    return image, item[1]


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
