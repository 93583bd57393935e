"""A trained run as the reference classifier of label safety: its network, with the features before the last layer."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.images import Pixels, to_batch
from srcache.machine import resolve_device
from srcache.study.arms.augment import fit_to_size
from srcache.study.train.networks import last_layer
from srcache.study.train.runs import TrainRun, open_run

if TYPE_CHECKING:
    from torch import Tensor


class RunClassifier:
    """The network of a trained run as a `metrics.Classifier`: logits, and the features before its last layer.

    Images are brought to the network's size as they were in training, and unchanged otherwise. It computes in single
    precision, whatever the run was trained in.

    Args:
        run: a finished run.
        device: where to compute: `cpu`, `cuda`, `cuda:1`, ….
    """

    def __init__(self, run: TrainRun, device: str = "cpu") -> None:
        self.name, self.classes = str(run.folder), run.classes
        self.digest = _digest(run)
        self._size, self._fit, self._device = run.settings.input_size, run.settings.fit, device
        self._network = run.network(device)
        self._seen: list[Tensor] = []
        last_layer(self._network).register_forward_pre_hook(self._keep)

    def prepare(self, rgb: Pixels) -> "Tensor":
        """An image → float32 tensor (3, H, W) in [0, 1] of the network's size."""
        return to_batch([fit_to_size(rgb, self._size, self._fit)])[0]

    def __call__(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """A batch → logits, and what went into the last layer (of a convolution, the mean over places)."""
        logits = self._network(images.to(self._device))
        features = self._seen.pop()
        return logits.flatten(1), features.mean((-2, -1)) if features.ndim == 4 else features.flatten(1)

    def _keep(self, _layer: Any, inputs: "tuple[Tensor, ...]") -> None:
        self._seen[:] = [inputs[0]]


def open_classifier(run: str | Path | TrainRun, device: str = "auto") -> RunClassifier:
    """A run of `srcache train` as a reference classifier.

    Raises:
        ConfigError: there is none, or it is not finished.
        DamagedError: its files are not what was written.
        DeviceError: no such device.
    """
    return RunClassifier(run if isinstance(run, TrainRun) else open_run(run), resolve_device(device))


def _digest(run: TrainRun) -> str:
    """Of all that its answers depend on: weights, network, classes, and how images get to its size."""
    known = [run.weights, run.settings.network, list(run.classes), list(run.settings.input_size), run.settings.fit]
    return blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()
