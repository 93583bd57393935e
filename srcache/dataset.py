"""SRAugmentedDataset: a data set of the same length, labels and order as its base, that serves HR, LR or cached SR.

The variant of an item is a pure function of (policy seed, epoch, image key): the same for any number of workers, in any
order, after any restart. No model, no GPU and no hashing is on this path: a key is looked up, bytes are read and
decoded, the transform is applied.

The epoch and the counters lie in shared memory, so that `set_epoch` reaches workers that already run, and what workers
count is seen in the main process. Each process counts in a row of its own, which needs no lock.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from srcache.engine import SREngine
from srcache.errors import CacheError, CatalogError, ConfigError, MissError, PolicyError, listed
from srcache.images import Pixels, decode, resize
from srcache.items import open_items
from srcache.keys import ImageKey, entry_name
from srcache.manifest import Cache, RecipeFolder, open_cache
from srcache.policy import Policy, Variant
from srcache.recipe import Recipe

if TYPE_CHECKING:
    from srcache.service import SRService

COUNTED = ("hr", "lr", "sr", "missed_to_lr", "missed_to_hr", "computed")
"""What `counts` counts: variants served, fallbacks for missing SR, and SR images made on the way."""

_ROWS = 1021
_LOOK_EVERY = 16
_EPOCH, _SERVED_BEFORE, _WARNED = 0, 1, 2
_MISSES = ("raise", "lr", "hr", "engine")


class SRAugmentedDataset:
    """Drop this around the data set of an existing training loop; see this module's docstring.

    Items are `(transform(image), label)`, where `image` is a Pillow image (RGB).

    Args:
        base: a folder, a CSV file, a Catalog, or a map-style data set of (image or path, label). A torchvision-style
            `transform` of it is taken off, and applied after the variant is chosen; the object itself is not changed.
        cache: a cache directory.
        recipe: a recipe in the cache, by name, fingerprint or Recipe; may be left out if the cache has just one.
        policy: which variants, how often: see `policy`.
        hr: where the recipe has no degradation (the base is LR), the folder of HR images, paired by relative name.
        size: side, or (height, width), that every variant is resized to (bicubic, antialiased); None leaves each as it
            is, and refuses a batch whose sizes differ; "mixed" lets such a batch through, for a collate of one's own.
        transform: from a Pillow image to what the loop wants; for a base that has none.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr", "hr", "engine" (compute it with
            the recipe's engine and write it back), or an engine that is open already. Every fallback is counted.
        seed: of the policy.

    Raises:
        CacheError, CatalogError, PolicyError: what was asked for is not there; the message says what is.
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
        on_miss: "str | SREngine" = "raise",
        *,
        seed: int = 0,
    ) -> None:
        self._folder = _find(cache, recipe)
        self._policy = policy if isinstance(policy, Policy) else Policy.parse(policy, seed)
        self._items = open_items(base, hr, self._folder.recipe.degradation)
        self._size = _checked_size(size)
        self._on_miss = on_miss
        self._transform = _one_transform(transform, self._items.transform)
        self._samples = self._folder.samples
        self._require_variants()
        self._store = self._folder.store()
        self._service: tuple[int, SRService] | None = None
        self._shared = _shared_counters()
        self._counters = self._shared.numpy()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._item(self._position(index))[1:]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """A whole batch; a batch that could not be stacked is refused in words."""
        items = [self._item(self._position(index)) for index in indices]
        shapes = {_shape(image) for _, image, _ in items} if self._size is None else set()
        if len(shapes) > 1:
            kinds = sorted({kind for kind, _, _ in items})
            raise CatalogError(
                f"a batch of {', '.join(kinds)} images has the sizes {listed(sorted(shapes))}, which do not stack; "
                'give size= to bring them to one size (or size="mixed" if your collate function takes them as they are)'
            )
        return [(image, label) for _, image, label in items]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_service", "_counters")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _service=None)
        self._shared.share_memory_()
        self._counters = self._shared.numpy()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …, if the base has any."""
        return self._items.classes

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return int(self._counters[0, _EPOCH])

    @property
    def counts(self) -> dict[str, int]:
        """What was served so far, by all processes: see `COUNTED`."""
        sums = self._counters[1:].sum(axis=0)
        return {name: int(sums[column]) for column, name in enumerate(COUNTED)}

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run. Call it at the start of every epoch."""
        self._counters[0, _EPOCH] = epoch
        self._counters[0, _SERVED_BEFORE] = self._served()

    def variant(self, index: int) -> Variant:
        """The variant that item `index` has in the present epoch."""
        return self._pick(self._items.key(self._position(index), self._store.resolve))

    def _position(self, index: int) -> int:
        """A plain index; negative ones count from the end, as in any sequence."""
        position = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"expected an index below {len(self)}, but got {index}")
        return position

    def _pick(self, key: ImageKey) -> Variant:
        return self._policy.pick(key, self.epoch, self._samples)

    def _item(self, index: int) -> tuple[str, Any, Any]:
        """The kind of variant that was served, the transformed image, and the label."""
        kind, pixels = self._pixels(index)
        self._count(kind)
        if isinstance(self._size, tuple):
            pixels = resize(pixels, self._size, "bicubic")
        image = Image.fromarray(pixels)
        return kind, self._transform(image) if self._transform else image, self._items.label(index)

    def _pixels(self, index: int) -> tuple[str, Pixels]:
        key = self._items.key(index, self._store.resolve)
        variant = self._pick(key)
        if variant.kind == "hr":
            return "hr", self._items.hr(index)
        if variant.kind == "lr":
            return "lr", self._items.lr(index)
        name = entry_name(key, variant.sample or 0)
        payload = self._store.get(name)
        return ("sr", decode(payload)) if payload is not None else self._missed(index, name)

    def _missed(self, index: int, name: str) -> tuple[str, Pixels]:
        """What to serve for an SR image that the cache does not hold."""
        if self._on_miss == "lr":
            self._count("missed_to_lr")
            return "lr", self._items.lr(index)
        if self._on_miss == "hr":
            self._count("missed_to_hr")
            return "hr", self._items.hr(index)
        if self._on_miss == "raise":
            raise MissError(
                f"the cache has no SR image {name} of {self._items.name(index)} by recipe {self._folder.recipe.folder}; "
                "run `srcache build` (`srcache explain` says why it is missing), or choose on_miss="
            )
        return "sr", self._computed(index, name)

    def _computed(self, index: int, name: str) -> Pixels:
        """Make one SR image, write it back, and serve it as it was stored."""
        from srcache.keys import split_name
        from srcache.service import make_request

        key, sample = split_name(name)
        request = make_request(key, self._items.decoded(index), self._folder.recipe, sample)
        outcome = self._open_service().submit(request).result()
        payload = self._store.get(name)
        if outcome.failure is not None or payload is None:
            why = f"{outcome.failure.reason}: {outcome.failure.detail}" if outcome.failure else "it was not stored"
            raise MissError(f"{self._items.name(index)} has no SR image in the cache, and none could be made ({why})")
        self._count("computed")
        return decode(payload)

    def _open_service(self) -> "SRService":
        """This process's service; a fork starts one of its own."""
        if self._service is None or self._service[0] != os.getpid():
            from srcache.engine import open_engine
            from srcache.machine import device_name, resolve_device
            from srcache.service import ServiceSettings, SRService

            recipe, device = self._folder.recipe, resolve_device("auto")
            engine: Any = self._on_miss
            if self._on_miss == "engine":
                engine = open_engine(recipe.engine, recipe.setup(device))
            settings = ServiceSettings(batch=1, linger=0, device=device_name(device))
            self._service = os.getpid(), SRService(engine, recipe, self._folder.store(writable=True), settings)
        return self._service[1]

    def _require_variants(self) -> None:
        """Refuse a policy that asks for what is not there, before the first batch."""
        if "hr" in self._policy.kinds or self._on_miss == "hr":
            self._items.require_hr()
        if self._policy.samples > self._samples:
            raise PolicyError(
                f"the policy names sample {self._policy.samples - 1}, but {self._folder.path.name} was built with "
                f"{self._samples} per image; run `srcache build --samples {self._policy.samples}`"
            )
        if isinstance(self._on_miss, str) and self._on_miss not in _MISSES:
            raise ConfigError(f"on_miss must be one of {', '.join(_MISSES)}, or an engine, but is {self._on_miss!r}")
        if self._on_miss == "engine" or not isinstance(self._on_miss, str):
            from srcache.engine import find_engine

            own: Any = find_engine(self._folder.recipe.engine) if self._on_miss == "engine" else self._on_miss
            self._folder.recipe.require(own.info)

    def _count(self, what: str) -> None:
        row = self._counters[1 + os.getpid() % _ROWS]
        row[COUNTED.index(what)] += 1
        if what in ("hr", "lr", "sr") and row[:3].sum() % _LOOK_EVERY == 0 and self._is_stale():
            self._counters[0, _WARNED] = 1
            warnings.warn(
                f"{len(self)} items were served one and a half times in epoch {self.epoch}: every image keeps the "
                "variant that it has now; call set_epoch(epoch) on the data set at the start of every epoch",
                stacklevel=2,
            )

    def _is_stale(self) -> bool:
        """Whether the same choices are being served for the second time, for want of `set_epoch`."""
        if self._counters[0, _WARNED] or self._policy.is_constant(self._samples):
            return False
        return self._served() - int(self._counters[0, _SERVED_BEFORE]) > 1.5 * len(self)

    def _served(self) -> int:
        return int(self._counters[1:, :3].sum())


