"""What a trained run predicts: of any folder as it is, or of an arm of a data set, of the run's own domain or not.

A network that was trained on one kind of image may be asked about any other (LR, bicubic, SR, HR): each is brought to
the network's size as in training.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srcache.cache.failures import FailedEntry, failed_image
from srcache.catalog.names import stems_of
from srcache.dataset.items import NO_LABEL
from srcache.errors import CatalogError, ConfigError, ImageError, MissError, listed
from srcache.images import Pixels
from srcache.machine import resolve_device
from srcache.progress import Progress
from srcache.study.arms.arms import ArmDataset, arm_dataset
from srcache.study.compare.predictions import PredictionRow, Predictions
from srcache.study.train.batches import Examples, compute_logits, deterministic, make_loader, softmax
from srcache.study.train.runs import TrainRun, open_run

LABELS = ("match", "ignore")


def predict(
    run: TrainRun | str | Path,
    data: ArmDataset | str | Path,
    *,
    labels: str = "match",
    device: str = "cpu",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Predictions with probabilities, a row per image that can be used, in the data's order; `failures` has the others.

    Of a mixture the variants are those of the last epoch of training, as where its validation set was measured.

    Args:
        run: a finished run, or its folder.
        data: an arm (`arms.arm_dataset`), or a folder or CSV file whose images are taken as they are.
        labels: `match` takes the data's classes for labels, by name; a class that the run does not know is an error,
            since a misspelt folder would go unnoticed otherwise. `ignore` leaves all labels empty, for folders that
            are sorted by something else. A folder without class folders has no labels either way.
        device: where to compute.
        batch_size: the run's own if left out; another moves results by rounding.
        progress: called with (done, total) images.

    Raises:
        ConfigError: no such run, or another word for `labels`.
        CatalogError: classes that the run does not know, or two images of one name.
        DamagedError: the run is not what was written.
    """
    run = run if isinstance(run, TrainRun) else open_run(run)
    if labels not in LABELS:
        raise ConfigError(f"labels must be one of {', '.join(LABELS)}, but is {labels!r}")
    arm = data if isinstance(data, ArmDataset) else arm_dataset("hr", hr=data)
    wanted = _labels(run, arm) if labels == "match" else [None] * len(arm)
    names = stems_of(arm.names)
    images = _UsableImages(arm)
    found = softmax(_logits(run, images, device, batch_size, progress))
    rows = [
        PredictionRow(name, key, label, run.classes[int(shares.argmax())], tuple(shares.tolist()))
        for place, (name, key, label, shares) in enumerate(zip(names, arm.keys, wanted, found, strict=True))
        if place not in images.failed
    ]
    return Predictions(run.classes, tuple(rows), failures=(*arm.left_out, *images.failed.values()))


class _UsableImages:
    """The images of an arm, with a black pixel instead of each that cannot be used.

    Attributes:
        failed: those, by their places.
    """

    def __init__(self, arm: ArmDataset) -> None:
        self.arm, self.failed = arm, dict[int, FailedEntry]()

    def __len__(self) -> int:
        return len(self.arm)

    def __getitem__(self, index: int) -> Pixels:
        try:
            return self.arm[index]
        except (ImageError, MissError, MemoryError) as error:
            self.failed[index] = failed_image("", self.arm.names[index], error)
            return np.zeros((1, 1, 3), np.uint8)


def _logits(
    run: TrainRun, images: _UsableImages, device: str, batch_size: int | None, progress: Progress | None
) -> NDArray[np.float64]:
    settings = replace(run.settings, batch_size=batch_size or run.settings.batch_size, workers=0)
    device, done = resolve_device(device), 0

    def show(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, len(images))

    images.arm.set_epoch(run.settings.epochs - 1)
    loader = make_loader(Examples(images, [NO_LABEL] * len(images), settings), settings)
    with deterministic(settings.threads, device, 0):
        return compute_logits(run.network(device), loader, device, progress=show)[0]


def _labels(run: TrainRun, arm: ArmDataset) -> Sequence[str | None]:
    unknown = sorted({label for label in arm.labels if label is not None} - set(run.classes))
    if unknown:
        raise CatalogError(
            f"the images have classes that the run was not trained on: {listed(unknown)}; it knows "
            f"{listed(run.classes)}. Rename the folders, or leave the labels out (--unlabelled)"
        )
    return arm.labels
