"""One loader in a process of its own: `python -m benchmarks.loader_run PEER ROOT SIDE COUNT SECONDS` prints JSON.

The process keeps to two cores. A first epoch is not timed: it fills the page cache, starts workers and compiles. Then
complete epochs are, from asking for the first batch to the last, until SECONDS have passed. One pixel of every image is
added up, so that nothing can be put off; the mean of these pixels is printed with the time, and shows the caller that
every image was there and was decoded.

With `--sleep SECONDS_PER_IMAGE` the loop sleeps that long per image for each complete batch, as a training step on an
accelerator would, and the sleeps are timed alone too, in the same process.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.loader_data import LoaderData
from benchmarks.loader_peers import BATCH, PEERS, Batches

CORES = 2


def main() -> None:
    """Measure one loader and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("root", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--sleep", type=float)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # other libraries' advice; nothing here is a test
    data = LoaderData(root=given.root, side=given.side, count=given.count)
    epoch = PEERS[given.peer].open(data)
    found = timed(epoch, data, given.seconds) if given.sleep is None else slept(epoch, data, given.sleep, given.seconds)
    print(json.dumps(found))


def timed(epoch: Callable[[], Batches], data: LoaderData, seconds: float) -> dict[str, float]:
    """`rate` in images per second over complete epochs, and the `mean` that all of them must have in common."""
    _, mean = consumed(epoch(), data)
    images, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds or not images:
        images += consumed(epoch(), data)[0]
    return {"rate": images / taken, "mean": mean}


def slept(epoch: Callable[[], Batches], data: LoaderData, per_image: float, seconds: float) -> dict[str, float]:
    """`fed` and `alone`: seconds that complete batches take with a sleep each, and that the sleeps take alone."""
    consumed(epoch(), data)
    fed, alone, steps = 0.0, 0.0, data.count // BATCH
    while alone < seconds:
        started = time.perf_counter()
        for images, _ in epoch():
            images[:, 1, 0, 0].sum()
            if len(images) == BATCH:
                time.sleep(BATCH * per_image)
        fed += time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(steps):
            time.sleep(BATCH * per_image)
        alone += time.perf_counter() - started
    return {"fed": fed, "alone": alone}


def consumed(batches: Batches, data: LoaderData) -> tuple[int, float]:
    """Take an epoch: how many images, and the mean of their middle pixels, green.

    Raises:
        RuntimeError: there are not as many as there should be, or not of that form.
    """
    count, total, middle = 0, 0, data.side // 2
    for images, _ in batches:
        if images.dtype != torch.uint8 or images.shape[1:] != (3, data.side, data.side):
            raise RuntimeError(
                f"expected uint8 (N, 3, {data.side}, {data.side}), but got {images.dtype} {images.shape}"
            )
        count += len(images)
        total += int(images[:, 1, middle, middle].sum())
    if count != data.count:
        raise RuntimeError(f"expected {data.count} images in an epoch, but got {count}")
    return count, total / count


if __name__ == "__main__":
    main()
