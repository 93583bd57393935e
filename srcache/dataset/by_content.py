"""Variants of images that come one by one from elsewhere, such as a stream, and are known by their content alone."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from srcache.cache.manifest import Cache
from srcache.dataset.choice import Chooser
from srcache.dataset.counters import Counters
from srcache.dataset.lookup import SRImages
from srcache.dataset.misses import fallback_of, miss_folder, open_miss_filler, settled
from srcache.dataset.missing import Missing
from srcache.dataset.mixing import aligned, mix
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.reading import filling_call
from srcache.dataset.variants import Mixed
from srcache.errors import ImageError, MissError, PolicyError
from srcache.images import Colors, Decoded, Pixels, decode_both, decode_pillow, refuse_in_memory
from srcache.keys import ImageKey, entry_name, image_key, pixel_key
from srcache.recipe.recipe import Recipe

if TYPE_CHECKING:
    from srcache.engine.interface import SREngine
    from srcache.service.remote import RemoteService

Findable = bytes | Image.Image | Pixels | Decoded
"""A file's bytes; or an image in memory, in the size that it was made in: Pillow's, RGB pixels, or settled already."""

SKIP = "skip"
"""What `on_miss` may say beside what it says to a data set: an image whose SR the cache lacks is not served."""


class Found(NamedTuple):
    """What an image is served as: `hr`, `lr`, `sr`, `patch` or `blend`, and the pixels."""

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
        on_miss: as there, or "skip", to find nothing.
        advice: what a message advises who asks for pixels that the cache does not know.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "lr=0.5,sr=0.5",
        on_miss: "str | SREngine | RemoteService" = "raise",
        *,
        seed: int = 0,
        advice: str = "find images before anything changes them",
    ) -> None:
        on_miss = settled(on_miss)
        folder = miss_folder(on_miss, cache, recipe)
        wanted = Policy.of(policy, seed)
        self._filler = None if on_miss == SKIP else open_miss_filler(on_miss, folder)
        self._images, self._on_miss, self._advice = SRImages(folder), fallback_of(on_miss), advice
        self._chooser = Chooser(wanted, self._images)
        self._degradation, self.colors = folder.recipe.degradation, folder.recipe.colors
        if self._degradation is None and ("hr" in wanted.kinds or self._on_miss == "hr"):
            raise PolicyError(
                f"HR was asked for, but recipe {folder.recipe.folder} has no degradation, so the images that come in "
                "are LR; use SRAugmentedDataset with hr=, or leave hr out"
            )
        self._counters = Counters(self._patience(), more=("skipped", *sorted(wanted.mixes)))

    def __repr__(self) -> str:
        return f"{self._images.folder.recipe.folder}, policy={self._chooser.policy}, epoch={self.epoch}"

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

    def variant(self, image: Findable, name: str) -> Variant:
        """The variant that an image has in the present epoch, whether or not the cache holds it."""
        return self._chooser.pick(self._key(image, name), self.epoch)

    def find(self, image: Findable, name: str, size: tuple[int, int] | None = None) -> Found | None:
        """The variant of an image in the present epoch; None if it is skipped.

        Args:
            image: the source image.
            name: what to call it in a message.
            size: (height, width) that two variants are brought to before they are mixed; nothing else is resized here.

        Raises:
            CatalogError: two variants are to be mixed and have different sizes; see `mixing.aligned`.
            MissError: its SR image is not in the cache, and `on_miss` says "raise", or it could not be made.
            ImageError: the image cannot be decoded.
            DamagedError: its SR image cannot.
            PolicyError: the policy's filters leave nothing for it.
        """
        key = self._key(image, name)
        variant = self._chooser.pick(key, self.epoch)
        samples = {sample: self._sr(key, sample, image, name) for sample in variant.samples}
        missing = next((sample for sample, pixels in samples.items() if pixels is None), None)
        found: Found | None = None
        if missing is None:
            found = Found(variant.kind, self._of_variant(variant, samples, (image, name), size))
        elif self._on_miss in ("lr", "hr"):
            found = Found(str(self._on_miss), self._served_as(str(self._on_miss), image, name))
            self._counters.count(f"missed_to_{self._on_miss}")
        elif self._on_miss != SKIP:
            raise self._missing(key, missing, image, name)
        self._counters.count(found.kind if found is not None else "skipped")
        return found

    def _patience(self) -> float:
        """After how many images to warn that the epoch stays; never, if images may come that are not in the cache."""
        if self._filler is not None or self._on_miss != "raise" or not self._chooser.varies:
            return math.inf
        return 1.5 * max(1, self._images.count // self._chooser.samples)

    def _key(self, image: Findable, name: str) -> ImageKey:
        """A file's key; of pixels that of the file that they are of, if the cache knows it; else their own."""
        if isinstance(image, bytes):
            return image_key(image)
        return ImageKey(self._images.file_key(*_decoded(image, name, self.colors).keys()))

    def _of_variant(
        self,
        variant: Variant,
        samples: Mapping[int, Pixels | None],
        image: tuple[Findable, str],
        size: tuple[int, int] | None,
    ) -> Pixels:
        """The pixels of a variant whose SR images are at hand."""
        if isinstance(variant, Mixed):
            first, second = (self._of_variant(one, samples, image, size) for one in variant.of)
            return mix(variant, *aligned(variant, (first, second), size, lambda: image[1]))
        made = samples[variant.sample or 0] if variant.kind == "sr" else None
        return self._served_as(variant.kind, *image) if made is None else made

    def _served_as(self, kind: str, image: Findable, name: str) -> Pixels:
        pixels = _decoded(image, name, self.colors).rgb
        return self._degradation.apply(pixels) if kind == "lr" and self._degradation else pixels

    def _sr(self, key: ImageKey, sample: int, image: Findable, name: str) -> Pixels | None:
        """The SR image: stored under the key, or under another file of the same pixels, or made now."""
        found = self._stored(key, sample, name)
        if found is None:
            found = self._stored(self._other_key(_decoded(image, name, self.colors), image), sample, name)
        return found if found is not None or self._filler is None else self._made(key, sample, image, name)

    def _other_key(self, decoded: Decoded, image: Findable) -> ImageKey:
        """Another key of an image of which nothing is stored under the first: of pixels, their own; of a file, that of
        one that looks the same, also in the recipe's colours.
        """
        if not isinstance(image, bytes):
            return pixel_key(decoded.keyed)
        own, alias = decoded.keys()
        return ImageKey(self._images.file_key(own) if alias == own else self._images.file_of(alias) or alias)

    def _made(self, key: ImageKey, sample: int, image: Findable, name: str) -> Pixels | None:
        """The SR image, made now; None if it could not be made, and a fallback is served."""
        assert self._filler is not None
        data = image if isinstance(image, bytes) else None
        missing = Missing(entry_name(key, sample), name, lambda: data, lambda: _decoded(image, name, self.colors))
        made = self._filler.make([missing])
        self._counters.count(self._filler.counted, made.added)
        if missing.name in made.given:
            return self._images.decode(missing.name, made.given[missing.name], name)
        if made.failed and self._on_miss not in ("lr", "hr"):
            raise MissError(f"an SR image that the cache lacks could not be made: {made.failed[0]}")
        return self._stored(key, sample, name)

    def _stored(self, key: ImageKey, sample: int, name: str) -> Pixels | None:
        with self._images.view() as view:
            entry, payload = self._images.get(view, key, sample)
            return None if payload is None else self._images.decode(entry, payload, name)

    def _missing(self, key: ImageKey, sample: int, image: Findable, name: str) -> MissError:
        folder = self._images.folder
        pixels = _decoded(image, name, self.colors).rgb
        if not isinstance(image, bytes) and key == pixel_key(pixels):
            return MissError(
                f"the cache {folder.path} knows no image with the pixels of {name} (pixel key {key}): "
                f"{self._advice}; or run `srcache build` (of images that are no files, "
                f"{filling_call(folder.recipe.name, self._chooser.samples)}), or choose on_miss="
            )
        samples = f" --samples {self._chooser.samples}" if self._chooser.samples > 1 else ""
        return MissError(
            f"the cache has no SR image {entry_name(key, sample)} of {name} by recipe {folder.recipe.folder}, nor one "
            f"of an image with its pixels; run `srcache build{samples}`, or choose on_miss="
        )


def _decoded(image: Findable, name: str, colors: Colors) -> Decoded:
    try:
        if isinstance(image, bytes):
            return decode_both(image, colors)
        if isinstance(image, Image.Image):
            return decode_pillow(image, colors)
    except ImageError as error:
        raise ImageError(error.reason, f"{name}: {error}") from error
    if isinstance(image, Decoded):
        return image
    refuse_in_memory(colors)
    return Decoded(image, image)
