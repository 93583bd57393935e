"""From images of any size to batches that a network takes, and from a network's answers to numbers.

What a training, a prediction and a reference classifier have in common, so that the three can never disagree about how
an image is brought to a network's size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from srcache.dataset.worker_deaths import advice, is_worker_death
from srcache.errors import ConfigError, DeviceError, MachineError
from srcache.images import Pixels, to_batch
from srcache.study.arms.augment import apply, draw_change, fit_to_size
from srcache.study.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, dtype, nn
    from torch.utils.data import DataLoader, Dataset


class Images(Protocol):
    """Images by number, each uint8 of shape (height, width, 3); an `ArmDataset` is one."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Pixels:
        """One of them."""
        ...


class Examples:
    """A map-style data set of pairs: an image as a tensor (3, H, W) in [0, 1] of the network's size, and its label.

    Attributes:
        epoch: the epoch of training by which images are augmented; None leaves them as they are.
    """

    def __init__(self, images: Images, labels: Sequence[int], settings: TrainSettings) -> None:
        self._images, self._labels, self._settings = images, labels, settings
        self.epoch: int | None = None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> "tuple[Tensor, int]":
        settings = self._settings
        image = to_batch([fit_to_size(self._images[index], settings.input_size, settings.fit)])[0]
        if self.epoch is not None:
            image = apply(image, draw_change(settings.augmentation, settings.seed, self.epoch, index))
        return image, self._labels[index]


def make_loader(examples: Examples, settings: TrainSettings, order: Sequence[int] | None = None) -> "DataLoader[Any]":
    """Batches in an order; without one, in the examples' own."""
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        cast("Dataset[Any]", examples),
        settings.batch_size,
        sampler=order if order is not None else range(len(examples)),
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(0),
    )


@contextmanager
def worker_ends() -> Iterator[None]:
    """Around a loop over a DataLoader: a worker process that ended is an error that says what to do.

    Raises:
        MachineError: one ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_worker_death(error):
            raise
        known = advice() or "a process that read images ended: the machine killed it, perhaps for want of memory"
        raise MachineError(
            f"{known} ({str(error).partition(' It is possible')[0]}); the same command goes on where this one was"
        ) from error


def compute_logits(
    network: "nn.Module",
    loader: "DataLoader[Any]",
    device: str,
    precision: str = "fp32",
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a network answers: logits (N, classes), and the labels (N,) that came with the images.

    Args:
        network: in evaluation mode afterwards.
        loader: from `make_loader`.
        device: where the network is.
        precision: see `TrainSettings`.
        progress: called with the number of images of each batch.
    """
    import torch

    network.eval()
    answers: list[NDArray[np.float64]] = []
    labels: list[NDArray[np.int64]] = []
    with torch.inference_mode(), worker_ends():
        for images, wanted in loader:
            with out_of_memory_errors(), autocast(device, precision):
                given = network(images.to(device))
            answers.append(given.double().cpu().numpy())
            labels.append(wanted.numpy())
            if progress is not None:
                progress(len(wanted))
    return np.concatenate(answers), np.concatenate(labels)


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits → probabilities, along the last axis."""
    powers = np.exp(values - values.max(-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return shares


def cross_entropy(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean of -log of the right class's probability, from logits."""
    shifted = values - values.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """A context in which a network computes in a precision on a device."""
    import torch

    kind = autocast_dtype(device, precision)
    return torch.autocast(device.partition(":")[0], kind, enabled=kind is not None)


def autocast_dtype(device: str, precision: str) -> "dtype | None":
    """The type that a network computes in on a device; None for fp32, which is torch's own.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    import torch

    on_cpu = device == "cpu"
    if precision == "fp16" and on_cpu:
        raise ConfigError("precision fp16 is for CUDA devices, but the device is cpu; use bf16 or amp")
    kinds = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    return kinds.get(precision, torch.bfloat16 if on_cpu else torch.float16)


@contextmanager
def deterministic(threads: int, device: str, seed: int) -> Iterator[None]:
    """torch's generators, algorithms and threads set for one training or prediction; afterwards they are as before."""
    import torch

    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    old, convolutions = torch.get_num_threads(), torch.backends.cudnn.deterministic
    on_cpu = device == "cpu"
    with torch.random.fork_rng(devices=[] if on_cpu else [device]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(on_cpu or before, warn_only=True)
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = convolutions
            torch.set_num_threads(old)
            torch.use_deterministic_algorithms(before, warn_only=warned)


@contextmanager
def out_of_memory_errors() -> Iterator[None]:
    """Around a network's work: memory that runs out becomes a DeviceError that says what to change.

    Raises:
        DeviceError: the device has no memory left.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(f"a batch does not fit into the device's memory ({error}); lower batch_size") from error


def seed_from(*words: object) -> int:
    """A seed that is a pure function of words: 63 bits."""
    digest = blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
