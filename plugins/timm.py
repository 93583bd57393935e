"""timm: the reader that `timm.data.ImageDataset` reads its images by, for scripts that make data sets of that class.

`create_loader` also takes an `SRAugmentedDataset` itself: it puts its transform into the data set's `transform`, which
is applied after a variant is chosen. Nothing of timm is imported here.
"""

import io
from pathlib import PurePath
from typing import Any

import numpy as np

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError
from srcache.images import encode


class SRReader:
    """Gives timm's ImageDataset the variants of a data set: `ImageDataset(root, reader=SRReader(data))`.

    timm opens images by Pillow from what looks like a file. It gets PPM, which is the pixels and a short header: exact,
    and read as fast as it is copied (0.2 ms at 224², 2 ms at 512², which `create_loader(data, …)` saves). So timm sees
    what the data set would serve, with the same rules of decoding and the same `size=`, and no file's own bytes.

    Its `set_epoch` is the data set's: call `dataset.reader.set_epoch(epoch)` at the start of every epoch. A loader made
    with `use_multi_epochs_loader` begins on the next epoch before that, and would serve some batches by the old one.

    Args:
        data: without a transform; `create_loader` gives one to the ImageDataset.

    Raises:
        CatalogError: it has a transform, or is no SRAugmentedDataset.
    """

    def __init__(self, data: SRAugmentedDataset) -> None:
        if not isinstance(data, SRAugmentedDataset):
            raise CatalogError(f"expected an SRAugmentedDataset, but got {type(data).__name__}; make one of it first")
        if data.transform is not None:
            raise CatalogError(
                "timm transforms images after it has read them, but the data set has a transform already; "
                "leave it out, or give the data set itself to create_loader, which replaces it"
            )
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple[io.BytesIO, Any]:
        """An image as a file, and its label; errors as of the data set, which timm does not skip."""
        image, label = self._data[index]
        return io.BytesIO(encode(np.asarray(image), "ppm")), label

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Each class's number, as timm's own readers have it."""
        return self._data.class_to_idx

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far; see `SRAugmentedDataset.counts`."""
        return self._data.counts

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run."""
        self._data.set_epoch(epoch)

    def filename(self, index: int, basename: bool = False, absolute: bool = False) -> str:
        """An image's name below its folder, as timm's tools for validation write it down.

        Raises:
            CatalogError: an absolute name was asked for, which a catalog need not have.
        """
        if absolute:
            raise CatalogError("an image of a catalog has a name below its folder only; ask with absolute=False")
        name = self._data.name(index)
        return PurePath(name).name if basename else name

    def filenames(self, basename: bool = False, absolute: bool = False) -> list[str]:
        """All names, in order; see `filename`."""
        return [self.filename(index, basename, absolute) for index in range(len(self))]
