"""SRAugment: the transform for training loops that cannot be wrapped; it knows an image by its pixels.

Where SRAugmentedDataset takes a data set's place, this stands in its list of transforms, before all others. An image's
pixels are hashed, and the cache knows which file they are of (the aliases of its entries), so the same image gets the
same variant by both, at the same epoch and with the same policy.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.cache.manifest import Cache
from srcache.dataset.augmented import valid_size
from srcache.dataset.by_content import SKIP, VariantFinder
from srcache.dataset.counters import COUNTED
from srcache.dataset.image_forms import as_form_of, decoded_of, swap_image
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.variants import MIXED
from srcache.errors import ConfigError
from srcache.images import Pixels, resize
from srcache.recipe.recipe import Recipe

if TYPE_CHECKING:
    from srcache.engine.interface import SREngine
    from srcache.service.remote import RemoteService

_ADVICE = "SRAugment must be the first transform, and the image as Pillow reads it"


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
        cache: a cache directory, or the URL of a cache as text.
        recipe: a recipe in the cache, by name, fingerprint or Recipe; may be left out if the cache has just one.
        policy: which variants, how often: see `policy`. The image that comes in is LR; or, if the recipe has a
            degradation, HR, and LR is made of it. Only then may the policy name hr.
        size: side, or (height, width), that every variant is resized to (bicubic, antialiased; before it is mixed);
            None leaves each as it is.
        on_miss: what to serve for an SR image that is not in the cache: "raise", "lr", "hr", "engine" (compute it with
            the recipe's engine and write it back), such an engine that is open already, or the address of an SR service
            or a RemoteService, as SRAugmentedDataset takes them. It is counted.
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
        on_miss: "str | SREngine | RemoteService" = "raise",
        seed: int = 0,
    ) -> None:
        if on_miss == SKIP:
            raise ConfigError('on_miss="skip" is for streams; a transform gives an image for every one that it gets')
        sides = valid_size(size)
        self._size = sides if isinstance(sides, tuple) else None
        self._finder = VariantFinder(cache, recipe, policy, on_miss, seed=seed, advice=_ADVICE)

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
        return f"SRAugment({self._finder})"

    @property
    def epoch(self) -> int:
        """The epoch that variants are chosen for."""
        return self._finder.epoch

    @property
    def counts(self) -> dict[str, int]:
        """How many images were served so far, by all processes; see `SRAugmentedDataset.counts`."""
        return {name: number for name, number in self._finder.counts.items() if name in (*COUNTED, *MIXED)}

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run. Call it at the start of every epoch."""
        self._finder.set_epoch(epoch)

    def variant(self, image: Any) -> Variant:
        """The variant that an image has in the present epoch, whether or not the cache holds it."""
        decoded = decoded_of(image, self._finder.colors)
        return self._finder.variant(decoded, _title(decoded.rgb))

    def _served(self, image: Any) -> Any:
        decoded = decoded_of(image, self._finder.colors)
        found = self._finder.find(decoded, _title(decoded.rgb), self._size)
        assert found is not None  # nothing is skipped
        served = found.pixels if self._size is None else resize(found.pixels, self._size, "bicubic")
        return as_form_of(image, served)


def _title(pixels: Pixels) -> str:
    """What to call an image that has no name, in a message."""
    height, width, _ = pixels.shape
    return f"an image of {width}×{height} pixels"
