"""Variants of images that come one by one from elsewhere, such as a stream, and are known by their content alone."""

import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from srcache.cache.manifest import Cache, find_folder
from srcache.dataset.choice import Chooser
from srcache.dataset.counters import Counters
from srcache.dataset.lookup import SRImages
from srcache.dataset.policy import Policy
from srcache.errors import ConfigError, ImageError, MissError, PolicyError
from srcache.images import Pixels, decode, to_pixels
from srcache.keys import ImageKey, entry_name, image_key, pixel_key
from srcache.recipe.recipe import Recipe

MISSES = ("raise", "lr", "hr", "skip")
"""What can be done about an SR image that the cache does not hold."""


class Found(NamedTuple):
    """What an image is served as: `hr`, `lr` or `sr`, and the pixels."""

    kind: str
    pixels: Pixels


class VariantFinder:
    """Serves images of which a file's bytes, or only the pixels, are at hand: as HR, LR, or the SR that a cache holds.

    An image's variant is the one that `SRAugmentedDataset` would serve of the same file: a pure function of the policy,
    its seed, the epoch and the file's key. Bytes are hashed and not decoded for it. Pixels are looked for among the
    cache's aliases, which name the files that images in memory are of.

    `set_epoch` reaches processes that were forked or spawned with this object, and `counts` has what they served.

    Args:
        cache, recipe, policy, seed: as SRAugmentedDataset takes them.
        on_miss: "raise", "lr" or "hr" for an SR image that is not in the cache, or "skip" to find nothing.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "lr=0.5,sr=0.5",
        on_miss: str = "raise",
        *,
        seed: int = 0,
    ) -> None:
        if on_miss not in MISSES:
            raise ConfigError(f"on_miss must be one of {', '.join(MISSES)}, but is {on_miss!r}")
        folder = find_folder(cache, recipe)
        wanted = policy if isinstance(policy, Policy) else Policy.parse(policy, seed)
        self._images, self._on_miss = SRImages(folder), on_miss
        self._chooser = Chooser(wanted, self._images)
        self._degradation = folder.recipe.degradation
        if self._degradation is None and ("hr" in wanted.kinds or on_miss == "hr"):
            raise PolicyError("HR was asked for, but without a degradation in the recipe these images are LR")
        self._counters = Counters(math.inf, more=("skipped",))

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._counters.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes: as of SRAugmentedDataset, and `skipped`."""
        return self._counters.totals()

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches processes that already run."""
        self._counters.set_epoch(epoch)

    def find(self, image: bytes | Image.Image, name: str) -> Found | None:
        """The variant of an image in the present epoch; None if it is skipped.

        Args:
            image: a file's bytes, or a Pillow image in the size that it was made in.
            name: what to call it in a message.

        Raises:
            MissError: its SR image is not in the cache, and `on_miss` says "raise".
            ImageError: the image cannot be decoded.
            DamagedError: its SR image cannot.
            PolicyError: the policy's filters leave nothing for it.
        """
        found = self._find(image, name)
        self._counters.count(found.kind if found is not None else "skipped")
        return found

    def _find(self, image: bytes | Image.Image, name: str) -> Found | None:
        key = image_key(image) if isinstance(image, bytes) else self._file_of(_pixels(image, name))
        variant = self._chooser.pick(key, self.epoch)
        if variant.kind == "sr" and (made := self._stored(key, variant.sample or 0, name)) is not None:
            return Found("sr", made)
        pixels = _pixels(image, name)
        if variant.kind == "sr" and isinstance(image, bytes):  # the same pixels may be known from another file
            made = self._stored(self._file_of(pixels), variant.sample or 0, name)
            if made is not None:
                return Found("sr", made)
        kind = variant.kind if variant.kind != "sr" else self._fall_back(entry_name(key, variant.sample or 0), name)
        if kind is None:
            return None
        return Found(kind, self._degradation.apply(pixels) if kind == "lr" and self._degradation else pixels)

    def _fall_back(self, entry: str, name: str) -> str | None:
        """The kind of variant that stands in for a missing SR image; None for none."""
        if self._on_miss == "skip":
            return None
        if self._on_miss != "raise":
            self._counters.count(f"missed_to_{self._on_miss}")
            return self._on_miss
        raise MissError(
            f"the cache has no SR image {entry} of {name} by recipe {self._images.folder.recipe.folder}, nor one of an "
            "image with its pixels; run `srcache build` on the images, find them before anything changes them, or "
            "choose on_miss="
        )

    def _stored(self, key: ImageKey, sample: int, name: str) -> Pixels | None:
        with self._images.view() as view:
            entry, payload = self._images.find(view, key, sample)
            return None if payload is None else self._images.decode(entry, payload, name)

    def _file_of(self, pixels: Pixels) -> ImageKey:
        """The key of the file that pixels are of, if the cache knows it; else their own."""
        return ImageKey(self._images.file_key(pixel_key(pixels)))


def _pixels(image: bytes | Image.Image, name: str) -> Pixels:
    try:
        return decode(image) if isinstance(image, bytes) else to_pixels(image)
    except ImageError as error:
        raise ImageError(error.reason, f"{name}: {error}") from error
