"""How good one classifier is: accuracy, precision, recall, F1, confusion, ROC-AUC and calibration, by scikit-learn.

A number that is not defined is None beside a reason. Two habits of scikit-learn stand in a note, not in a warning:

    a class that is never predicted has no precision     in the macro mean it counts as 0, as scikit-learn does
    a class that no image has, and no prediction either  is left out of the macro mean, as scikit-learn does
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.errors import ConfigError, listed, needs_extra
from srcache.study.compare.predictions import Predictions
from srcache.study.statistics.intervals import Interval, wilson

BINS = 15
"""Bins of equal width over which calibration is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A number in [0, 1], or None beside a reason."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class: images of it, predictions of it, and its scores; undefined ones are None beside a reason."""

    name: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """The mean over classes of precision, recall and F1, and what was counted as 0 or left out."""

    precision: float
    recall: float
    f1: float
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityPoint:
    """One bin of calibration, from above `low` to `high`: images in it, their mean confidence, their accuracy."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether a confidence of 0.8 is right 8 times of 10.

    Attributes:
        ece: expected calibration error: the mean distance of confidence and accuracy over bins, weighted by images.
            Confidence is the probability of the class that was chosen. None without probabilities.
        bins: how many of equal width.
        points: the bins that hold images.
        reason: why there is none.
    """

    ece: float | None
    bins: int
    points: tuple[ReliabilityPoint, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """One classifier on one set of images.

    Attributes:
        name: the classifier's.
        images, right: counts.
        accuracy: with its interval.
        macro, per_class: precision, recall and F1.
        confusion: counts; a row for each true class, a column for each predicted one.
        roc_auc: of the second class for two classes, else the mean of each against the rest.
        calibration: of the probabilities.
    """

    name: str
    images: int
    right: int
    accuracy: Interval
    macro: Macro
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    roc_auc: MetricValue
    calibration: Calibration

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def score_classifier(
    name: str, predictions: Predictions, classes: Sequence[str], level: float = 0.95, bins: int = BINS
) -> Performance:
    """Score a classifier whose rows all have labels, over `classes` (its own, and those that only others know).

    Raises:
        ConfigError: rows without labels, or no rows at all.
        MissingExtraError: scikit-learn or statsmodels is not installed.
    """
    require_labels(predictions)
    truth = [row.label or "" for row in predictions.rows]
    chosen = [row.prediction for row in predictions.rows]
    right = sum(row.right for row in predictions.rows)
    return Performance(
        name=name,
        images=len(truth),
        right=right,
        accuracy=wilson(right, len(truth), level),
        macro=_macro(truth, chosen, classes),
        per_class=_per_class(truth, chosen, classes),
        confusion=_confusion(truth, chosen, classes),
        roc_auc=_roc_auc(predictions, classes),
        calibration=calibration(predictions, bins),
    )


def require_labels(predictions: Predictions) -> None:
    """Refuse what cannot be scored.

    Raises:
        ConfigError: with the names of rows that have no label.
    """
    if not predictions.rows:
        raise ConfigError("there are no predictions to score")
    unlabelled = [row.name for row in predictions.rows if row.label is None]
    if unlabelled:
        raise ConfigError(
            f"only labelled images can be scored, but {len(unlabelled)} of {len(predictions.rows)} have no label: "
            f"{listed(unlabelled)}"
        )


def calibration(predictions: Predictions, bins: int = BINS) -> Calibration:
    """Confidence against accuracy, in bins of equal width that hold their upper end."""
    reason = _without_probabilities(predictions)
    if reason:
        return Calibration(ece=None, bins=bins, reason=reason)
    places = {name: place for place, name in enumerate(predictions.classes)}
    confidence = _probabilities(predictions)[
        np.arange(len(predictions.rows)), [places[row.prediction] for row in predictions.rows]
    ]
    right = np.array([row.right for row in predictions.rows], dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    where = np.searchsorted(edges[1:-1], confidence)
    points = [
        ReliabilityPoint(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            images=int((where == place).sum()),
            confidence=float(confidence[where == place].mean()),
            accuracy=float(right[where == place].mean()),
        )
        for place in np.unique(where).tolist()
    ]
    ece = sum(point.images * abs(point.accuracy - point.confidence) for point in points) / len(right)
    return Calibration(ece=float(ece), bins=bins, points=tuple(points))


def _macro(truth: Sequence[str], chosen: Sequence[str], classes: Sequence[str]) -> Macro:
    real, said = set(truth), set(chosen)
    seen = [name for name in classes if name in real or name in said]
    means = _metrics().precision_recall_fscore_support(truth, chosen, labels=seen, average="macro", zero_division=0)
    precision, recall, f1 = (float(value) for value in means[:3])
    notes = []
    if never := [name for name in seen if name not in said]:
        notes.append(f"precision counts as 0 for what was never predicted ({listed(never)})")
    if alien := [name for name in seen if name not in real]:
        notes.append(f"recall counts as 0 for what no image is ({listed(alien)})")
    if unseen := [name for name in classes if name not in seen]:
        notes.append(f"left out: {listed(unseen)}, which no image is and nothing was taken for")
    return Macro(precision=precision, recall=recall, f1=f1, note="; ".join(notes) or None)


def _per_class(truth: Sequence[str], chosen: Sequence[str], classes: Sequence[str]) -> tuple[ClassScore, ...]:
    found = _metrics().precision_recall_fscore_support(truth, chosen, labels=list(classes), zero_division=np.nan)
    said = Counter(chosen)
    return tuple(
        ClassScore(
            name=name,
            images=int(images),
            predicted=said[name],
            precision=_defined(precision),
            recall=_defined(recall),
            f1=_defined(f1),
            reason=_class_reason(int(images), said[name]),
        )
        for name, precision, recall, f1, images in zip(classes, *found, strict=True)
    )


def _class_reason(images: int, predicted: int) -> str | None:
    if images and predicted:
        return None
    if images:
        return "never predicted, so that it has no precision"
    ending = "so that it has no recall" if predicted else "and nothing was taken for it"
    return f"no image is of this class, {ending}"


def _confusion(truth: Sequence[str], chosen: Sequence[str], classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Counted here: scikit-learn warns over a set of one class."""
    counts = Counter(zip(truth, chosen, strict=True))
    return tuple(tuple(counts[true, said] for said in classes) for true in classes)


def _roc_auc(predictions: Predictions, classes: Sequence[str]) -> MetricValue:
    truth = [row.label for row in predictions.rows]
    reason = _without_probabilities(predictions)
    lacking = [name for name in classes if name not in predictions.classes]
    absent = [name for name in classes if name not in truth]
    if not reason and len(classes) < 2:
        reason = "there is only one class"
    elif not reason and lacking:
        reason = f"there are no probabilities for {listed(lacking)}"
    elif not reason and absent:
        reason = f"no image is {listed(absent)}, so that there is nothing to tell apart"
    if reason:
        return MetricValue(value=None, reason=reason)
    numbers = _probabilities(predictions)
    areas = [
        float(_metrics().roc_auc_score([label == name for label in truth], numbers[:, predictions.classes.index(name)]))
        for name in (classes if len(classes) > 2 else classes[1:])
    ]
    return MetricValue(value=sum(areas) / len(areas))


def _without_probabilities(predictions: Predictions) -> str | None:
    lacking = sum(row.probabilities is None for row in predictions.rows)
    return f"{lacking} of {len(predictions.rows)} rows have no probabilities" if lacking else None


def _probabilities(predictions: Predictions) -> NDArray[np.float64]:
    return np.array([row.probabilities for row in predictions.rows], dtype=np.float64)


def _defined(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _metrics() -> Any:
    with needs_extra("scikit-learn", "eval", "scoring a classifier"):
        from sklearn import metrics
    return metrics