def _find(cache: str | Path | Cache, recipe: str | Recipe | None) -> RecipeFolder:
    opened = cache if isinstance(cache, Cache) else open_cache(cache)
    if recipe is not None:
        return opened.find(recipe)
    folders = opened.folders()
    if len(folders) != 1:
        held = listed([folder.path.name for folder in folders]) or "none yet"
        raise CacheError(f"{opened.path} holds {len(folders)} recipes ({held}); say which with recipe=")
    return folders[0]


def _one_transform(given: Callable[..., Any] | None, taken_off: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if given is not None and taken_off is not None:
        raise CatalogError("the base has a transform already, which srcache would apply; give transform= or that one")
    return given or taken_off


def _checked_size(size: Any) -> tuple[int, int] | str | None:
    if size is None or size == "mixed":
        return "mixed" if size else None
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2 or not all(type(n) is int and n > 0 for n in sides):
        raise ConfigError(f'size must be a side, (height, width), "mixed" or None, but is {size!r}')
    return sides[0], sides[1]


def _shared_counters() -> Any:
    """Row 0: epoch, items served when it was set, whether it was warned. Then a row of `COUNTED` for each process."""
    import torch

    shared: Any = torch.zeros((1 + _ROWS, len(COUNTED)), dtype=torch.int64)
    return shared.share_memory_()


def _shape(image: Any) -> str:
    """An image's size in words: of a tensor or array its shape, of a Pillow image height × width."""
    if isinstance(image, Image.Image):
        return f"{image.height}×{image.width}"
    shape = getattr(image, "shape", None)
    return "×".join(str(side) for side in shape) if shape is not None else "unknown"
