"""OSEDiff's one step: the image's latent is taken for the noisiest one, and its noise is removed at once.

With one step the sampler of the authors' program (DDPM) has nothing behind it, so that of its formula remains the
estimate of the clean latent; the noise that it adds to that has a weight of 1e-10, and is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from torch import Tensor

from srcache.errors import WeightsError

from ..stable_diffusion.schedule import require_schedule

TIME = 999
"""The time for which noise is predicted, the last that Stable Diffusion was trained with."""


@dataclass(frozen=True, slots=True)
class OneStep:
    """The weights of the signal and of the noise in a latent at `TIME`."""

    signal: float
    noise: float

    def clean_latent(self, latent: Tensor, predicted: Tensor) -> Tensor:
        """The clean latent, float32 (N, 4, h, w), of one and the noise that was predicted in it, of the same shape."""
        return (latent.float() - self.noise * predicted.float()) / self.signal


def make_step(config: Mapping[str, Any]) -> OneStep:
    """The step for a scheduler's config.json, of which its betas count.

    Raises:
        WeightsError: as `require_schedule`, or the schedule has no such time, or leaves no signal there.
    """
    kept = require_schedule(config).alphas_cumprod.double().tolist()
    if len(kept) <= TIME or kept[TIME] <= 0:
        raise WeightsError(
            f"expected a noise schedule that leaves some signal at time {TIME}, but it has {len(kept)} times"
            + (f", and leaves {kept[TIME]:g}" if len(kept) > TIME else "")
        )
    return OneStep(sqrt(kept[TIME]), sqrt(1 - kept[TIME]))
