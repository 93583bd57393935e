"""Sizes on the way from an LR image to the saved one, and the resizes between them.

An LR image is first enlarged until its shorter side is `process_size / scale`, then by the scale, then brought to
sides that are multiples of 8. Each resize is Pillow's on 8 bits, bicubic but for the last of OSEDiff, one after the
other as in Wu et al.'s programs (arXiv:2311.16518, arXiv:2406.08177): to fuse them would move pixels. The programs
truncate where they enlarge, so that a few sides (49, 98, 103 and 107 pixels at x4) reach the network as 504 pixels
instead of 512.
"""

from srcache.images import Pixels, resize

CELL = 8
"""Pixels along a side of one cell of the latents."""


def control_image(lr: Pixels, scale: int, process_size: int, last: str = "bicubic") -> Pixels:
    """An LR image at the size at which the networks see it.

    Args:
        lr: 8 bits.
        scale: what sides are multiplied by in the end.
        process_size: the least that the shorter side of the result has, in pixels, give or take the truncation.
        last: the filter of the last resize, to multiples of 8.

    Returns:
        8 bits, sides multiples of 8.
    """
    sizes = resize_steps(lr.shape[0], lr.shape[1], scale, process_size)
    for size, resample in zip(sizes, ("bicubic", "bicubic", last), strict=True):
        lr = resize(lr, size, resample)
    return lr


def final_image(image: Pixels, size: tuple[int, int]) -> Pixels:
    """An image of the networks' size at the size (height, width) that was asked for."""
    return resize(image, size, "bicubic")


def resize_steps(height: int, width: int, scale: int, process_size: int) -> list[tuple[int, int]]:
    """The sizes (height, width) that an LR image takes, one after the other; the last is that of the networks."""
    shorter, least = min(height, width), process_size // scale
    if shorter < least:
        ratio = least / shorter
        height, width = int(ratio * height), int(ratio * width)
    large = height * scale, width * scale
    return [(height, width), large, (large[0] // CELL * CELL, large[1] // CELL * CELL)]
