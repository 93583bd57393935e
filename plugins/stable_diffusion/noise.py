"""All random numbers of an image: drawn on the CPU from the image's own seed, so they are the same on every device.

An image has one generator, which gives, in this order: the initial noise; the noise of the posterior (only where the
start is the LR image); the noise of each step. With `parity` it is drawn as the reference program draws it for the
one image of a run: the posterior then comes from a second generator of the same seed, in the shape of a doubled
batch if there is guidance. Of a seed the last 32 bits count: torch's generator on the CPU looks at no more, and neither
does the reference's command line take more.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

CHANNELS = 4


class NoiseSource(Protocol):
    """Noise for the images of one call: `Noise`, or one that was given beforehand, such as another program's."""

    def draw(self) -> Tensor:
        """The initial noise at the first call, that of the steps at the next ones: float32 (N, 4, h, w)."""
        ...

    def draw_posterior(self) -> Tensor:
        """The posterior's noise, which is asked for after the initial one: float32 (N, 4, h, w), on the device."""
        ...


class Noise:
    """Standard normal noise for the images of one call, in the order in which it is asked for.

    Args:
        seeds: one per image, below 2**64.
        size: (height, width) of their latents.
        device: where the noise is needed.
        parity: draw as the reference program does.
        guided: whether there is guidance.
    """

    def __init__(
        self, seeds: Sequence[int], size: tuple[int, int], device: torch.device, *, parity: bool, guided: bool
    ) -> None:
        self._shape, self._device = (CHANNELS, *size), device
        seeds = [seed_of_reference(seed) for seed in seeds] if parity else seeds
        self._own = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._others = [torch.Generator().manual_seed(seed) for seed in seeds] if parity else self._own
        self._rows = 2 if parity and guided else 1

    def draw(self) -> Tensor:
        """The initial noise, or that of a step: float32 (N, 4, h, w)."""
        return self._to_device([torch.randn(self._shape, generator=each) for each in self._own])

    def draw_posterior(self) -> Tensor:
        """The posterior's noise: float32 (N, 4, h, w)."""
        return self._to_device([torch.randn((self._rows, *self._shape), generator=each)[0] for each in self._others])

    def _to_device(self, drawn: list[Tensor]) -> Tensor:
        """The images' noise on the device, sent without waiting for the work that the device has still to do."""
        if self._device.type != "cuda":
            return torch.stack(drawn).to(self._device)
        pinned = torch.empty((len(drawn), *self._shape), pin_memory=True)
        return torch.stack(drawn, out=pinned).to(self._device, non_blocking=True)


def seed_of_reference(seed: int) -> int:
    """What to give the reference's `--seed` to get the noise that `parity` gives an image with this seed."""
    return seed % 2**32
