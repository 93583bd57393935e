"""What an experiment's sweeps show: accuracy at every point with a band, and where curves part, as JSON values.

Curves are compared at every point, on the same images and seeds; the points of a curve over shares, or of a single
curve, also with its first one. There is one set of intervals for all of these differences of a sweep, because who looks
at many points finds a difference at one of them by chance (`compare.correction: none` leaves that out).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcache.study.compare.pairwise import CompareSettings
from srcache.study.compare.predictions import read_predictions
from srcache.study.compare.seeds import join_seeds
from srcache.study.experiment.config import Experiment, SweepChoice
from srcache.study.experiment.sweeps import Curve, curves, second_kind
from srcache.study.experiment.trials import Trial, TrialOutcome
from srcache.study.report.data.curves import answer, read_curves
from srcache.study.report.data.question import usual_pair
from srcache.study.statistics.bootstrap import series_bootstrap
from srcache.study.statistics.intervals import Interval

Right = NDArray[np.bool_]
"""Who was right, of shape (seeds, images)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A curve with its title, and who was right at each of its points."""

    title: str
    curve: Curve
    right: tuple[Right, ...]

    @property
    def at(self) -> dict[float | str, Right]:
        """Who was right by the point's value."""
        return {value: right for (value, _), right in zip(self.curve.points, self.right, strict=True)}


def measure_curves(
    experiment: Experiment,
    trials: Mapping[tuple[str, int], Trial],
    outcomes: Mapping[tuple[str, int], TrialOutcome],
) -> list[dict[str, Any]]:
    """Every sweep's curves and differences, and what they show; empty without sweeps."""
    return [
        _measure(experiment, name, experiment.sweep[name], found, trials, outcomes)
        for name, found in curves(experiment).items()
    ]


def _measure(
    experiment: Experiment,
    name: str,
    sweep: SweepChoice,
    found: Sequence[Curve],
    trials: Mapping[tuple[str, int], Trial],
    outcomes: Mapping[tuple[str, int], TrialOutcome],
) -> dict[str, Any]:
    drawn = _drawn(found, experiment.seeds, trials)
    compare = experiment.compare
    bands = _intervals([right for one in drawn for right in one.right], compare, together=False)
    plain = {
        "name": name,
        "over": sweep.over,
        "values": list(sweep.values),
        "images": int(drawn[0].right[0].shape[1]),
        "seeds": list(experiment.seeds),
        "level": 1 - compare.alpha,
        "together": compare.correction != "none",
        "curves": [
            {
                "name": one.title,
                "arm": one.curve.arm.name,
                "domain": one.curve.domain,
                "of": second_kind(one.curve.arm.arm) if sweep.over == "share" and len(one.right) > 1 else None,
                "points": [
                    {
                        "value": value,
                        "arm": point.name,
                        "trained_on": point.arm,
                        **_accuracy(right, next(bands)),
                        **_runs([(outcomes[point.name, seed], trials[point.name, seed]) for seed in experiment.seeds]),
                    }
                    for (value, point), right in zip(one.curve.points, one.right, strict=True)
                ],
            }
            for one in drawn
        ],
        "differences": _differences(experiment, sweep, drawn),
    }
    return {**plain, "answer": answer(read_curves(plain))}


def _drawn(found: Sequence[Curve], seeds: Sequence[int], trials: Mapping[tuple[str, int], Trial]) -> list[_Drawn]:
    """Who was right at every point, on the images that all of them were asked about."""
    places = {f"{point.name} on {one.domain}": (point.name, one.domain) for one in found for _, point in one.points}
    files = {
        title: [read_predictions(trials[arm, seed].predictions(domain)) for seed in seeds]
        for title, (arm, domain) in places.items()
    }
    joined = join_seeds(files)
    right = {title: np.array([one.right(title) for one in joined]) for title in places}
    several = len({one.domain for one in found if one.arm == found[0].arm}) > 1
    return [
        _Drawn(
            title=f"{one.arm.name} on {one.domain}" if several else one.arm.name,
            curve=one,
            right=tuple(right[f"{point.name} on {one.domain}"] for _, point in one.points),
        )
        for one in found
    ]


def _intervals(series: Sequence[Any], compare: CompareSettings, *, together: bool) -> Iterator[Interval]:
    return iter(
        series_bootstrap(series, level=1 - compare.alpha, draws=compare.draws, seed=compare.seed, together=together)
    )


def _accuracy(right: Right, band: Interval) -> dict[str, Any]:
    shares = [float(share) for share in right.mean(axis=1)]
    return {
        "accuracy": shares,
        "mean": fmean(shares),
        "spread": stdev(shares) if len(shares) > 1 else None,
        "low": band.low,
        "high": band.high,
    }


def _runs(found: Sequence[tuple[TrialOutcome, Trial]]) -> dict[str, Any]:
    runs = [outcome.run for outcome, _ in found]
    out = found[0][1].runner.out
    first = next(iter(runs[0].balance.values()), {})
    return {
        "images_per_class": [min(first.values(), default=0), max(first.values(), default=0)],
        "runs": [run.folder.relative_to(out).as_posix() for run in runs],
        "best_epoch": [run.best_epoch for run in runs],
        "epochs": [len(run.history) for run in runs],
        "monitor": runs[0].settings.monitor,
    }


def _differences(experiment: Experiment, sweep: SweepChoice, drawn: Sequence[_Drawn]) -> list[dict[str, Any]]:
    """Curves against each other at every value; points of a curve against its first one."""
    series, about = [], []
    pair = experiment.pair or usual_pair([(arm.name, arm.arm) for arm in experiment.arms])
    for two in combinations(drawn, 2):
        asked = (two[0].curve.arm.name, two[1].curve.arm.name) == pair
        first, second = two if asked else reversed(two)
        for at in [at for at in first.at if at in second.at and _comparable(*two)]:
            series.append(first.at[at].astype(np.int64) - second.at[at])
            about.append({"first": first.title, "second": second.title, "at": at, "against": at})
    for one in drawn if sweep.over == "share" or len(drawn) == 1 else ():
        start, *others = one.at
        for at in others:
            series.append(one.at[at].astype(np.int64) - one.at[start])
            about.append({"first": one.title, "second": one.title, "at": at, "against": start})
    together = experiment.compare.correction != "none"
    found = _intervals(series, experiment.compare, together=together)
    return [{**words, **_difference(interval)} for words, interval in zip(about, found, strict=True)]


def _comparable(one: _Drawn, other: _Drawn) -> bool:
    """Whether two curves are compared: a single point only with what is measured on the same images."""
    return one.curve.domain == other.curve.domain or min(len(one.right), len(other.right)) > 1


def _difference(interval: Interval) -> dict[str, Any]:
    low, high = interval.low, interval.high
    shown = low is not None and high is not None and (low > 0 or high < 0)
    return {"difference": interval.value, "low": low, "high": high, "shown": shown, "reason": interval.reason}
