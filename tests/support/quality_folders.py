"""Images on disk whose quality is known: how to save them, how to spoil them, and how to read the table again."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from srcache.images import Pixels
from srcache.study.quality.psnr_ssim import Convention

RGB = Convention()
BASIC = ("psnr", "ssim")
UP = Convention(resize="reference:bicubic")


def save(path: Path, rgb: Pixels) -> None:
    """Write an image; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def noisy(rgb: Pixels, sigma: float, seed: int = 0) -> Pixels:
    """The image with Gaussian noise."""
    rng = np.random.default_rng(seed)
    return (rgb + rng.normal(0, sigma, rgb.shape)).clip(0, 255).round().astype(np.uint8)


def rows_of(report):
    """The rows of a report's CSV, as dicts."""
    return list(csv.DictReader(io.StringIO(report.csv_text())))
