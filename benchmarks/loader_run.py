"""One loader in a process of its own: `python -m benchmarks.loader_run PEER ROOT SIDE COUNT SECONDS` prints JSON.

The process keeps to two cores. A first epoch is not timed: it fills the page cache, starts workers and compiles. Then
complete epochs are, from asking for the first batch to the last, until SECONDS have passed. One pixel of every image is
added up, so that nothing can be put off; the mean of these pixels is printed with the time, and shows the caller that
every image was there and was decoded.

With `--sleep SECONDS_PER_IMAGE` the loop sleeps that long per image for each complete batch, as a training step on an
accelerator would, and the sleeps are timed alone too, in the same process. With `--train DEVICE` it trains a ResNet-18
instead, and the same steps are timed on one batch that is on the device already. `--workers` (and as many cores) is for
machines whose accelerator wants more than two give.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.loader_data import CLASSES, LoaderData
from benchmarks.loader_peers import BATCH, PEERS, WORKERS, Batches


def main() -> None:
    """Measure one loader and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("root", type=Path)
    parser.add_argument("side", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--sleep", type=float)
    parser.add_argument("--train", metavar="DEVICE")
    parser.add_argument("--workers", type=int, default=WORKERS)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.workers])
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # other libraries' advice; nothing here is a test
    data = LoaderData(root=given.root, side=given.side, count=given.count)
    epoch = PEERS[given.peer].open(data, given.workers)
    if given.sleep is not None:
        found = paced(epoch, data, given.seconds, lambda images, labels: time.sleep(BATCH * given.sleep))
    elif given.train is not None:
        found = paced(epoch, data, given.seconds, training_step(given.train))
    else:
        found = timed(epoch, data, given.seconds)
    print(json.dumps(found))


def timed(epoch: Callable[[], Batches], data: LoaderData, seconds: float) -> dict[str, float]:
    """`rate` in images per second over complete epochs, and the `mean` that all of them must have in common."""
    _, mean = consumed(epoch(), data)
    images, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds or not images:
        images += consumed(epoch(), data)[0]
    return {"rate": images / taken, "mean": mean}


def paced(
    epoch: Callable[[], Batches], data: LoaderData, seconds: float, step: Callable[[Tensor, Any], object]
) -> dict[str, float]:
    """`fed` and `alone`: seconds that steps take on an epoch's complete batches, and on one that is always there."""
    kept: tuple[Tensor, Any] | None = None
    for images, labels in epoch():
        if len(images) == BATCH and kept is None:
            kept = images.clone(), torch.as_tensor(labels).clone()
            step(*kept)
    if kept is None:
        raise RuntimeError(f"expected at least {BATCH} images, but the data have {data.count}")
    fed = alone = 0.0
    while alone < seconds:
        started, steps = time.perf_counter(), 0
        for images, labels in epoch():
            images[:, 1, 0, 0].sum()
            if len(images) == BATCH:
                step(images, labels)
                steps += 1
        fed += time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(steps):
            kept[0][:, 1, 0, 0].sum()
            step(*kept)
        alone += time.perf_counter() - started
    return {"fed": fed, "alone": alone}


def training_step(device: str) -> Callable[[Tensor, Any], float]:
    """A step of SGD on a ResNet-18, from uint8 images to the loss as a number, which waits for the device."""
    from torchvision.models import resnet18

    network = resnet18(num_classes=CLASSES).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)

    def step(images: Tensor, labels: Any) -> float:
        inputs = images.to(device, non_blocking=True).to(memory_format=torch.channels_last).float() / 255
        loss = torch.nn.functional.cross_entropy(network(inputs), torch.as_tensor(labels).to(device).flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


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
