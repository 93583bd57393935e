"""Several seeds of each arm: a test per seed, never one of pooled tables, then one interval over images and seeds.

The seeds of two arms are taken in pairs, first with first. Where they share nothing but a number this costs nothing:
the spread of the paired differences is then that of both arms together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from srcache.errors import ConfigError
from srcache.study.compare.pairwise import CompareSettings, Comparison, compare
from srcache.study.compare.predictions import JoinedPredictions, Predictions, join
from srcache.study.statistics.bootstrap import joint_bootstrap
from srcache.study.statistics.intervals import Interval
from srcache.wording import points


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The accuracies of an arm's seeds, their mean, and their sample standard deviation (None for one seed)."""

    name: str
    accuracies: tuple[float, ...]
    mean: float
    spread: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPair:
    """Two arms over all seeds; differences are the first minus the second.

    Attributes:
        first, second: the arms.
        tests: for each seed b, c, exact, mid-p, both corrected, and whether it is significant.
        significant_in: seeds whose test is significant.
        difference: of the mean accuracies, with the joint interval of this pair alone.
        simultaneous: the same with an interval wide enough for all pairs together (Bonferroni), which decides.
    """

    first: str
    second: str
    tests: tuple[dict[str, Any], ...]
    significant_in: int
    difference: Interval
    simultaneous: Interval

    @property
    def shown(self) -> bool:
        """Whether the interval that decides leaves 0 out.

        There is none where one arm is right on every image and the other on none, in all seeds: there the tests decide.
        """
        low, high = self.simultaneous.low, self.simultaneous.high
        if low is None or high is None:
            return bool(self.simultaneous.value) and self.significant_in == len(self.tests)
        return low > 0 or high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedComparison:
    """All seeds: `comparisons` holds one `Comparison` for each."""

    seeds: int
    draws: int
    seed: int
    arms: tuple[Arm, ...]
    pairs: tuple[SeedPair, ...]
    comparisons: tuple[Comparison, ...]
    verdict: str

    def plain(self) -> dict[str, Any]:
        """As JSON values; of each seed's comparison only its tests and its verdict."""
        return {
            "seeds": self.seeds,
            "draws": self.draws,
            "seed": self.seed,
            "arms": [asdict(arm) for arm in self.arms],
            "pairs": [asdict(pair) for pair in self.pairs],
            "verdicts": [one.verdict for one in self.comparisons],
            "verdict": self.verdict,
        }


