"""SRAugment: the transform for training loops that cannot be wrapped; it knows an image by its pixels.

Where SRAugmentedDataset takes a data set's place, this stands in its list of transforms, before all others. An image's
pixels are hashed, and the cache knows which file they are of (the aliases of its entries), so the same image gets the
same variant by both, at the same epoch and with the same policy.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.cache.manifest import Cache, find_folder
from srcache.dataset.augmented import valid_size
from srcache.dataset.choice import Chooser
from srcache.dataset.counters import Counters
from srcache.dataset.image_forms import as_form_of, pixels_of, swap_image
from srcache.dataset.lookup import SRImages
from srcache.dataset.misses import MissFiller, open_miss_filler
from srcache.dataset.policy import Policy, Variant
from srcache.errors import MissError, PolicyError
from srcache.images import Decoded, Pixels, resize
from srcache.keys import ImageKey, entry_name, pixel_key
from srcache.recipe.recipe import Recipe

if TYPE_CHECKING:
    from srcache.engine.interface import SREngine


class SRAugment:
    """A transform that gives each image as HR, LR or SR, the SR from a cache.

        transform = v2.Compose([SRAugment("cache", policy="lr=0.5,sr=0.5"), v2.RandomResizedCrop(224), …])

    It must be the first: an image is found by its pixels, and one that was resized or cropped is another. It takes a
    Pillow image, an array (H, W, 3) or a tensor (3, H, W), both uint8, and gives the same, as RGB. It may be called
    with more (`transform(image, target)`), or with tuples, lists and dicts: the first image in them is changed, and
    all else comes out as it went in. So boxes and masks fit only where variants have the size of the image.

    The choice is a pure function of the policy, its seed, the epoch and the image, as in SRAugmentedDataset: the same
    for any number of workers, in any order, and after any restart. Call `set_epoch` at the start of every epoch; it
    also reaches workers that run already. The object may be forked, spawned and pickled. `counts` says what was served.

    Args:
        cache: a cache directory.
        recipe: a recipe in the cache, by name, fingerprint or Recipe; may be left out if the cache has just one.
        policy: which variants, how often: see `policy`. The image that comes in is LR; or, if the recipe has a
            degradation, HR, and LR is made of it. Only then may the policy name hr.
        size: side, or (height, width), that every variant is resized to (bicubic, antialiased); None leaves each as it
            is.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr", "hr", "engine" (compute it with
            the recipe's engine and write it back), or such an engine that is open already. It is counted.
        seed: of a policy that is given as text.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "lr=0.5,sr=0.5",
        size: int | tuple[int, int] | None = None,
        on_miss: "str | SREngine" = "raise",
        seed: int = 0,
    ) -> None:
        folder = find_folder(cache, recipe)
        wanted = policy if isinstance(policy, Policy) else Policy.parse(policy, seed)
        sides = valid_size(size)
        self._size = sides if isinstance(sides, tuple) else None
        self._on_miss, self._filler = on_miss, open_miss_filler(on_miss, folder)
        self._images = SRImages(folder)
        self._chooser = Chooser(wanted, self._images)
        self._degradation = folder.recipe.degradation
        if self._degradation is None and ("hr" in wanted.kinds or on_miss == "hr"):
            raise PolicyError(
                f"HR was asked for, but recipe {folder.recipe.folder} has no degradation, so the images that come in "
                "are LR; use SRAugmentedDataset with hr=, or leave hr out"
            )
        self._counters = Counters(patience=self._patience())

    def __call__(self, *inputs: Any) -> Any:
        """The image's variant; with several inputs, all of them as a tuple, the image changed.

        Raises:
            ConfigError: there is no image in them, or it is a float tensor.
            MissError: the SR image is not in the cache, and `on_miss` says "raise".
            ImageError: the image cannot be used.
            DamagedError: the SR image is not what was stored.
        """
        return swap_image(inputs[0] if len(inputs) == 1 else inputs, self._served)

    def __repr__(self) -> str:
        return f"SRAugment({self._images.folder.recipe.folder}, policy={self._chooser.policy}, epoch={self.epoch})"

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._counters.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes: hr, lr, sr, missed_to_lr, missed_to_hr and computed."""
        return self._counters.totals()

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run. Call it at the start of every epoch."""
        self._counters.set_epoch(epoch)

    def variant(self, image: Any) -> Variant:
        """The variant that an image has in the present epoch, whether or not the cache holds it."""
        return self._chooser.pick(self._key(pixels_of(image)), self.epoch)

    def _patience(self) -> float:
        """After how many images to warn that the epoch stays; never, if images may come that are not in the cache."""
        if self._on_miss != "raise" or not self._chooser.varies:
            return math.inf
        return 1.5 * max(1, self._images.count // self._chooser.samples)

    def _key(self, pixels: Pixels) -> ImageKey:
        """The key of the file that pixels are of, as far as the cache knows; else their own."""
        return ImageKey(self._images.file_key(pixel_key(pixels)))

    def _served(self, image: Any) -> Any:
        pixels = pixels_of(image)
        key = self._key(pixels)
        kind, variant = self._variant_of(key, pixels)
        if kind.startswith("missed_to_"):
            self._counters.count(kind)
        self._counters.count(kind.removeprefix("missed_to_"))
        return as_form_of(image, variant if self._size is None else resize(variant, self._size, "bicubic"))

    def _variant_of(self, key: ImageKey, pixels: Pixels) -> tuple[str, Pixels]:
        """What is served, as `counters.COUNTED` names it, and its pixels."""
        variant = self._chooser.pick(key, self.epoch)
        if variant.kind == "sr":
            found = self._find(key, variant.sample or 0)
            if found is None and self._filler is not None:
                self._make(self._filler, entry_name(key, variant.sample or 0), pixels)
                found = self._find(key, variant.sample or 0)
            if found is not None:
                return "sr", found
            if self._on_miss not in ("lr", "hr"):
                raise self._missing(key, variant.sample or 0, pixels)
        kind = variant.kind if variant.kind != "sr" else str(self._on_miss)
        made = pixels if kind == "hr" or self._degradation is None else self._degradation.apply(pixels)
        return kind if variant.kind != "sr" else f"missed_to_{kind}", made

    def _find(self, key: ImageKey, sample: int) -> Pixels | None:
        with self._images.view() as view:
            name, payload = self._images.find(view, key, sample)
            return None if payload is None else self._images.decode(name, payload, "an image")

    def _make(self, filler: MissFiller, name: str, pixels: Pixels) -> None:
        """Compute one SR image and store it."""
        made, failed = filler.make([(name, f"an image of {_size(pixels)}", Decoded(pixels, pixels))])
        self._counters.count("computed", made)
        if failed:
            raise MissError(f"an SR image that the cache lacks could not be made: {failed[0]}")

    def _missing(self, key: ImageKey, sample: int, pixels: Pixels) -> MissError:
        folder = self._images.folder
        if key == pixel_key(pixels):
            return MissError(
                f"the cache {folder.path} knows no image with the pixels of this one ({_size(pixels)}, pixel key "
                f"{key}): SRAugment must be the first transform, and the image as Pillow reads it; or run "
                "`srcache build`, or choose on_miss="
            )
        samples = f" --samples {self._chooser.samples}" if self._chooser.samples > 1 else ""
        return MissError(
            f"the cache has no SR image {entry_name(key, sample)} by recipe {folder.recipe.folder}; run "
            f"`srcache build{samples}`, or choose on_miss="
        )


def _size(pixels: Pixels) -> str:
    height, width, _ = pixels.shape
    return f"{width}×{height} pixels"
