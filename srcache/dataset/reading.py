"""The pixels of a batch: each image's variant from its file or from the cache, or what stands in for a missing one."""

import operator
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, SupportsIndex

from srcache.dataset.choice import Chooser
from srcache.dataset.counters import Counters
from srcache.dataset.items import Items
from srcache.dataset.lookup import SRImages
from srcache.dataset.missing import Filler, Missing
from srcache.dataset.mixing import aligned, mix
from srcache.dataset.policy import Variant
from srcache.dataset.variants import Mixed
from srcache.errors import MissError, listed
from srcache.images import Pixels, is_ppm, resize
from srcache.keys import ImageKey
from srcache.stores import View


class Chosen(NamedTuple):
    """An item of a batch, its key, and the variant that it gets."""

    place: int
    key: ImageKey
    variant: Variant


Found = tuple[str, bytes | memoryview | None]
"""An entry's name, and its payload if it is there."""

Wanted = tuple[int, int]
"""An SR image of a batch: its row, and the sample."""

Memory = Callable[[int], Pixels | None]
"""Where to put the image with this number in its batch: uint8 (H, W, 3); None for an array of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReader:
    """Reads batches of a data set; safe in threads.

    Attributes:
        items: the base.
        chooser: picks the variants.
        images: the cache's SR images.
        counters: counts what was served.
        on_miss: "lr" or "hr": what to serve for an SR image that is not there, and for a mixture with it; anything
            else is an error.
        filler: makes missing SR images before they are read; None to leave it at `on_miss`.
        size: (height, width) that every image is brought to (before it is mixed), or None.
        compared: for each item and sample, whether its SR image is a PPM that was compared with its checksum already.
            To compare it takes as long as to copy it, so it is done once for each reader; any other image's comparison
            is nothing beside its decoding, and done every time.
    """

    items: Items
    chooser: Chooser
    images: SRImages
    counters: Counters
    on_miss: object
    filler: Filler | None
    size: tuple[int, int] | None
    compared: bytearray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compared", bytearray(len(self.items) * self.chooser.samples))

    def place(self, index: SupportsIndex) -> int:
        """A plain item's number; negative indices count from the end, as in any sequence.

        Raises:
            IndexError: there is no such item.
        """
        if isinstance(index, bool) or str(getattr(index, "dtype", "")).endswith("bool"):
            raise TypeError("indices are numbers, not a mask; give numpy.flatnonzero(mask)")
        number = operator.index(index)
        place = number + (len(self.items) if number < 0 else 0)
        if not 0 <= place < len(self.items):
            raise IndexError(f"expected an index below {len(self.items)}, but got {index}")
        return place

    def read(
        self, places: Sequence[int], epoch: int | None = None, memory: Memory | None = None
    ) -> Generator[tuple[str, Pixels]]:
        """The kind of variant and the pixels of each item of a batch, in one view of the store; close it early.

        An image comes in the array that `memory` gave for it, if it has that array's shape. An array that is read-only
        may be somebody else's, and is valid until the batch ends.

        Args:
            places: the items' numbers.
            epoch: that variants are chosen for; None for the present one.

        Raises:
            MissError: an SR image is not in the cache, and `on_miss` says "raise".
            ImageError: a source image cannot be used.
            DamagedError: an SR image is not what was stored.
        """
        chosen = self._choose(places, self.counters.epoch if epoch is None else epoch)
        given = self._make_missing(chosen, self.filler) if self.filler is not None else {}
        served: dict[str, int] = {}
        try:
            with self.images.view() as view:
                found = {spot: _or_given(one, given) for spot, one in self._find(view, chosen).items()}
                for row, item in enumerate(chosen):
                    kind, pixels = self._pixels(item, row, found, memory(row) if memory else None)
                    if self.size is not None:
                        pixels = resize(pixels, self.size, "bicubic")
                    served[kind] = served.get(kind, 0) + 1
                    yield kind.removeprefix("missed_to_"), pixels
        finally:
            for kind, number in served.items():
                if kind.startswith("missed_to_"):
                    self.counters.count(kind, number)
                self.counters.count(kind.removeprefix("missed_to_"), number)

    def look(self, place: int, variant: Variant) -> None:
        """Read one variant of an item, to see whether it can be read; it counts as nothing served.

        Raises:
            MissError, ImageError, DamagedError: as `read`.
        """
        item = Chosen(place, self.items.key(place), variant)
        with self.images.view() as view:
            self._pixels(item, 0, self._find(view, [item]), None)

    def _choose(self, places: Sequence[int], epoch: int) -> list[Chosen]:
        """Before the store is looked at: a choice by measurements asks it for the keys of files."""
        keyed = [(place, self.items.key(place)) for place in places]
        return [Chosen(place, key, self.chooser.pick(key, epoch)) for place, key in keyed]

    def _find(self, view: View, chosen: Sequence[Chosen]) -> "dict[Wanted, Found]":
        """The SR images of a batch."""
        spots = [(row, sample) for row, item in enumerate(chosen) for sample in item.variant.samples]
        wanted = [(chosen[row].key, sample) for row, sample in spots]
        marks = [chosen[row].place * self.chooser.samples + sample for row, sample in spots]
        trusted = [self.compared[mark] for mark in marks]
        found = self.images.find_many(
            view, wanted, trusted, lambda spot: self.items.alias(chosen[spots[spot][0]].place)
        )
        for mark, (_, payload) in zip(marks, found, strict=True):
            if payload is not None and is_ppm(payload):
                self.compared[mark] = 1
        return dict(zip(spots, found, strict=True))

    def _pixels(
        self, item: Chosen, row: int, found: "Mapping[Wanted, Found]", out: Pixels | None
    ) -> tuple[str, Pixels]:
        """What was served, as it is counted, and the pixels."""
        place, _, variant = item
        images = {sample: found[row, sample] for sample in variant.samples}
        missing = next((name for name, payload in images.values() if payload is None), None)
        if missing is None:
            return variant.kind, self._served(place, variant, images, out)
        if self.on_miss == "lr":
            return "missed_to_lr", self.items.lr(place, out)
        if self.on_miss == "hr":
            return "missed_to_hr", self.items.hr(place, out)
        raise self._missing(missing, place)

    def _served(self, place: int, variant: Variant, found: "Mapping[int, Found]", out: Pixels | None) -> Pixels:
        """The pixels of a variant whose SR images are there."""
        if isinstance(variant, Mixed):
            own = 0 if variant.of[1].kind == "lr" else 1  # that one has the size of the mixture, or may have
            first, second = (
                self._served(place, one, found, out if at == own else None) for at, one in enumerate(variant.of)
            )
            return mix(variant, *aligned(variant, (first, second), self.size, partial(self.items.name, place)), out)
        if variant.kind == "hr":
            return self.items.hr(place, out)
        if variant.kind == "lr":
            return self.items.lr(place, out)
        name, payload = found[variant.sample or 0]
        assert payload is not None  # what is missing was seen before
        return self.images.lend(name, payload, partial(self.items.name, place), out)

    def _missing(self, name: str, place: int) -> MissError:
        if self.items.are_files:
            samples = f" --samples {self.chooser.samples}" if self.chooser.samples > 1 else ""
            advice = f"run `srcache build{samples}` (`srcache explain` says why it is missing)"
        else:
            advice = f"run {filling_call(self.images.folder.recipe.name, self.chooser.samples)}"
        return MissError(
            f"the cache has no SR image {name} of {self.items.name(place)} by recipe "
            f"{self.images.folder.recipe.folder}; {advice}, or choose on_miss="
        )

    def _make_missing(self, chosen: Sequence[Chosen], filler: Filler) -> Mapping[str, bytes]:
        """Make the SR images that a batch lacks, all at once; returns those that need not be in the cache then."""
        missing: dict[str, int] = {}
        with self.images.view() as view:
            for (row, _), (name, payload) in self._find(view, chosen).items():
                if payload is None:
                    missing[name] = chosen[row].place
        if not missing:
            return {}
        made = filler.make(self._missing_image(name, place) for name, place in missing.items())
        self.counters.count(filler.counted, made.added)
        if made.failed and self.on_miss not in ("lr", "hr"):
            raise MissError(
                f"{len(made.failed)} SR images that the cache lacks could not be made: {listed(made.failed)}"
            )
        return made.given

    def _missing_image(self, name: str, place: int) -> Missing:
        items = self.items
        return Missing(name, items.name(place), partial(items.data, place), partial(items.decoded, place))


def filling_call(recipe: str, samples: int) -> str:
    """How to fill a cache with a data set whose images are in no folder, which no command can read."""
    settings = f", FillSettings(samples={samples})" if samples > 1 else ""
    return f"`srcache.fill.fill(from_dataset(data), load_recipe({recipe!r}), cache{settings})` with the data set"


def _or_given(found: "Found", given: Mapping[str, bytes]) -> "Found":
    """What was found in the cache, or else what was made and is not kept there."""
    name, payload = found
    return found if payload is not None else (name, given.get(name))
