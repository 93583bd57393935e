"""Sizes on SeeSR's way from a small picture to the saved one, and the resizes between them.

A small picture is first enlarged until its shorter side is `process_size / scale`, then by the scale, then brought to
sides that are multiples of 8. Each resize is Pillow's bicubic on 8 bits, one after the other as in Wu et al.'s program
(arXiv:2311.16518): to fuse them would move pixels. That program truncates where it enlarges, so that a few sides (49,
98, 103 and 107 pixels at x4) reach the network as 504 pixels instead of 512.
"""

from srcache.images import Pixels, resize

CELL = 8
"""Pixels along a side of one cell of the latents."""


def network_size(height: int, width: int, scale: int, process_size: int) -> tuple[int, int]:
    """The size (height, width) at which a picture of `height` x `width` pixels goes through the network.

    Args:
        height: in pixels, of the small picture.
        width: likewise.
        scale: what sides are multiplied by in the end.
        process_size: what the shorter side is at least, in pixels, give or take the truncation.
    """
    return _sizes(height, width, scale, process_size)[-1]


def control_picture(lr: Pixels, scale: int, process_size: int) -> Pixels:
    """A small picture as the network sees it: of `network_size`, 8 bits."""
    for size in _sizes(lr.shape[0], lr.shape[1], scale, process_size):
        lr = resize(lr, size, "bicubic")
    return lr


def final_picture(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture of the network's size at the size (height, width) that was asked for."""
    return resize(picture, size, "bicubic")


def _sizes(height: int, width: int, scale: int, process_size: int) -> list[tuple[int, int]]:
    """The sizes (height, width) that a picture takes, one after the other."""
    shorter, least = min(height, width), process_size // scale
    if shorter < least:
        ratio = least / shorter
        height, width = int(ratio * height), int(ratio * width)
    large = height * scale, width * scale
    return [(height, width), large, (large[0] // CELL * CELL, large[1] // CELL * CELL)]
