"""A trained run as a function of pictures in memory: probabilities, and the features that they rest on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srcache.batches import NO_LABEL, Examples, load, logits, softmax, steady
from srcache.cnn import last_layer
from srcache.images import Pixels
from srcache.machine import resolve_device
from srcache.runs import Run, open_run

if TYPE_CHECKING:
    from torch import Tensor


class Classifier:
    """A run as a function of pictures: for those who ask about pictures in memory, and for its features.

    >>> Classifier(open_run("runs/hr")).ask([picture])  # doctest: +SKIP
    """

    def __init__(self, run: Run | str | Path, device: str = "cpu") -> None:
        self.run = run if isinstance(run, Run) else open_run(run)
        self._device = resolve_device(device)
        self._network = self.run.network(self._device)

    def ask(self, pictures: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities (N, classes), and features (N, F): what goes into the network's last layer.

        Args:
            pictures: uint8 (height, width, 3) of any sizes.
        """
        features: list[NDArray[np.float64]] = []

        def keep(_layer: object, inputs: tuple["Tensor", ...]) -> None:
            values = inputs[0].flatten(2).mean(-1) if inputs[0].ndim == 4 else inputs[0]
            features.append(values.double().cpu().numpy())

        hook = last_layer(self._network).register_forward_pre_hook(keep)
        settings = replace(self.run.settings, workers=0)
        try:
            with steady(settings.threads, self._device, 0):
                loader = load(Examples(pictures, [NO_LABEL] * len(pictures), settings), settings)
                given, _ = logits(self._network, loader, self._device)
        finally:
            hook.remove()
        return softmax(given), np.concatenate(features)
