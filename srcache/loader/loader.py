"""SRLoader: a DataLoader's batches, in its order and with its variants, decoded by threads into memory used again."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.conversion import on_batches
from srcache.errors import ConfigError
from srcache.loader.device import open_copier
from srcache.loader.epoch import Epoch, Position, Settings
from srcache.loader.ring import Ring

if TYPE_CHECKING:
    import torch

_LIFETIME = 2
"""Batches that are valid at a time: the one that was given last, and the one before it."""


class SRLoader:
    """The fast door to an `SRAugmentedDataset`: it takes a DataLoader's place in a training loop.

    It gives `[images, labels]`: the same batches, in the same order and with the same variants as a DataLoader over the
    same data set with the same arguments and generator. Images are uint8 (N, 3, H, W), channels last in memory, unless
    a transform makes something else of them. Labels are collated as a DataLoader does.

    Images are decoded by threads, straight from the store into a ring of reused batch memory. **A batch is valid until
    the next but one is taken**: use it, or copy it to a device, before; `copy=True` is for loops that keep batches.

        data = SRAugmentedDataset("photos", cache="cache", policy="lr=0.5,sr=0.5", size=224)
        loader = SRLoader(data, batch_size=64, shuffle=True, num_workers=2, device="auto", transform=normalize)
        for epoch in range(90):
            loader.set_epoch(epoch)
            for images, labels in loader:
                ...

    The data set's own transform may be one that makes a tensor of an image and then only changes types and normalises
    (ToImage, ToDtype, Normalize and their like): it is applied to the batch, which comes out the same. Anything that
    draws by chance or changes sizes image by image wants a DataLoader, or `size=` of the data set.

    Args:
        data: the data set.
        batch_size, shuffle, sampler, batch_sampler, drop_last, generator: as DataLoader has them.
        num_workers: threads that decode; 0 decodes in the loop itself.
        prefetch_factor: batches that each thread is ahead; 2 if left out.
        pin_memory: keep batches in memory that a CUDA device copies from by itself; without one it does nothing.
        transform: of a whole batch, uint8 (N, 3, H, W) on the device, such as one of torchvision's v2; it comes after
            the data set's.
        device: where batches go, such as "cuda" or "auto": copied one ahead, on a stream of its own. None leaves them
            on the processor, as a DataLoader does.
        copy: give each batch memory of its own.

    Raises:
        ConfigError: the data set, its sizes or its transform are none that this loader can serve (use a DataLoader), or
            threads that make no sense.
        DeviceError: there is no such device.
        ValueError: as DataLoader, for arguments that exclude each other.
    """

    def __init__(
        self,
        data: SRAugmentedDataset,
        batch_size: int = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: "torch.Generator | None" = None,
        prefetch_factor: int | None = None,
        transform: "Callable[[torch.Tensor], Any] | None" = None,
        device: "str | torch.device | None" = None,
        copy: bool = False,
    ) -> None:
        from torch.utils.data import DataLoader

        _require_data(data, batch_size)
        self.dataset = data
        self._order: DataLoader[Any] = DataLoader(
            data,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            drop_last=drop_last,
            generator=generator,
        )
        self.num_workers, self.prefetch_factor = _valid_threads(num_workers, prefetch_factor)
        self.transform, self.device, self.copy, self.pin_memory = transform, device, copy, pin_memory
        self._copier = None if device is None else open_copier(device)
        self._resumed: dict[str, Any] | None = None
        self._position: Position | None = None
        self._last: weakref.ref[Epoch] | None = None
        self._ring: Ring | None = None
        self._per_batch()

    def __iter__(self) -> Iterator[Any]:
        start, self._resumed = self._resumed, None
        ahead = self.num_workers * (self.prefetch_factor or 0)
        settings = Settings(
            workers=self.num_workers,
            ahead=ahead,
            ring=self._free_ring(ahead + _LIFETIME),
            transform=self._per_batch(),
            copier=self._copier,
        )
        if (sampler := getattr(self.sampler, "__len__", None)) is not None:
            self.dataset.reader.counters.expect(sampler())
        begin = (start["random"], start["batches"]) if start else (None, 0)
        epoch = Epoch(self.dataset, self.batch_sampler, self.generator, settings, begin)
        self._position, self._last = epoch.position, weakref.ref(epoch)
        return epoch

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._order)

    @property
    def batch_size(self) -> int | None:
        """Images in a batch; None if a batch sampler says it."""
        return self._order.batch_size

    @property
    def drop_last(self) -> bool:
        """Whether a last batch that is not full is left out."""
        return self._order.drop_last

    @property
    def sampler(self) -> Any:
        """What gives the items' order, for those who call its `set_epoch`."""
        return self._order.sampler

    @property
    def batch_sampler(self) -> Any:
        """What gives the batches."""
        return self._order.batch_sampler

    @property
    def generator(self) -> "torch.Generator | None":
        """Where the order's random numbers come from; None for torch's own."""
        generator: torch.Generator | None = self._order.generator
        return generator

    def set_epoch(self, epoch: int) -> None:
        """Call `set_epoch` of the data set, and of the sampler if it has one (DistributedSampler has)."""
        self.dataset.set_epoch(epoch)
        for sampler in (self.sampler, self.batch_sampler, getattr(self.batch_sampler, "sampler", None)):
            if (call := getattr(sampler, "set_epoch", None)) is not None:
                call(epoch)
                return

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, to go on from in another process: tensors and numbers, for `torch.save`.

        Taken between two batches, it means the batches that are left of this epoch; taken after an epoch's end, or
        before its beginning, the next epoch.
        """
        position = self._position
        if position is None or position.is_done:
            generator = self.generator
            random = generator.get_state() if generator is not None else None
            return {"epoch": self.dataset.epoch, "batches": 0, "random": random}
        return {"epoch": self.dataset.epoch, "batches": position.given, "random": position.random}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there at the next iteration, with a loader that was made with the same arguments.

        The data set's and the sampler's epoch are set too. An order that a sampler draws from random numbers other than
        `generator` or torch's own is for that sampler to restore.
        """
        self.set_epoch(int(state["epoch"]))
        self._resumed = {"random": state["random"], "batches": int(state["batches"])}

    def _free_ring(self, slots: int) -> Ring:
        """Memory for an epoch: that of the last one, whose pages are mapped already, unless that still runs."""
        last, pinned = self._last() if self._last is not None else None, self._is_pinned()
        fits = self._ring is not None and self._ring.fits(slots, pinned=pinned, reused=not self.copy)
        if self._ring is None or not fits or (last is not None and not last.is_over):
            self._ring = Ring(slots, pinned=pinned, reused=not self.copy)
        return self._ring

    def _is_pinned(self) -> bool:
        if self._copier is not None:
            return True
        if not self.pin_memory:
            return False
        import torch

        return torch.cuda.is_available()

    def _per_batch(self) -> "tuple[Callable[[torch.Tensor], Any], ...]":
        """What is done to each batch: the data set's transform, and the loader's.

        Raises:
            ConfigError: the data set's transform is for one image at a time.
        """
        own = on_batches(self.dataset.transform)
        if own is None and self.dataset.transform is not None:
            raise ConfigError(
                f"the data set's transform, {_one_line(self.dataset.transform)}, is for one image at a time, and "
                "SRLoader works on batches; bring images to one size by size= of the data set, and give SRLoader "
                "transform= for whole batches, uint8 (N, 3, H, W), or use a DataLoader"
            )
        return tuple(step for step in (own, self.transform) if step is not None)


