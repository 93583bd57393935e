"""Measures `compact` and draws the crops of its model card: `bench_compact.py --work FOLDER` prints its tables.

Held-out photos (see `photos.csv`) at full size and at half size, and the colour photographs inside scikit-image's
package, which nothing was trained on or chosen by.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from importlib.metadata import files as package_files
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image
from srcache_plugins.compact import SCALES, Compact

from benchmarks.train_compact import photos, reduced
from srcache.engine.interface import Setup, SREngine, Upscaled
from srcache.images import Pixels, from_tensor, resize, to_batch
from srcache.recipe.degradation import Degradation
from srcache.study.quality.psnr_ssim import Convention, measure_image

UNSEEN = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
CROPS = (
    ("astronaut", 1, 4, 150, 40),
    ("chelsea", 1, 4, 130, 80),
    ("coffee", 1, 4, 250, 130),
    ("rocket", 1, 4, 260, 150),
    ("astronaut", 1, 2, 300, 300),
    ("coffee", 1, 2, 60, 60),
)
"""Photo, reduction, scale, left and top of a 160×160 crop."""


def card_images(work: Path | None) -> Iterator[tuple[str, str, int, Pixels]]:
    """Set, name, reduction and pixels of every image that the card reports; without `work` no held-out photos."""
    held = list(photos(work, "held-out")) if work else []
    for level, title in ((1, "held-out, full size"), (2, "held-out, half size (Lanczos)")):
        for name, rgb in held:
            yield title, name, level, rgb
    for entry in package_files("scikit-image") or []:
        if entry.name in UNSEEN and entry.parent.name == "data":
            with Image.open(str(entry.locate())) as image:
                yield "scikit-image", entry.name.partition(".")[0], 1, np.asarray(image.convert("RGB"))


def enlarged(engine: SREngine, lr: Pixels) -> Pixels:
    """An image through the engine."""
    (outcome,) = engine.upscale(to_batch([lr]), [0])
    if not isinstance(outcome, Upscaled):
        raise RuntimeError(f"expected an image, but got {outcome}")
    return from_tensor(outcome.image)


def tables(work: Path) -> Iterator[str]:
    """One Markdown table per set and scale."""
    for scale in SCALES:
        engine, convention = Compact(Setup(scale=scale)), Convention(channel="y", crop_border=scale)
        title, gains, sums = "", [0.0], [[0.0]]
        for group, name, level, rgb in card_images(work):
            if group != title:
                yield from _mean(title, gains, sums)
                title, gains, sums = group, [], []
                yield f"\n### x{scale}, {group}\n"
                yield "| photo | bicubic | Lanczos | compact | gain | SSIM bicubic → compact |"
                yield "|---|---|---|---|---|---|"
            hr = reduced(rgb, level, scale)
            lr, size = Degradation(factor=scale).apply(hr), (hr.shape[0], hr.shape[1])
            outputs = [resize(lr, size, "bicubic"), resize(lr, size, "lanczos"), enlarged(engine, lr)]
            found = [measure_image(output, hr, convention) for output in outputs]
            row = [quality.psnr for quality in found]
            gains.append(row[2] - row[0])
            sums.append([*row, found[0].ssim, found[2].ssim])
            yield _row(name, [*row, found[0].ssim, found[2].ssim])
        yield from _mean(title, gains, sums)


def draw_crops(work: Path, target: Path) -> None:
    """LR (enlarged without interpolation), bicubic, compact and HR of each crop, side by side."""
    known = {(name, level): rgb for _, name, level, rgb in card_images(work)}
    side, rows = 160, []
    for name, level, scale, left, top in CROPS:
        hr = reduced(known[name, level], level, scale)
        lr, size = Degradation(factor=scale).apply(hr), (hr.shape[0], hr.shape[1])
        shown = [
            resize(lr, size, "nearest"),
            resize(lr, size, "bicubic"),
            enlarged(Compact(Setup(scale=scale)), lr),
            hr,
        ]
        cuts = [rgb[top : top + side, left : left + side] for rgb in shown]
        rows.append(np.concatenate([resize(cut, (side * 3 // 2, side * 3 // 2), "nearest") for cut in cuts], axis=1))
    Image.fromarray(np.concatenate(rows)).save(target)


def speed(threads: int, count: int = 16, repeats: int = 15) -> Iterator[str]:
    """Images per second at 64×64, the best and the median of some repeats."""
    torch.set_num_threads(threads)
    images = torch.rand(count, 3, 64, 64)
    for scale in SCALES:
        for precision in Compact.info.precisions:
            engine = Compact(Setup(scale=scale, precision=precision))
            engine.upscale(images, range(count))
            paces = []
            for _ in range(repeats):
                started = time.perf_counter()
                engine.upscale(images, range(count))
                paces.append(count / (time.perf_counter() - started))
            middle = sorted(paces)[repeats // 2]
            yield f"x{scale} {precision} {threads} threads, batch {count}: median {middle:.0f}, best {max(paces):.0f}"


def _row(name: str, values: list[float]) -> str:
    bicubic, lanczos, compact, before, after = values
    return (
        f"| {name} | {bicubic:.2f} | {lanczos:.2f} | {compact:.2f} | {compact - bicubic:+.2f} "
        f"| {before:.4f} → {after:.4f} |"
    )


def _mean(title: str, gains: list[float], rows: list[list[float]]) -> Iterator[str]:
    if title:
        means = [fmean(column) for column in zip(*rows, strict=True)]
        yield _row("**mean**", means) + f"\n\nleast gain {min(gains):+.2f} dB"


def _main() -> None:
    parser = argparse.ArgumentParser(description="Measure srcache's engine `compact`.")
    parser.add_argument("--work", type=Path, required=True, help="the folder that train_compact.py worked in")
    parser.add_argument("--crops", type=Path, help="also draw crops into this file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", action="store_true", help="measure speed only")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.crops is not None:
        draw_crops(given.work, given.crops)
    for line in speed(given.threads) if given.speed else tables(given.work):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
