"""The result of a comparison in one sentence, which claims no more than the tests do."""

from collections.abc import Sequence
from dataclasses import dataclass

from srcache.study.statistics.intervals import Test
from srcache.study.statistics.paired import Table
from srcache.wording import enumeration, p_value

_MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two classifiers, and the p of the test that decides: as it is, and corrected for the number of pairs.

    `correction` is `none` where there is one pair only.
    """

    first: str
    second: str
    table: Table
    test: str
    p: float
    adjusted: float
    correction: str
    alpha: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p is at most alpha."""
        return self.adjusted <= self.alpha

    @property
    def order(self) -> tuple[str, str]:
        """The one that is right more often, then the other."""
        swap = self.table.second_only > self.table.first_only
        return (self.second, self.first) if swap else (self.first, self.second)


def verdict_sentence(contests: Sequence[Contest], overall: Test | None = None) -> str:
    """One sentence about at least one pair; `overall` is Cochran's Q where there are three classifiers or more."""
    if len(contests) == 1:
        return _about_two(contests[0])
    names = list(dict.fromkeys(name for contest in contests for name in (contest.first, contest.second)))
    if not any(contest.table.discordant for contest in contests):
        table = contests[0].table
        return f"{enumeration(names)} are {_same(table)}"
    found = [contest for contest in contests if contest.significant]
    how = f"at {contests[0].alpha:g} {_corrected(contests)}{_overall(overall, contests[0].alpha)}"
    if not found:
        nearest = min(contests, key=lambda contest: contest.p)
        return (
            f"No difference among {enumeration(names)} is significant {how}; the nearest is "
            f"{' against '.join(nearest.order)}, where {_counts(nearest)} ({_values(nearest)})."
        )
    shown = [f"{' is right more often than '.join(one.order)} ({_counts(one)}; {_values(one)})" for one in found]
    if len(shown) > _MOST:
        shown = [*shown[:_MOST], f"{len(shown) - _MOST} more"]
    differ = "differs" if len(found) == 1 else "differ"
    return f"{len(found)} of {len(contests)} pairs {differ} significantly {how}: {'; '.join(shown)}."


def _about_two(contest: Contest) -> str:
    table = contest.table
    if not table.discordant:
        return f"{contest.first} and {contest.second} are {_same(table)}"
    why = f"at {contest.alpha:g}: {_counts(contest)} ({_values(contest)})."
    if contest.significant:
        return f"{' is right more often than '.join(contest.order)}, and the difference is significant {why}"
    return f"The difference between {contest.first} and {contest.second} is not significant {why}"


def _same(table: Table) -> str:
    return f"right on the same {table.both_right} of {table.images} images: there is nothing to test."


def _counts(contest: Contest) -> str:
    better, worse = contest.order
    more = max(contest.table.first_only, contest.table.second_only)
    less = min(contest.table.first_only, contest.table.second_only)
    return f"{better} alone is right on {more} of {contest.table.images} images and {worse} alone on {less}"


def _values(contest: Contest) -> str:
    text = f"{contest.test} {p_value(contest.p, contest.alpha)}"
    if contest.correction != "none":
        text += f", after {contest.correction.capitalize()} {p_value(contest.adjusted, contest.alpha)}"
    return text


def _corrected(contests: Sequence[Contest]) -> str:
    correction = contests[0].correction
    if correction == "none":
        return f"without correction for {len(contests)} pairs"
    return f"after {correction.capitalize()}'s correction for {len(contests)} pairs"


def _overall(test: Test | None, alpha: float) -> str:
    if test is None or test.p is None:
        return ""
    return f" (Cochran's Q {test.statistic:.2f}, p {p_value(test.p, alpha)})"
