"""What stands first: the answer, in a sentence and as a plot of all pairs, and what to beware of."""

from collections.abc import Sequence

from srcache.html.charts import COLUMN, Difference, forest
from srcache.html.markup import Child, Markup, concat, tag
from srcache.html.tables import data_table, folded
from srcache.study.report.data.comparison import classifiers, rules
from srcache.study.report.data.labels import arm_title, arm_word
from srcache.study.report.data.question import Effect, answer, asked_pair, effects
from srcache.study.report.data.study import Study, inside
from srcache.wording import NOTHING, counted, enumeration, points, points_range, real

FEW = 20
"""Test images of a class below which its own figures say little."""


def sentence(study: Study) -> Markup | None:
    """The answer, and how its numbers are to be read, which serves the entire page."""
    words = answer(study)
    if not words:
        return None
    first, second = (arm_word(one) for one in asked_pair(study) or ("", ""))
    return concat(
        tag("p", words, class_="verdict", dir="auto"),
        tag(
            "p",
            f"Points are percentage points of accuracy, {first} minus {second}: plus means that {first} is right more "
            "often. All pairs on this page are read in this way: the first-named minus the second.",
            class_="finding",
        ),
    )


def all_pairs(study: Study) -> Markup | None:
    """The forest plot, with the numbers behind it."""
    found = effects(study)
    if not found:
        return None
    rows = [
        Difference(name=_title(one), value=one.difference, low=one.low, high=one.high, shown=one.differs is True)
        for one in found
    ]
    words = "; ".join(f"{_title(one)}: {_numbers(one)}, {_shown(one)}" for one in found)
    title = "Differences of accuracy, in points"
    caption = f"Differences of accuracy in points, with {_intervals(study, found)}. Filled: shown to differ."
    link = tag("a", "All tests", href=f"#{study.id('pairs')}")
    drawing = forest(study.id("forest"), title, f"{words}.", rows)
    return concat(
        tag(
            "figure",
            drawing,
            tag("figcaption", caption, " ", link),
            class_="forest" if len(rows) > COLUMN else "narrow forest",
        ),
        folded("The numbers of this plot", _table(found, caption)),
    )


def cautions(study: Study) -> Markup | None:
    """What makes the numbers less than they seem: a note with a line for each, and a link to what it is about."""
    lines = [*_one_answer(study), *_last_epochs(study), *_small_classes(study), *_near_duplicates(study)]
    if not lines:
        return None
    items = [tag("li", words, " ", tag("a", where, href=f"#{study.id(section)}")) for words, where, section in lines]
    return tag("div", tag("strong", "Beware"), tag("ul", items), class_="warning", role="note")


def _one_answer(study: Study) -> list[tuple[Child, str, str]]:
    """Arms that give every image the same answer: they were trained too short, or on too little."""
    found = classifiers(study.part("compare"))
    stuck = [
        one.name for one in found if len(one.confusion) > 1 and sum(map(any, zip(*one.confusion, strict=False))) == 1
    ]
    if not stuck:
        return []
    arms, verb = enumeration([arm_word(one) for one in stuck]), "gives" if len(stuck) == 1 else "give"
    words = f"{arms} {verb} every test image the same answer ({study.first_seed}), and may have learned nothing."
    return [(words, "Confusion", "confusion")]


def _last_epochs(study: Study) -> list[tuple[Child, str, str]]:
    """Trainings whose best epoch is the last one; where `last` is what was asked for, that says nothing."""
    late, count, lengths = [], 0, set()
    for arm in study.arms:
        histories = inside(arm, list, "history") or []
        for best, history in zip(inside(arm, list, "best_epoch") or [], histories, strict=False):
            if arm.get("monitor") == "last" or not isinstance(history, list) or not history:
                continue
            count += 1
            if real(best) == len(history) and len(history) > 1:
                late.append(arm_word(str(arm["name"])))
                lengths.add(len(history))
    if not late:
        return []
    arms = enumeration(list(dict.fromkeys(late)))
    length = f"epoch {lengths.pop()}, " if len(lengths) == 1 else ""
    words = f"In {len(late)} of {counted(count, 'training')} ({arms}) the best epoch is {length}the last: with more "
    return [(f"{words}epochs the accuracies may change.", "Training", "curves")]


def _small_classes(study: Study) -> list[tuple[Child, str, str]]:
    counts = study.part("data", "counts", "test")
    known = {str(one): real(count) for one, count in counts.items()}
    small = {one: int(count) for one, count in known.items() if count is not None and count < FEW}
    if not small:
        return []
    named = [f"{one} ({count})" for one, count in list(small.items())[:5]]
    named += [f"{len(small) - 5} more"] if len(small) > 5 else []
    words = f"{counted(len(small), 'class')} with fewer than {FEW} test images: {enumeration(named)}."
    return [(words, "Data", "data")]


def _near_duplicates(study: Study) -> list[tuple[Child, str, str]]:
    count = int(real(study.part("data", "near_duplicates").get("count")) or 0)
    if not count:
        return []
    words = f"{counted(count, 'test image')} all but equal to a training image: there, memory may be what is tested."
    return [(words, "Near-duplicates", "near-duplicates")]


def _title(one: Effect) -> str:
    return f"{arm_title(one.first)} − {arm_title(one.second)}"


def _numbers(one: Effect) -> str:
    interval = "no interval" if one.low is None else points_range(one.low, one.high)
    return f"{points(one.difference)} points, {interval}"


def _shown(one: Effect) -> str:
    return NOTHING if one.differs is None else "shown to differ" if one.differs else "not shown to differ"


def _intervals(study: Study, found: Sequence[Effect]) -> str:
    decide = rules(study.part("compare"))
    corrected = decide.correction != "none" and len(found) > 1
    together = f"{decide.level} intervals" + (f" for all {len(found)} pairs together" if corrected else "")
    if found[0].seeds > 1:
        return f"{together} (bootstrap over images and {found[0].seeds} seeds), which decide"
    return f"{together} (over images); one seed, whose tests decide"


def _table(found: Sequence[Effect], caption: str) -> Markup:
    rows: list[list[Child]] = [
        [_title(one), points(one.difference), points_range(one.low, one.high), _shown(one)] for one in found
    ]
    headers = ["Pair", "Difference, points", "Interval", "Outcome"]
    return data_table(caption, headers, rows, label="Differences of accuracy")