def join_seeds(arms: Mapping[str, Sequence[Predictions]]) -> tuple[JoinedPredictions, ...]:
    """Join the predictions of every arm and seed by name; one `JoinedPredictions` for each seed.

    Raises:
        CatalogError: as `join`; a classifier is named `arm (seed 2)`, counted from 1.
        ConfigError: arms with different numbers of seeds, or with none.
    """
    counts = {name: len(seeds) for name, seeds in arms.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        words = ", ".join(f"{name} has {count}" for name, count in counts.items()) or "there is no arm"
        raise ConfigError(f"every arm needs the same number of seeds, and at least one, but {words}")
    seeds = next(iter(counts.values()))
    titles = {
        (name, place): f"{name} (seed {place + 1})" if seeds > 1 else name for name in arms for place in range(seeds)
    }
    joined = join({title: arms[name][place] for (name, place), title in titles.items()})
    return tuple(
        JoinedPredictions(
            classes=joined.classes,
            names=joined.names,
            labels=joined.labels,
            classifiers={name: joined.classifiers[titles[name, place]] for name in arms},
        )
        for place in range(seeds)
    )


def compare_seeds(joined: Sequence[JoinedPredictions], settings: CompareSettings | None = None) -> SeedComparison:
    """Compare the arms in every seed, and over all of them.

    Raises:
        ConfigError: no seeds, or images without labels.
        MissingExtraError: a package of the extra `eval` is not installed.
    """
    if not joined:
        raise ConfigError("expected at least one seed to compare")
    chosen = settings or CompareSettings()
    comparisons = tuple(compare(one, chosen) for one in joined)
    right = {name: np.array([one.right(name) for one in joined]) for name in joined[0].classifiers}
    pairs = tuple(
        _pair(place, (right[first], right[second]), comparisons, chosen)
        for place, (first, second) in enumerate(combinations(right, 2))
    )
    return SeedComparison(
        seeds=len(joined),
        draws=chosen.draws,
        seed=chosen.seed,
        arms=tuple(_arm(name, answers) for name, answers in right.items()),
        pairs=pairs,
        comparisons=comparisons,
        verdict=_verdict(pairs, len(joined), chosen),
    )


def _arm(name: str, right: Any) -> Arm:
    accuracies = tuple(float(value) for value in right.mean(axis=1))
    spread = stdev(accuracies) if len(accuracies) > 1 else None
    return Arm(name=name, accuracies=accuracies, mean=fmean(accuracies), spread=spread)


def _pair(place: int, right: tuple[Any, Any], comparisons: Sequence[Comparison], settings: CompareSettings) -> SeedPair:
    found = [comparison.pairs[place] for comparison in comparisons]
    pairs = len(comparisons[0].pairs) if settings.correction != "none" else 1
    alone, all_together = (
        joint_bootstrap(*right, level=1 - alpha, draws=settings.draws, seed=settings.seed)
        for alpha in (settings.alpha, settings.alpha / pairs)
    )
    tests = tuple(
        {
            "b": one.table.first_only,
            "c": one.table.second_only,
            "exact": one.tests.exact,
            "mid_p": one.tests.mid_p,
            "adjusted": asdict(one.adjusted),
            "significant": one.significant,
        }
        for one in found
    )
    return SeedPair(
        first=found[0].first,
        second=found[0].second,
        tests=tests,
        significant_in=sum(one.significant for one in found),
        difference=alone,
        simultaneous=all_together,
    )


def _verdict(pairs: Sequence[SeedPair], seeds: int, settings: CompareSettings) -> str:
    """One sentence: what the joint intervals show, and in how many seeds a test agrees."""
    if seeds < 2:
        return "One seed alone: how far results vary between trainings is unknown."
    if not pairs:
        return "One arm alone: there is nothing to compare it with."
    shown = [pair for pair in pairs if pair.shown]
    several = f" (for {len(pairs)} pairs together)" if len(pairs) > 1 and settings.correction != "none" else ""
    over = f"Over {seeds} seeds, "
    if not shown:
        nearest = max(pairs, key=_distance)
        holds = "holds 0" if all(pair.simultaneous.low is not None for pair in pairs) else "holds 0 or is undefined"
        return (
            f"{over}no difference is shown: every interval over images and seeds{several} {holds}; "
            f"the nearest is {_format_difference(nearest, seeds)}."
        )
    words = "; ".join(_format_difference(pair, seeds) for pair in shown)
    differ = "differs" if len(shown) == 1 else "differ"
    count = f"{len(shown)} of {len(pairs)} pairs {differ}" if len(pairs) > 1 else "the arms differ"
    return f"{over}{count} by intervals over images and seeds{several}: {words}."


def _distance(pair: SeedPair) -> float:
    """How near an interval comes to leaving 0 out; the difference in units of its half width."""
    low, high = pair.simultaneous.low, pair.simultaneous.high
    if low is None or high is None or low == high:
        return 0.0
    return abs(pair.simultaneous.value or 0.0) / (high - low)


def _format_difference(pair: SeedPair, seeds: int) -> str:
    found, turned = pair.simultaneous, (pair.simultaneous.value or 0) < 0
    value, low, high = (number or 0.0 for number in (found.value, found.low, found.high))
    names = (pair.second, pair.first) if turned else (pair.first, pair.second)
    value, low, high = (-value, -high, -low) if turned else (value, low, high)
    interval = "no interval" if found.low is None else f"{points(low)} to {points(high)}"
    return (
        f"{names[0]} against {names[1]} {points(value)} points ({interval}; its test is significant in "
        f"{pair.significant_in} of {seeds} seeds)"
    )
