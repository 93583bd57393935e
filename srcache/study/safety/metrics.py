"""The numbers of label safety: how far one super-resolved image may show something else than its LR and HR do.

Three parts, none of which is enough alone: an image may keep its class and lose its detail, or keep its colours and
gain a mole. Everything is compared at the SR image's size; LR and HR are brought to it by Pillow's bicubic.

    agree                   1 − total variation distance between a reference classifier's class probabilities on SR and
                            on the reference: the HR image if there is one (of which only what mod-crop left of it,
                            where the sizes of LR and HR tell that), else LR enlarged. From 0 to 1.
    feature_distance        1 − cosine similarity of the classifier's features before its last layer, SR against the
                            reference. From 0 (same direction) to 2.
    back_projection         PSNR in dB, over 8-bit RGB, of SR made smaller again against LR; infinite if they are equal.
                            The recipe's degradation makes it smaller; where it has none, Pillow's bicubic.
    back_projection_error   the mean absolute difference of the same two, in levels from 0 to 255.
    safe                    the weakest part: the least of `agree`, 1 − feature_distance (at least 0) and
                            1 − 4 · 10^(−back_projection / 20) (at least 0), which is four times the root mean square
                            error as a share of the range: 0.9 at 32 dB, 0.8 at 26 dB, 0 at 12 dB and below.

`safe` is the minimum because no part makes up for another. It is no probability; it orders images, and a filter's bound
is to be chosen by looking at what it removes. Without a classifier the last part alone is measured, and `safe` is that.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from srcache.errors import ImageError
from srcache.images import Pixels, resize
from srcache.study.train.batches import softmax

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
"""Of the definitions above; where it differs, everything is measured anew."""

MEANING = {
    "agree": "1 - total variation distance of the classifier's probabilities, SR against the reference",
    "feature_distance": "1 - cosine similarity of the features before the last layer, SR against the reference",
    "back_projection": "PSNR in dB over 8-bit RGB, SR made small by the filter against LR",
    "back_projection_error": "mean absolute difference of the same, in levels 0 to 255",
    "safe": "min(agree, max(0, 1 - feature_distance), max(0, 1 - 4 * 10**(-back_projection / 20)))",
}


class Classifier(Protocol):
    """A trained network that classifies images, such as a run of `srcache train`.

    Attributes:
        name: what messages call it.
        digest: of its weights and of how it prepares images; where it differs, everything is measured anew.
        classes: the labels' names.
    """

    name: str
    digest: str
    classes: tuple[str, ...]

    def prepare(self, rgb: Pixels) -> "Tensor":
        """An image → float tensor (3, H, W) as the network takes it; equal shapes for images of one size."""
        ...

    def __call__(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """A batch (N, 3, H, W) → logits (N, classes), and the features before the last layer (N, D)."""
        ...


class Observation(NamedTuple):
    """One SR image, and its LR and HR (None if there is none) brought to its size; uint8 RGB (height, width, 3)."""

    sr: Pixels
    lr: Pixels
    hr: Pixels | None


def back_projection(sr: Pixels, lr: Pixels, resample: str) -> tuple[float, float]:
    """PSNR in dB and mean absolute error in levels of SR made smaller again against LR; uint8 (height, width, 3)."""
    small = resize(sr, (lr.shape[0], lr.shape[1]), resample)
    difference = small.astype(np.float64) - lr
    error = float(np.mean(difference**2))
    return (10 * math.log10(255**2 / error) if error else math.inf), float(np.abs(difference).mean())


def agreement(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """1 − total variation distance between the softmax of two vectors of logits."""
    return max(0.0, float(1 - 0.5 * np.abs(softmax(left) - softmax(right)).sum()))


def feature_distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """1 − cosine similarity, from 0 to 2; of a vector of zeros it is 0 to another one, and 1 to all others."""
    lengths = float(np.linalg.norm(left)), float(np.linalg.norm(right))
    if 0 in lengths:
        return float(lengths[0] != lengths[1])
    return float(np.clip(1 - np.dot(left / lengths[0], right / lengths[1]), 0, 2))


def safe(back: float, agree: float | None = None, distance: float | None = None) -> float:
    """One number from 0 to 1 of a back-projection in dB and, if measured, agreement and feature distance."""
    parts = [max(0.0, 1 - 4 * 10 ** (-back / 20))]
    parts += [] if agree is None else [agree]
    parts += [] if distance is None else [max(0.0, 1 - distance)]
    return min(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelComparison:
    """What a classifier answers for one SR image beside its LR and HR.

    Attributes:
        agree, feature_distance: SR against the reference, which is HR if there is one, else LR.
        lr_label, sr_label, hr_label: the most probable class of each; None without HR.
    """

    agree: float
    feature_distance: float
    lr_label: str
    sr_label: str
    hr_label: str | None


def compare_labels(classifier: Classifier, seen: Observation) -> LabelComparison:
    """Classify one SR image and its references; what agrees is measured against HR if there is one, else LR.

    Raises:
        ImageError: its numbers are not finite (`not_finite`).
    """
    import torch

    images = [classifier.prepare(rgb) for rgb in (seen.sr, seen.lr, seen.hr) if rgb is not None]
    with torch.inference_mode():
        answers = classifier(torch.stack(images))
    logits, features = (answer.detach().double().cpu().numpy() for answer in answers)
    if not (np.isfinite(logits).all() and np.isfinite(features).all()):
        raise ImageError("not_finite", f"classifier {classifier.name} gives numbers that are not finite")
    labels = [str(classifier.classes[int(row.argmax())]) for row in logits]
    return LabelComparison(
        agree=agreement(logits[0], logits[-1]),
        feature_distance=feature_distance(features[0], features[-1]),
        sr_label=labels[0],
        lr_label=labels[1],
        hr_label=labels[2] if seen.hr is not None else None,
    )
