"""Data sets of torch and Hugging Face as sources of images: their files, bytes or pixels, without their transforms.

A data set is asked for its files first, so that an image has the same key here as in a folder. Only where there are no
files is the image in memory taken, as the data set gives it once its own transform has been taken off. The caller's
object is never changed: where something must be replaced, it is replaced in a shallow copy. Neither torch nor datasets
is imported for an object that does not come from there, and a source may be pickled or forked like the data set itself.
"""

import operator
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from srcache.catalog.huggingface_source import HuggingFaceSource
from srcache.catalog.torch_source import FolderSource, ItemsSource, is_asked_as, is_of, is_plain_folder
from srcache.errors import CatalogError, listed
from srcache.images import AS_EVER, Colors, Decoded, refuse_in_memory

NO_LABEL = -1
"""The label of an image in a folder without class folders, or below a URL without such."""


class Source(Protocol):
    """A data set's items as files, bytes or pixels, with their labels.

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

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        """The image of an item, its colours made RGB in this way.

        Raises:
            ImageError: it cannot be used; the reasons are those of `images`.
        """
        ...

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; None if there are none, or if a target transform renumbers them."""
        ...


def open_source(dataset: Any) -> Source:
    """Look into a map-style data set: a torchvision folder, a Subset, a Hugging Face Dataset, or (image, label) items.

    A data set is read by its files only where its items are those of torchvision, torch or datasets themselves. A class
    with a `__getitem__` or a loader of its own is asked for its items, whatever else it has.

    Raises:
        CatalogError: it is none of these, or it applies a transform that cannot be taken off.
    """
    if is_of(dataset, "datasets", "DatasetDict") or is_of(dataset, "datasets", "IterableDatasetDict"):
        raise CatalogError(f"expected one split, but got a DatasetDict of {', '.join(dataset)}; pass one of them")
    streams = is_of(dataset, "torch.utils.data", "IterableDataset")
    if streams or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise CatalogError(
            f"expected a folder, a CSV file or a map-style data set, but got {type(dataset).__name__} "
            f"without {'len() and ' if not hasattr(dataset, '__len__') else ''}indexing; "
            "a data set that can only be iterated has no names to cache under"
        )
    if is_asked_as(dataset, "torch.utils.data", "Subset"):
        return _Subset(open_source(dataset.dataset), _plain_indices(dataset))
    if is_asked_as(dataset, "datasets", "Dataset"):
        return HuggingFaceSource(dataset)
    return FolderSource(dataset) if is_plain_folder(dataset) else ItemsSource(dataset)


def require_profiles(source: Source | None, colors: Colors) -> None:
    """Refuse to follow ICC profiles in a source of images in memory; None stands for the files of a catalog.

    Raises:
        ConfigError: profiles are to be followed, and the images are in memory.
    """
    while isinstance(source, _Subset):
        source = source.inner
    if isinstance(source, ItemsSource):
        refuse_in_memory(colors)


def subset(source: Source, indices: Sequence[int]) -> Source:
    """A source of some items of another one."""
    return _Subset(source, indices)


def relabelled(source: Source, labels: Sequence[int], classes: tuple[str, ...]) -> Source:
    """A source with other class numbers for its items, of other classes."""
    return _Relabelled(source, labels, classes)


def label_text(label: Any, classes: Sequence[str] | None) -> str | None:
    """A label as text: the class's name for a number that has one; None for what is no single value."""
    if label is None or isinstance(label, str):
        return label
    try:
        number = operator.index(label)
    except TypeError:
        return None if hasattr(label, "__len__") else str(label)
    return classes[number] if classes and 0 <= number < len(classes) else str(number)


class _Subset:
    """Chosen items of another source, in the chosen order."""

    def __init__(self, inner: Source, indices: Sequence[int]) -> None:
        self.transform = inner.transform
        self.root = inner.root
        self.dropped = getattr(inner, "dropped", "")
        self.unlabelled = getattr(inner, "unlabelled", False)
        self.inner = inner
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def path(self, index: int) -> Path | None:
        return self.inner.path(self._indices[index])

    def data(self, index: int) -> bytes | None:
        return self.inner.data(self._indices[index])

    def label(self, index: int) -> Any:
        return self.inner.label(self._indices[index])

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        return self.inner.load(self._indices[index], colors)

    def classes(self) -> tuple[str, ...] | None:
        return self.inner.classes()


class _Relabelled(_Subset):
    """All items of another source, with labels of their own."""

    def __init__(self, inner: Source, labels: Sequence[int], classes: tuple[str, ...]) -> None:
        super().__init__(inner, range(len(labels)))
        self._labels, self._classes = array("q", labels), classes

    def label(self, index: int) -> int:
        return self._labels[index]

    def classes(self) -> tuple[str, ...]:
        return self._classes


def _plain_indices(dataset: Any) -> list[int]:
    """The indices of a torch Subset as numbers.

    Raises:
        CatalogError: they are a mask, no whole numbers, or outside of the data set.
    """
    inner, found = len(dataset.dataset), list[int]()
    for index in dataset.indices:
        if isinstance(index, bool) or str(getattr(index, "dtype", "")).endswith("bool"):
            raise CatalogError("a Subset's indices must be numbers, but are a mask; give numpy.flatnonzero(mask)")
        try:
            found.append(operator.index(index))
        except TypeError as error:
            raise CatalogError(f"a Subset's indices must be whole numbers, but one is {index!r}") from error
    if wrong := [index for index in found if not -inner <= index < inner]:
        raise CatalogError(f"a Subset of {inner} items has indices that they lack: {listed(wrong)}")
    return [index % inner for index in found]
