"""Images for tests, made of seeded noise."""

import numpy as np
from engines import MARKS

from srcache.images import Pixels


def picture(height: int, width: int, seed: int = 0, mark: str | None = None) -> Pixels:
    """A picture like a photo of a surface: smooth light, some texture, grain. Seeded; RGB, uint8, (height, width, 3).

    `mark` paints the top left corner in one of the colours of `engines.MARKS`, large enough to survive a shrinking
    by 4.
    """
    rng = np.random.default_rng([seed, height, width])
    rows, columns = np.mgrid[0:height, 0:width] / 32
    light = 0.5 + 0.2 * np.sin(rng.uniform(0.5, 2) * rows + rng.uniform(0.5, 2) * columns + rng.uniform(0, 6))
    waves = np.sin(rng.uniform(6, 16) * rows + rng.uniform(-6, 6)) * np.sin(rng.uniform(6, 16) * columns)
    colour = rng.uniform(0.6, 1.2, 3)
    values = (light + 0.15 * waves)[..., None] * colour + rng.normal(0, 0.03, (height, width, 3))
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    if mark is not None:
        pixels[:16, :16] = MARKS[mark]
    return pixels
