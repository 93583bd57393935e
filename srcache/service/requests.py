"""Requests to the service: the SR images to be made of one decoded image, each with its name, seed and stored size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from srcache.engine.interface import upscaled_side
from srcache.images import Decoded, Pixels, require_pixels
from srcache.keys import ImageKey, dropped_key, entry_name, noise_seed, pixel_key
from srcache.recipe.recipe import Recipe

Shape = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One SR image to be made.

    Attributes:
        name: the entry's name in the store.
        lr: what the engine gets: RGB, uint8, (height, width, 3).
        seed: for engines that draw noise.
        size: (height, width) of the stored image.
        record: what the caller knows about the image, for the entry's record; JSON values.
        aliases: other names under which the store finds the entry's source.
    """

    name: str
    lr: Pixels
    seed: int
    size: Shape
    record: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """(height, width) of what the engine gets."""
        return self.lr.shape[0], self.lr.shape[1]


def make_request(key: ImageKey, decoded: Decoded, recipe: Recipe, sample: int) -> Request:
    """The request for one sample of one source image: degraded if the recipe says so, seeded by its names alone."""
    return make_requests(key, decoded, recipe, [sample])[0]


def make_requests(key: ImageKey, decoded: Decoded, recipe: Recipe, samples: Sequence[int]) -> list[Request]:
    """The requests for several samples of one source image, which share its pixels.

    Raises:
        ImageError: the SR image would be larger than an image may be (`too_large`).
    """
    source = decoded.rgb
    lr = recipe.degradation.apply(source) if recipe.degradation else source
    made = upscaled_side(lr.shape[0], recipe.scale), upscaled_side(lr.shape[1], recipe.scale)
    require_pixels(made[1], made[0], "the SR image")
    own, alias = decoded.keys()
    alike = [] if decoded.plain is decoded.rgb else [pixel_key(decoded.plain), own]
    pixel_keys = {alias, *(dropped_key(one) for one in alike if one != alias)}
    seeds = [noise_seed(recipe.seed, key, sample) for sample in samples]
    return [
        Request(
            name=entry_name(key, sample),
            lr=lr,
            seed=seed,
            size=recipe.output_size((lr.shape[0], lr.shape[1]), (source.shape[0], source.shape[1])),
            record={"key": key, "sample": sample, "seed": seed, "source": list(source.shape[:2])},
            aliases=tuple(sorted(pixel_keys - {key})),
        )
        for sample, seed in zip(samples, seeds, strict=True)
    ]
