"""Classifiers on the same images: how good each is, whether each two differ, and a sentence that claims no more.

Every pair is tested whatever Cochran's Q says: Holm's correction alone keeps the chance of a false finding at alpha.
Decisions rest on mid-p unless the exact test is asked for. Intervals are those of single pairs, at 1 - alpha, and know
nothing of a correction.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from srcache.errors import ConfigError
from srcache.study.compare.metrics import BINS, Performance, score_classifier
from srcache.study.compare.predictions import JoinedPredictions
from srcache.study.compare.verdict import Contest, verdict_sentence
from srcache.study.statistics.bootstrap import bootstrap_difference
from srcache.study.statistics.corrections import CORRECTIONS, adjusted
from srcache.study.statistics.intervals import Interval, Test, require_share
from srcache.study.statistics.paired import (
    McNemar,
    Table,
    cochran,
    mcnemar,
    newcombe_difference,
    odds_ratio,
    table_of,
)
from srcache.study.statistics.power import Needed, needed

SCHEMA = "srcache.compare/1"
TESTS = ("mid-p", "exact")
MOST_BINS, MOST_DRAWS = 1000, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """How to decide.

    Attributes:
        alpha: a difference with a corrected p of at most this is significant; intervals hold 1 - alpha.
        correction: `holm`, `bonferroni` or `none`, over the pairs.
        test: `mid-p` or `exact`.
        power: that the number of needed images is computed for.
        bins: of the calibration.
        draws, seed: of the joint bootstrap over images and seeds.

    Raises:
        ConfigError: a value out of range.
    """

    alpha: float = 0.05
    correction: str = "holm"
    test: str = "mid-p"
    power: float = 0.8
    bins: int = BINS
    draws: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        require_share(self.alpha, "alpha", 0.5)
        require_share(self.power, "power")
        for what, value, known in (("correction", self.correction, CORRECTIONS), ("test", self.test, TESTS)):
            if value not in known:
                raise ConfigError(f"a {what} is one of {', '.join(known)}, but got {value!r}")
        for name, number, least, most in (
            ("bins", self.bins, 1, MOST_BINS),
            ("draws", self.draws, 1, MOST_DRAWS),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not least <= number <= most:
                raise ConfigError(f"{name} must be an integer from {least} to {most}, but is {number}")

    @property
    def level(self) -> float:
        """The confidence of intervals."""
        return 1 - self.alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """p-values corrected for the number of pairs."""

    exact: float
    mid_p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPair:
    """Two classifiers; differences are the first minus the second.

    Attributes:
        first, second: their names.
        table: the counts; b is `first_only`, c is `second_only`.
        names_first_only, names_second_only: the images of b and c.
        tests, adjusted: p-values, as they are and corrected for the number of pairs.
        odds_ratio: b / c.
        newcombe, bootstrap: the difference of accuracies with two intervals.
        needed: images that would show this effect.
        contest: what the verdict is made of.
    """

    first: str
    second: str
    table: Table
    names_first_only: tuple[str, ...]
    names_second_only: tuple[str, ...]
    tests: McNemar
    adjusted: Adjusted
    odds_ratio: Interval
    newcombe: Interval
    bootstrap: Interval
    needed: Needed
    contest: Contest

    @property
    def significant(self) -> bool:
        """Whether the corrected p of the chosen test is at most alpha."""
        return self.contest.significant

    @property
    def verdict(self) -> str:
        """A sentence about these two."""
        return verdict_sentence([self.contest])

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first": self.first,
            "second": self.second,
            "table": asdict(self.table),
            "b": self.table.first_only,
            "c": self.table.second_only,
            "names_first_only": list(self.names_first_only),
            "names_second_only": list(self.names_second_only),
            **self.tests.plain(),
            "adjusted": asdict(self.adjusted),
            "significant": self.significant,
            "odds_ratio": self.odds_ratio.plain(),
            "difference": {"newcombe": self.newcombe.plain(), "bootstrap": self.bootstrap.plain()},
            "needed": self.needed.plain(),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything about several classifiers on one set of images; `cochran` is None for fewer than three."""

    settings: CompareSettings
    images: int
    classes: tuple[str, ...]
    classifiers: tuple[Performance, ...]
    pairs: tuple[ArmPair, ...]
    cochran: Test | None
    verdict: str

    def plain(self) -> dict[str, Any]:
        """As JSON values, schema srcache.compare/1."""
        return {
            "schema": SCHEMA,
            "settings": asdict(self.settings),
            "images": self.images,
            "classes": list(self.classes),
            "classifiers": [one.plain() for one in self.classifiers],
            "pairs": [pair.plain() for pair in self.pairs],
            "cochran_q": None if self.cochran is None else self.cochran.plain(),
            "verdict": self.verdict,
        }