def _require_data(data: Any, batch_size: Any) -> None:
    if not isinstance(data, SRAugmentedDataset):
        raise ConfigError(
            f"SRLoader serves an SRAugmentedDataset, but got {type(data).__name__}; make one over your data set (for a "
            "part of it, give the Subset as its base), or use a DataLoader"
        )
    if data.size == "mixed":
        raise ConfigError(
            'SRLoader makes batches of one size, but the data set has size="mixed"; give it size=, or use a DataLoader'
        )
    if batch_size is None:
        raise ConfigError("SRLoader gives batches, but batch_size is None; use a DataLoader for single images")


def _valid_threads(num_workers: Any, prefetch_factor: Any) -> tuple[int, int | None]:
    """How many threads, and how many batches each is ahead; None without threads."""
    if type(num_workers) is not int or num_workers < 0:
        raise ConfigError(f"num_workers must be a number of threads, or 0 for none, but is {num_workers!r}")
    if prefetch_factor is None:
        return num_workers, 2 if num_workers else None
    if type(prefetch_factor) is not int or prefetch_factor < 1 or not num_workers:
        raise ConfigError(
            f"prefetch_factor must be 1 or more, with num_workers of 1 or more, but is {prefetch_factor!r} with "
            f"num_workers={num_workers}"
        )
    return num_workers, prefetch_factor


def _one_line(transform: Any) -> str:
    return " ".join(repr(transform).split())
