"""webdataset: a stage of a pipeline that adds cached SR images to samples, or puts a variant in the image's place.

It is a function from samples to samples, so nothing of webdataset is imported here.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srcache.cache.manifest import Cache
from srcache.dataset.by_content import VariantFinder
from srcache.dataset.policy import Policy
from srcache.errors import CatalogError, ConfigError, listed
from srcache.images import Pixels, encode
from srcache.recipe.recipe import Recipe
from srcache.service.remote import RemoteService, is_url

MISSES = ("raise", "lr", "hr", "drop", "keep")
"""What can be done with a sample whose SR image the cache does not hold, beside asking an SR service for it."""

_ENCODED = (".ppm", ".png")


class AddSR:
    """Finds the variant of each sample's image in a cache: `WebDataset(…).compose(AddSR("cache"))`, before `decode`.

    The image's bytes are hashed, not decoded, to find it, so shards must hold the very files that the cache was built
    from; an image of the same pixels is found too, but decoded for it. Put the stage before anything that changes
    images. After `decode`, it takes Pillow images ("pil") and arrays ("rgb8"), and gives the same.

    A policy chooses as for `SRAugmentedDataset`, by the epoch: call `set_epoch` at the start of every one; it also
    reaches a loader's workers. `counts` says what was served, by all workers together; `skipped` are dropped or kept.

    Args:
        cache, recipe, policy: as SRAugmentedDataset takes them; without a policy, always SR.
        image: the names of the field with the image, first match first, as webdataset has it.
        to: the field to add, which ends in .ppm (pixels and a short header: fast) or .png; None to put the variant into
            the image's own field, as PPM, which decoders of images know by its first bytes.
        on_miss: "raise"; "lr" or "hr", which is served instead; "drop", which leaves the sample out; "keep", which
            lets it through as it is; or an SR service's address or RemoteService, as SRAugmentedDataset takes them.

    Raises:
        ConfigError: what was asked for is not there; the message says what is.
    """

    def __init__(
        self,
        cache: str | Path | Cache,
        recipe: str | Recipe | None = None,
        policy: str | Policy = "sr",
        *,
        image: str = "jpg;jpeg;png;webp",
        to: str | None = "sr.ppm",
        on_miss: "str | RemoteService" = "raise",
    ) -> None:
        if on_miss not in MISSES and not (isinstance(on_miss, RemoteService) or is_url(on_miss)):
            raise ConfigError(
                f"on_miss must be one of {', '.join(MISSES)}, or an SR service's address, but is {on_miss!r}"
            )
        if to is not None and not f".{to}".endswith(_ENCODED):
            raise ConfigError(f"to= must end in {' or '.join(_ENCODED)}, or be None, but is {to!r}")
        self._finder = VariantFinder(cache, recipe, policy, "skip" if on_miss in ("drop", "keep") else on_miss)
        self._fields, self._to, self._keep = image.split(";"), to, on_miss == "keep"

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Samples with their variants; what is not an image's field passes unchanged.

        Raises:
            CatalogError: a sample has no image, or it was decoded to what cannot be found.
            MissError: its SR image is not in the cache, and `on_miss` says "raise".
        """
        for sample in samples:
            field = self._field(sample)
            found = self._finder.find(_findable(sample, field), _title(sample))
            if found is not None:
                yield {**sample, self._to or field: self._like(sample[field], found.pixels)}
            elif self._keep:
                yield sample

    @property
    def counts(self) -> dict[str, int]:
        """How many samples were served so far, by all processes: as of SRAugmentedDataset, and `skipped`."""
        return self._finder.counts

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew; reaches workers that already run."""
        self._finder.set_epoch(epoch)

    def _field(self, sample: dict[str, Any]) -> str:
        field = next((name for name in self._fields if name in sample), None)
        if field is None:
            has = listed([name for name in sample if not name.startswith("__")])
            raise CatalogError(
                f"sample {_title(sample)} has no image in {', '.join(self._fields)}, but the fields {has or 'none'}; "
                "name the one with the image (image=)"
            )
        return field

    def _like(self, image: Any, pixels: Pixels) -> Any:
        """The pixels in the form that the sample's image has; encoded for the decoder that comes after."""
        if isinstance(image, bytes):
            png = self._to is not None and self._to.endswith("png")
            return encode(pixels, "png:1" if png else "ppm")
        return Image.fromarray(pixels) if isinstance(image, Image.Image) else pixels


def _findable(sample: dict[str, Any], field: str) -> bytes | Image.Image:
    image = sample[field]
    if isinstance(image, bytes | Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return Image.fromarray(image)
    kind = f"{type(image).__name__} of {image.dtype}" if hasattr(image, "dtype") else type(image).__name__
    raise CatalogError(
        f"field {field} of sample {_title(sample)} is a {kind}, in which no image can be found again; put AddSR before "
        'decode, or decode as "pil" or "rgb8"'
    )


def _title(sample: dict[str, Any]) -> str:
    return f"{sample.get('__key__', 'without a key')} of {sample.get('__url__', 'a stream')}"
