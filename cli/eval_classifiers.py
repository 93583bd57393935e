"""`srcache eval classifiers`: classifiers compared by their predictions on the same images."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.wording import NOTHING, number, p_value

from .options import FOLDER, common
from .output import document, echo, table

if TYPE_CHECKING:
    from srcache.study.compare import Predictions, SeedComparison
    from srcache.study.compare.metrics import Performance
    from srcache.study.compare.pairwise import ArmPair, Comparison
    from srcache.study.statistics import Interval


@click.command("classifiers", short_help="Compare classifiers: scores, tests per pair, one verdict.")
@click.argument("predictions", nargs=-1, required=True, metavar="[NAME=]FILE...")
@click.option("--out", type=FOLDER, help="A folder for the JSON document, plots and CSV files.")
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, help="A corrected p-value up to this is significant."
)
@click.option(
    "--correction", default="holm", show_default=True, help="Correction for several pairs: holm, bonferroni or none."
)
@click.option("--test", default="mid-p", show_default=True, help="The McNemar test that decides: mid-p or exact.")
@click.option(
    "--power",
    type=float,
    default=0.8,
    show_default=True,
    help="The power for which the number of images needed is computed.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap over images and seeds.")
@common
def command(
    predictions: tuple[str, ...],
    out: Path | None,
    alpha: float,
    correction: str,
    test: str,
    power: float,
    seed: int,
    as_json: bool,
) -> None:
    """Compare classifiers by their predictions: CSV files name,label,prediction and p_CLASS, joined by name.

    NAME is the name of the arm; without one, the file's name is taken. The same name again is another seed of that arm:
    each seed is tested by itself, and images and seeds are resampled together. An image that is not in every file is an
    error.

    \b
    srcache eval classifiers LR=lr.csv HR=hr.csv SR=sr.csv --out compared
    srcache eval classifiers LR=lr-0.csv SR=sr-0.csv LR=lr-1.csv SR=sr-1.csv
    """
    from srcache.study.compare import CompareSettings, compare_seeds, join_seeds
    from srcache.study.compare.output import plain, write_comparison

    settings = CompareSettings(alpha=alpha, correction=correction, test=test, power=power, seed=seed)
    joined = join_seeds(_read(predictions))
    found = compare_seeds(joined, settings)
    files = write_comparison(out, found, joined[0]) if out else ()
    if as_json:
        result = {"command": "classifiers", "comparison": plain(found), "files": list(files)}
        echo(document("eval", result))
        return
    echo(_text(found))
    for file in files:
        echo(f"wrote {file}")


def _read(words: Sequence[str]) -> dict[str, list["Predictions"]]:
    """Words `NAME=FILE` or `FILE` → the predictions of each arm's seeds."""
    from srcache.study.compare import read_predictions

    named = [("", word) if "=" not in word or Path(word).exists() else word.partition("=")[::2] for word in words]
    stems = Counter(Path(path).stem for name, path in named if not name)
    names = {name for name, _ in named if name}
    for stem, count in stems.items():
        if count > 1 or stem in names:
            raise click.UsageError(f"several files would be called {stem}; give names, such as LR={stem}.csv")
    arms: dict[str, list[Predictions]] = {}
    for name, path in named:
        arms.setdefault(name or Path(path).stem, []).append(read_predictions(Path(path)))
    return arms


def _text(found: "SeedComparison") -> str:
    first = found.comparisons[0]
    blocks = [_classifiers(first)]
    if first.pairs:
        blocks.append(_pairs(first))
    if first.cochran is not None:
        q = first.cochran
        outcome = q.reason if q.p is None else f"{q.statistic:.4f} ({q.df} degrees of freedom), p {p_value(q.p)}"
        blocks.append(f"Cochran's Q: {outcome}")
    notes = [f"note: {one.name}: {one.macro.note}" for one in first.classifiers if one.macro.note]
    blocks += ["\n".join(notes)] if notes else []
    if found.seeds > 1:
        blocks = [f"Seed 1 of {found.seeds}:", *blocks, _seeds(found)]
        blocks += [f"Seed {place}: {one.verdict}" for place, one in enumerate(found.comparisons, 1)]
        return "\n\n".join([*blocks, f"Verdict: {found.verdict}"])
    return "\n\n".join([*blocks, f"Verdict: {first.verdict}"])


def _classifiers(found: "Comparison") -> str:
    def row(one: "Performance") -> tuple[object, ...]:
        shares = (one.macro.precision, one.macro.recall, one.macro.f1)
        rest = (number(one.roc_auc.value), number(one.calibration.ece))
        return (one.name, one.right, one.images, one.accuracy.value, _interval(one.accuracy), *shares, *rest)

    level = f"{100 * found.settings.level:.3g} % interval"
    heads = ("classifier", "right", "images", "accuracy", level, "precision", "recall", "F1", "ROC-AUC", "ECE")
    return table([row(one) for one in found.classifiers], heads)


def _pairs(found: "Comparison") -> str:
    settings = found.settings
    decisive = "exact" if settings.test == "exact" else "mid-p"

    def row(pair: "ArmPair") -> tuple[object, ...]:
        after = pair.adjusted.exact if settings.test == "exact" else pair.adjusted.mid_p
        values = [p_value(p) for p in (pair.tests.exact, pair.tests.mid_p, after)]
        needed = number(pair.needed.images)
        counts = (pair.table.first_only, pair.table.second_only)
        word = "significant" if pair.significant else "no"
        return (f"{pair.first} - {pair.second}", *counts, *values, word, _interval(pair.newcombe, "+"), needed)

    tests = ("exact p", "mid-p", f"{decisive}, {settings.correction}", f"at {settings.alpha:g}")
    heads = ("pair", "b", "c", *tests, "accuracy difference", f"images for power {settings.power:g}")
    text = table([row(pair) for pair in found.pairs], heads)
    return f"{text}\nb, c: images on which the first, or the second, alone is right"


def _seeds(found: "SeedComparison") -> str:
    arms = [(arm.name, arm.mean, number(arm.spread), ", ".join(map(number, arm.accuracies))) for arm in found.arms]
    pairs = [
        (f"{pair.first} - {pair.second}", f"{pair.significant_in} of {found.seeds}", _interval(pair.difference, "+"))
        for pair in found.pairs
    ]
    text = table(arms, ("arm", "mean accuracy", "spread", "seeds"))
    level = f"{100 * found.comparisons[0].settings.level:.3g} %"
    heads = ("pair", "significant", f"accuracy difference over images and seeds, {level}")
    return f"{text}\n\n{table(pairs, heads)}" if pairs else text


def _interval(estimate: "Interval", sign: str = "") -> str:
    value = "" if not sign or estimate.value is None else f"{estimate.value:+.3f}, "
    if estimate.low is None or estimate.high is None:
        return f"{value}{NOTHING}"
    return f"{value}{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"
