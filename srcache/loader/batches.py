"""One batch in a slot's memory: decoded where it will lie, with nothing made in between where that can be."""

import ctypes
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from srcache.dataset.augmented import SRAugmentedDataset, refuse_mixed
from srcache.errors import SrcacheError
from srcache.images import Pixels
from srcache.loader.ring import Slot

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """Images, uint8 (N, 3, H, W), channels last in memory; their labels, collated as a DataLoader does; the slot."""

    images: "Tensor"
    labels: Any
    slot: Slot


def load_batch(data: SRAugmentedDataset, indices: Sequence[int], epoch: int, slot: Slot) -> Batch:
    """Read a batch of a data set into a slot; its transform is left out.

    Raises:
        CatalogError: images of different sizes.
        SrcacheError: as `BatchReader.read`; the message names the image. Any other error has a note that does.
    """
    from torch.utils.data import default_collate

    reader, labels, filled = data.reader, list[Any](), _Rows(slot, len(indices))
    places = [reader.place(index) for index in indices]
    try:
        with closing(reader.read(places, epoch, filled.row)) as images:
            for kind, pixels in images:
                filled.add(kind, pixels)
                labels.append(reader.items.label(places[len(labels)]))
    except SrcacheError:
        raise
    except Exception as error:
        place = places[min(len(labels), len(places) - 1)]
        error.add_note(f"while reading {reader.items.name(place)} for a batch")
        raise
    return Batch(filled.tensor(), default_collate(labels), slot)


class _Rows:
    """The images of a batch as they come; the first one's shape is that of all."""

    def __init__(self, slot: Slot, images: int) -> None:
        self._slot, self._images = slot, images
        self._memory: tuple[Tensor, Pixels] | None = None
        self._row: Pixels | None = None
        self._filled = 0
        self._kinds: set[str] = set()
        self._lent: list[tuple[int, Pixels]] = []

    def row(self, number: int) -> Pixels | None:
        """Where the image with this number goes; None as long as the shape is not known."""
        self._row = self._memory[1][number] if self._memory else None
        return self._row

    def add(self, kind: str, pixels: Pixels) -> None:
        """The next image, which is copied unless it came where it goes."""
        self._kinds.add(kind)
        if self._memory is None:
            self._memory = self._slot.take(self._images, pixels.shape)
        array = self._memory[1]
        if pixels.shape != array.shape[1:]:
            refuse_mixed([f"{shape[0]}×{shape[1]}" for shape in (array.shape[1:], pixels.shape)], self._kinds)
        if pixels is not self._row:
            if pixels.flags.writeable or not pixels.flags.c_contiguous:
                array[self._filled] = pixels
            else:
                self._lent.append((self._filled, pixels))
        self._filled += 1
        if self._filled == self._images and self._lent:  # now, for they are valid until the batch ends
            self._copy_lent(array)

    def _copy_lent(self, array: Pixels) -> None:
        """Copy arrays of others, a whole batch at once: one by one, threads would wait for each other at each one."""
        import torch

        if len(self._lent) == self._images:
            flat = torch.from_numpy(array).view(len(array), -1)
            torch.stack([_as_tensor(pixels) for _, pixels in self._lent], out=flat)
        else:
            for row, pixels in self._lent:
                array[row] = pixels
        self._lent.clear()

    def tensor(self) -> "Tensor":
        """All of them."""
        assert self._memory is not None  # a batch has at least one image
        return self._memory[0]


def _as_tensor(pixels: Pixels) -> "Tensor":
    """A read-only array as a flat tensor to copy from; torch would warn of it. The array must outlive the tensor."""
    import torch

    memory = (ctypes.c_uint8 * pixels.nbytes).from_address(pixels.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.uint8)
