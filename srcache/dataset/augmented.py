"""SRAugmentedDataset: a data set of the same length, labels and order as its base, that serves HR, LR or cached SR.

The variant of an item is a pure function of (policy seed, epoch, the base image's key): the same for any number of
workers, in any order, after any restart, and whatever the cache holds. No model, no GPU and no hashing is on this path:
a key is looked up, bytes are read and decoded, the transform is applied. (With `on_miss="engine"`, `misses` computes.)
A policy that filters by measurements also depends on the cache's side table (see `scores`), as it was when the data set
was opened.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, SupportsIndex, TypeVar, overload

from PIL import Image

from srcache.cache.manifest import Cache
from srcache.dataset.choice import Chooser
from srcache.dataset.conversion import from_pixels
from srcache.dataset.counters import Counters
from srcache.dataset.items import open_items
from srcache.dataset.lookup import SRImages
from srcache.dataset.misses import fallback_of, miss_folder, open_miss_filler, settled
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.reading import BatchReader
from srcache.engine.interface import SREngine
from srcache.errors import CatalogError, ConfigError, listed
from srcache.recipe.recipe import Recipe
from srcache.service.remote import RemoteService

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    _TorchDataset = Dataset[tuple[Any, Any]]
else:

    class _TorchDataset(Generic[TypeVar("_Item")]):
        """Stands where torch's Dataset will be, which is put there with the first data set; see `_be_torchs`.

        It is Generic as that one is, since Python lets a class change only between bases of the same build.
        """


class SRAugmentedDataset(_TorchDataset):
    """A torch Dataset for training, map-style, that serves each image of a base as HR, LR or SR, the SR from a cache.

    It takes the place of the base in an existing training loop: length, order and labels are the base's, and an item is
    `(transform(image), label)`, where `image` is a Pillow image (RGB). Only which variant of the image is served
    changes with the epoch, by the weights of the policy. The choice is a pure function of the policy, its seed, the
    epoch and the image's bytes (with filters, of the measurements too): the same for any number of workers, in any
    order, and after any restart.

    Call `set_epoch` at the start of every epoch; it also reaches workers that run already (`persistent_workers`). The
    object may be forked, spawned and pickled, so any DataLoader takes it. `counts` says what was served, by all workers
    together. Without `on_miss="engine"` no network is run: serving an image is a look-up, a read and a decoding.

        data = SRAugmentedDataset(ImageFolder("photos", transform=transform), cache="cache", policy="lr=0.5,sr=0.5")
        loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=2)
        for epoch in range(90):
            data.set_epoch(epoch)
            for images, labels in loader:
                ...

    Args:
        base: a folder, a CSV file, a Catalog, or a map-style data set of (image, label). A torchvision-style
            `transform` of it is taken off, and applied after the variant is chosen; the object itself is not changed.
        cache: a cache directory, or the URL of a cache as text, such as s3://bucket/cache.
        recipe: a recipe in the cache, by name, fingerprint or Recipe; may be left out if the cache has just one.
        policy: which variants, how often: see `policy`.
        hr: where the recipe has no degradation (the base is LR), the folder of HR images, paired by relative name.
        size: side, or (height, width), that every variant is resized to (bicubic, antialiased); None leaves each as it
            is, and refuses a batch whose sizes differ; "mixed" lets such a batch through, for a collate of one's own.
        transform: from a Pillow image to what the loop wants; for a base that has none.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr", "hr", "engine" (compute it with
            the recipe's engine and write it back), such an engine that is open already (spawned workers get a pickled
            copy), or the address of an SR service (`srcache serve`) that is asked for it, "http://127.0.0.1:8484", or a
            RemoteService, which says more. Every fallback is counted. With a service the cache may be new: the recipe
            then comes from there.
        seed: of a policy that is given as text.
        classes: the names of the classes 0, 1, …, for a folder or a CSV file that lacks some of them; by default a
            folder's class folders, with and without images, by name.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        base: Any,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "lr=0.5,sr=0.5",
        hr: Any = None,
        size: int | tuple[int, int] | str | None = None,
        transform: Callable[[Image.Image], Any] | None = None,
        on_miss: "str | SREngine | RemoteService" = "raise",
        *,
        seed: int = 0,
        classes: Sequence[str] | None = None,
    ) -> None:
        _be_torchs()
        on_miss = settled(on_miss)
        folder = miss_folder(on_miss, cache, recipe)
        wanted = Policy.of(policy, seed)
        self._size = valid_size(size)
        filler = open_miss_filler(on_miss, folder)
        chooser = Chooser(wanted, images := SRImages(folder))
        items = open_items(base, hr, folder.recipe.degradation, classes, folder.recipe.colors)
        fallback = fallback_of(on_miss)
        if "hr" in wanted.kinds or fallback == "hr":
            items.require_hr()
        if items.dropped and transform is None:
            raise CatalogError(
                f"{items.dropped}, so it is not applied to what is served; give the part for images as transform="
            )
        self.transform = _only_transform(transform, items.transform)
        chooser.require_served(items)
        self._counters = Counters(patience=1.5 * len(items) if chooser.varies else math.inf, more=sorted(wanted.mixes))
        self._reader = BatchReader(
            items=items,
            chooser=chooser,
            images=images,
            counters=self._counters,
            on_miss=fallback,
            filler=filler,
            size=self._size if isinstance(self._size, tuple) else None,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        _be_torchs()
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self._reader.items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> tuple[Any, Any]: ...

    @overload
    def __getitem__(self, index: slice | Iterable[SupportsIndex]) -> list[tuple[Any, Any]]: ...

    def __getitem__(self, index: Any) -> tuple[Any, Any] | list[tuple[Any, Any]]:
        """One item; or of a slice, or of many indices, a list of items, which is read as a batch."""
        if isinstance(index, slice):
            return self.__getitems__(range(*index.indices(len(self))))
        if isinstance(index, Iterable) and getattr(index, "ndim", 1) != 0:
            return self.__getitems__(list(index))
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[tuple[Any, Any]]:
        """A batch, as a DataLoader asks for it; one whose images have different sizes is refused (see `size`)."""
        places = [self._reader.place(index) for index in indices]
        kinds, items = set(), []
        with closing(self._reader.read(places)) as images:
            for place, (kind, pixels) in zip(places, images, strict=True):
                items.append((self._item_of(pixels), self._reader.items.label(place)))
                kinds.add(kind)
        if self._size is None and len(items) > 1:
            refuse_mixed((_shape(image) for image, _ in items), kinds)
        return items

    def __repr__(self) -> str:
        return f"SRAugmentedDataset({len(self)} images, {self._reader.images.folder.recipe.folder}, epoch {self.epoch})"

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …, if the base has any."""
        return self._reader.items.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Each class's number, as torchvision has it; empty without classes."""
        return {name: number for number, name in enumerate(self.classes or ())}

    @property
    def targets(self) -> list[Any]:
        """The label of every item, for samplers that balance classes; a base of unknown kind is read through for it."""
        return [self._reader.items.label(index) for index in range(len(self))]

    @property
    def transform(self) -> Callable[[Any], Any] | None:
        """The transform of each image: the one that was given, or the base's. Another one may be set."""
        return self._transform

    @transform.setter
    def transform(self, transform: Callable[[Any], Any] | None) -> None:
        self._transform, self._item_of = transform, from_pixels(transform)

    @property
    def size(self) -> tuple[int, int] | str | None:
        """(height, width) of every image; None for its own, and "mixed" for different ones in a batch."""
        return self._size

    @property
    def reader(self) -> BatchReader:
        """What reads the images of a batch, for loaders."""
        return self._reader

    def name(self, index: int) -> str:
        """What item `index` is called: its file's name below the base's folder, or its number."""
        return self._reader.items.name(self._reader.place(index))

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._counters.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes: hr, lr, sr, missed_to_lr, missed_to_hr,
        computed (by an engine here) and fetched (from a service); also patch and blend, if the policy has them.
        """
        return self._counters.totals()

    @property
    def measurements(self) -> str | None:
        """The digest of the side table that the policy filters by (see `scores`); None if it does not filter."""
        scores = self._reader.chooser.scores
        return scores.digest if scores else None

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run. Call it at the start of every epoch."""
        self._counters.set_epoch(epoch)

    def variant(self, index: int) -> Variant:
        """The variant that item `index` has in the present epoch, whether or not the cache holds it."""
        return self._reader.chooser.pick(self._reader.items.key(self._reader.place(index)), self.epoch)


def _be_torchs() -> None:
    """Make SRAugmentedDataset a subclass of torch's Dataset; by now, whoever makes one needs torch anyway."""
    from torch.utils.data import Dataset

    if _TorchDataset in SRAugmentedDataset.__bases__:
        SRAugmentedDataset.__bases__ = (Dataset,)


def refuse_mixed(shapes: Iterable[str], kinds: Iterable[str]) -> None:
    """Refuse a batch whose images have different sizes.

    Raises:
        CatalogError: which sizes, of which variants, and what to do.
    """
    if len(different := sorted(set(shapes))) > 1:
        raise CatalogError(
            f"a batch of {', '.join(sorted(kinds))} images has the sizes {listed(different)}, which do not stack; "
            'give size= to bring them to one size (or size="mixed" if your collate function takes them as they are)'
        )


def _only_transform(
    given: Callable[..., Any] | None, taken_off: Callable[..., Any] | None
) -> Callable[..., Any] | None:
    """The transform that was given, or the base's; refuses both at once."""
    if given is not None and taken_off is not None:
        raise CatalogError("the base has a transform already, which srcache would apply; give transform= or that one")
    return taken_off if given is None else given


def valid_size(size: Any) -> tuple[int, int] | str | None:
    """What `size=` stands for: (height, width), "mixed" or None.

    Raises:
        ConfigError: it is none of them.
    """
    if size is None or size == "mixed":
        return "mixed" if size else None
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2 or not all(type(n) is int and n > 0 for n in sides):
        raise ConfigError(f'size must be a side, (height, width), "mixed" or None, but is {size!r}')
    return sides[0], sides[1]


def _shape(image: Any) -> str:
    """An image's size as text: of a tensor or array its shape, of a Pillow image height × width."""
    if isinstance(image, Image.Image):
        return f"{image.height}×{image.width}"
    shape = getattr(image, "shape", None)
    return "×".join(str(side) for side in shape) if shape is not None else "unknown"