def compare(joined: JoinedPredictions, settings: CompareSettings | None = None) -> Comparison:
    """Score every classifier and test every pair, in the order in which they were joined.

    Raises:
        ConfigError: images without labels.
        MissingExtraError: a package of the extra `eval` is not installed.
    """
    chosen = settings or CompareSettings()
    classifiers = tuple(
        score_classifier(name, predictions, joined.classes, chosen.level, chosen.bins)
        for name, predictions in joined.classifiers.items()
    )
    right = {name: joined.right(name) for name in joined.classifiers}
    pairs = _pairs(joined, right, chosen)
    overall = cochran(list(right.values())) if len(right) > 2 else None
    return Comparison(
        settings=chosen,
        images=len(joined.names),
        classes=joined.classes,
        classifiers=classifiers,
        pairs=pairs,
        cochran=overall,
        verdict=_verdict(classifiers, pairs, overall, chosen),
    )


def _pairs(
    joined: JoinedPredictions, right: dict[str, tuple[bool, ...]], settings: CompareSettings
) -> tuple[ArmPair, ...]:
    couples = list(combinations(right, 2))
    tables = [table_of(right[first], right[second]) for first, second in couples]
    tests = [mcnemar(table) for table in tables]
    exact = adjusted([test.exact for test in tests], settings.correction)
    mid_p = adjusted([test.mid_p for test in tests], settings.correction)
    by_exact = settings.test == "exact"
    found = []
    for place, (first, second) in enumerate(couples):
        contest = Contest(
            first=first,
            second=second,
            table=tables[place],
            test="exact p" if by_exact else "mid-p",
            p=tests[place].exact if by_exact else tests[place].mid_p,
            adjusted=exact[place] if by_exact else mid_p[place],
            correction=settings.correction if len(couples) > 1 else "none",
            alpha=settings.alpha,
        )
        answers = list(zip(joined.names, right[first], right[second], strict=True))
        after = Adjusted(exact=exact[place], mid_p=mid_p[place])
        found.append(_pair(contest, answers, (tests[place], after), settings))
    return tuple(found)


def _pair(
    contest: Contest,
    answers: Sequence[tuple[str, bool, bool]],
    tests: tuple[McNemar, Adjusted],
    settings: CompareSettings,
) -> ArmPair:
    """`answers`: for each image its name, and whether the first and the second are right."""
    table, level = contest.table, settings.level
    return ArmPair(
        first=contest.first,
        second=contest.second,
        table=table,
        names_first_only=tuple(name for name, one, other in answers if one and not other),
        names_second_only=tuple(name for name, one, other in answers if other and not one),
        tests=tests[0],
        adjusted=tests[1],
        odds_ratio=odds_ratio(table, level),
        newcombe=newcombe_difference(table, level),
        bootstrap=bootstrap_difference(table, level),
        needed=needed(table, settings.alpha, settings.power),
        contest=contest,
    )


def _verdict(
    classifiers: Sequence[Performance], pairs: Sequence[ArmPair], overall: Test | None, settings: CompareSettings
) -> str:
    if not pairs:
        (alone,) = classifiers
        accuracy = alone.accuracy
        return (
            f"{alone.name} is right on {alone.right} of {alone.images} images (accuracy {accuracy.value:.3f}, "
            f"{100 * settings.level:.3g} % interval {accuracy.low:.3f} to {accuracy.high:.3f}); "
            "there is nothing to compare it with."
        )
    return verdict_sentence([pair.contest for pair in pairs], overall)
