"""SRAugmentedDataset: a data set of the same length, labels and order as its base, that serves HR, LR or cached SR.

The variant of an item is a pure function of (policy seed, epoch, the base image's key): the same for any number of
workers, in any order, after any restart, and whatever the cache holds. No model, no GPU and no hashing is on this path:
a key is looked up, bytes are read and decoded, the transform is applied. (With `on_miss="engine"`, `misses` computes.)
A policy that filters by measurements also depends on the cache's side table (see `scores`), as it was when the data set
was opened.
"""

import math
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from srcache.cache.manifest import Cache, RecipeFolder, find_folder
from srcache.dataset.counters import Counters
from srcache.dataset.items import open_items
from srcache.dataset.misses import MissFiller, open_miss_filler
from srcache.dataset.policy import Filter, Policy, Variant
from srcache.dataset.scores import ScoreFilter, open_score_filter
from srcache.engine.interface import SREngine
from srcache.errors import CatalogError, ConfigError, DamagedError, ImageError, MissError, PolicyError, listed
from srcache.images import Pixels, decode, resize
from srcache.keys import ImageKey, entry_name
from srcache.recipe.recipe import Recipe


class SRAugmentedDataset:
    """A map-style data set for training that serves each image of a base as HR, LR or SR, the SR from a cache.

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
        cache: a cache directory.
        recipe: a recipe in the cache, by name, fingerprint or Recipe; may be left out if the cache has just one.
        policy: which variants, how often: see `policy`.
        hr: where the recipe has no degradation (the base is LR), the folder of HR images, paired by relative name.
        size: side, or (height, width), that every variant is resized to (bicubic, antialiased); None leaves each as it
            is, and refuses a batch whose sizes differ; "mixed" lets such a batch through, for a collate of one's own.
        transform: from a Pillow image to what the loop wants; for a base that has none.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr", "hr", "engine" (compute it with
            the recipe's engine and write it back), or such an engine that is open already (spawned workers get a
            pickled copy). Every fallback is counted.
        seed: of a policy that is given as text.

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
        on_miss: "str | SREngine" = "raise",
        *,
        seed: int = 0,
    ) -> None:
        self._folder = find_folder(cache, recipe)
        self._policy = policy if isinstance(policy, Policy) else Policy.parse(policy, seed)
        self._size = _valid_size(size)
        self._on_miss, self._filler = on_miss, open_miss_filler(on_miss, self._folder)
        self._samples = _require_samples(self._policy, self._folder)
        self._items = open_items(base, hr, self._folder.recipe.degradation)
        if "hr" in self._policy.kinds or self._on_miss == "hr":
            self._items.require_hr()
        self._transform = _only_transform(transform, self._items.transform)
        self._store = self._folder.store()
        self._scores = open_score_filter(self._folder.path, self._policy.filters) if self._policy.filters else None
        if self._scores is not None and not self._policy.serves_all:
            self._require_served(self._scores)
        varies = not self._policy.is_constant(self._samples)
        self._counters = Counters(patience=1.5 * len(self._items) if varies else math.inf)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """A batch, as a DataLoader asks for it; one whose images have different sizes is refused (see `size`)."""
        places = [self._place(index) for index in indices]
        if self._filler is not None:
            self._make_missing(places, self._filler)
        items = [self._item(place) for place in places]
        shapes = {_shape(image) for _, image, _ in items} if self._size is None and len(items) > 1 else ()
        if len(shapes) > 1:
            kinds = sorted({kind for kind, _, _ in items})
            raise CatalogError(
                f"a batch of {', '.join(kinds)} images has the sizes {listed(sorted(shapes))}, which do not stack; "
                'give size= to bring them to one size (or size="mixed" if your collate function takes them as they are)'
            )
        return [(image, label) for _, image, label in items]

    def __repr__(self) -> str:
        return f"SRAugmentedDataset({len(self)} images, {self._folder.recipe.folder}, epoch {self.epoch})"

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …, if the base has any."""
        return self._items.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Each class's number, as torchvision has it; empty without classes."""
        return {name: number for number, name in enumerate(self.classes or ())}

    @property
    def targets(self) -> list[Any]:
        """The label of every item, for samplers that balance classes; a base of unknown kind is read through for it."""
        return [self._items.label(index) for index in range(len(self))]

    @property
    def transform(self) -> Callable[[Image.Image], Any] | None:
        """What is applied after a variant is chosen; may be replaced, as in a torchvision data set.

        Workers that run already keep the one that they have.
        """
        return self._transform

    @transform.setter
    def transform(self, transform: Callable[[Image.Image], Any] | None) -> None:
        self._transform = transform

    def name(self, index: int) -> str:
        """What item `index` is called: its file's name below the base's folder, or its number."""
        return self._items.name(self._place(index))

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._counters.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes: hr, lr, sr, missed_to_lr, missed_to_hr and computed."""
        return self._counters.totals()

    @property
    def measurements(self) -> str | None:
        """The digest of the side table that the policy filters by (see `scores`); None if it does not filter."""
        return self._scores.digest if self._scores else None

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run. Call it at the start of every epoch."""
        self._counters.set_epoch(epoch)

    def variant(self, index: int) -> Variant:
        """The variant that item `index` has in the present epoch, whether or not the cache holds it."""
        return self._pick(self._items.key(self._place(index)))

    def _place(self, index: int) -> int:
        """A plain index; negative ones count from the end, as in any sequence."""
        number = operator.index(index)
        place = number + (len(self) if number < 0 else 0)
        if not 0 <= place < len(self):
            raise IndexError(f"expected an index below {len(self)}, but got {index}")
        return place

    def _pick(self, key: ImageKey) -> Variant:
        return self._policy.pick(key, self._counters.epoch, self._samples, self._passing)

    def _passing(self, key: str, conditions: Filter) -> Sequence[int]:
        """The samples of an image that pass a filter, by the side table."""
        return self._scores.passing(self._measured_as(key, self._scores), conditions) if self._scores else ()

    def _measured_as(self, key: str, scores: ScoreFilter) -> str:
        """The key that an image was measured under: for pixels in memory, that of the file they are of."""
        return key if scores.knows(key) else self._store.resolve(key) or key

    def _require_served(self, scores: ScoreFilter) -> None:
        """Refuse, before the first batch, a policy that leaves nothing for some images.

        Raises:
            PolicyError: how many and which images, and what to add.
        """
        keys = [self._items.key(place) for place in range(len(self))]
        left = [place for place, key in enumerate(keys) if not self._policy.serves(key, self._samples, self._passing)]
        if left:
            unknown = sum(not scores.knows(self._measured_as(keys[place], scores)) for place in left)
            rowless = f", {unknown} of which have no row in {scores.path} (`srcache safety` measures them)"
            names = listed([self._items.name(place) for place in left])
            raise PolicyError(
                f"the policy {self._policy} leaves nothing for {len(left)} of {len(self)} images"
                f"{rowless if unknown else ''}: {names}; add a plain term that serves them, such as lr, or choose "
                "other bounds"
            )

    def _item(self, place: int) -> tuple[str, Any, Any]:
        """The kind of variant that was served, the transformed image, and the label."""
        kind, pixels = self._pixels(place)
        self._counters.count(kind)
        if isinstance(self._size, tuple):
            pixels = resize(pixels, self._size, "bicubic")
        image = Image.fromarray(pixels)
        return kind, image if self._transform is None else self._transform(image), self._items.label(place)

    def _pixels(self, place: int) -> tuple[str, Pixels]:
        key = self._items.key(place)
        variant = self._pick(key)
        if variant.kind == "hr":
            return "hr", self._items.hr(place)
        if variant.kind == "lr":
            return "lr", self._items.lr(place)
        name, payload = self._look_up(key, variant)
        return ("sr", self._decode_entry(place, name, payload)) if payload is not None else self._fall_back(place, name)

    def _look_up(self, key: ImageKey, variant: Variant) -> tuple[str, bytes | None]:
        """An SR image's name and bytes. Pixels in memory are also looked for under the key of the file they are of."""
        name = entry_name(key, variant.sample or 0)
        payload = self._store.get(name)
        if payload is None and (file := self._store.resolve(key)) is not None:
            name = entry_name(ImageKey(file), variant.sample or 0)
            payload = self._store.get(name)
        return name, payload

    def _decode_entry(self, place: int, name: str, payload: bytes) -> Pixels:
        try:
            return decode(payload)
        except ImageError as error:
            what = f"the SR image {name} of {self._items.name(place)} in {self._folder.path} cannot be decoded: {error}"
            if error.reason == "too_large":
                raise ImageError(error.reason, what) from error
            raise DamagedError(f"{what}; `srcache verify` looks for more such entries") from error

    def _fall_back(self, place: int, name: str) -> tuple[str, Pixels]:
        """What to serve for an SR image that the cache does not hold."""
        if self._on_miss == "lr":
            self._counters.count("missed_to_lr")
            return "lr", self._items.lr(place)
        if self._on_miss == "hr":
            self._counters.count("missed_to_hr")
            return "hr", self._items.hr(place)
        samples = f" --samples {self._samples}" if self._samples > 1 else ""
        raise MissError(
            f"the cache has no SR image {name} of {self._items.name(place)} by recipe {self._folder.recipe.folder}; "
            f"run `srcache build{samples}` (`srcache explain` says why it is missing), or choose on_miss="
        )

    def _make_missing(self, places: Sequence[int], filler: MissFiller) -> None:
        """Make the SR images that a batch lacks, all at once."""
        missing: dict[str, int] = {}
        for place in places:
            key = self._items.key(place)
            variant = self._pick(key)
            name, payload = self._look_up(key, variant) if variant.kind == "sr" else ("", b"")
            if payload is None:
                missing[name] = place
        if missing:
            items = self._items
            wanted = ((name, items.name(place), items.decoded(place)) for name, place in missing.items())
            made, failed = filler.make(wanted)
            self._counters.count("computed", made)
            if failed:
                raise MissError(f"{len(failed)} SR images that the cache lacks could not be made: {listed(failed)}")


def _require_samples(policy: Policy, folder: RecipeFolder) -> int:
    """Samples per image in the cache; refuses a policy that names more, before the first batch."""
    if policy.samples > folder.samples:
        raise PolicyError(
            f"the policy names sample {policy.samples - 1}, but {folder.path.name} was built with "
            f"{folder.samples} per image; run `srcache build --samples {policy.samples}`"
        )
    return folder.samples


def _only_transform(
    given: Callable[..., Any] | None, taken_off: Callable[..., Any] | None
) -> Callable[..., Any] | None:
    """The transform that was given, or the base's; refuses both at once."""
    if given is not None and taken_off is not None:
        raise CatalogError("the base has a transform already, which srcache would apply; give transform= or that one")
    return taken_off if given is None else given


def _valid_size(size: Any) -> tuple[int, int] | str | None:
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
