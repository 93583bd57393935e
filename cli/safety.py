"""`srcache safety`: how far super-resolution may have changed what images show."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted, number, percent

from .options import CACHE, SOURCE, Place, common, device_option, recipe_of_cache
from .output import document, echo, failed_code, failure_lines, first_lines, reasons, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.cache import RecipeFolder
    from srcache.dataset.scores import Removed, ScoreTable
    from srcache.study.safety import SafetyReport

_MOST = 50
"""Names that are listed of what a filter removes."""


@click.command("safety", short_help="How far SR may have changed what images show; try filters.")
@click.argument("cache", type=CACHE)
@click.option("--lr", type=SOURCE, help="The LR images that the cache was built from (not if it makes LR from HR).")
@click.option("--hr", type=SOURCE, help="The HR images: with the names of LR, or those that the cache was built from.")
@click.option("--classifier", type=SOURCE, help="A run of `srcache train` whose network judges; by default none.")
@recipe_of_cache("Which recipe, if there are several: its name, fingerprint or folder.")
@device_option()
@click.option("--show", "filters", multiple=True, metavar="FILTER", help="List what a filter removes; repeatable.")
@click.option("--again", is_flag=True, help="Measure everything again, for example after HR images changed.")
@common
def command(
    cache: Place,
    lr: Path | None,
    hr: Path | None,
    classifier: Path | None,
    recipe: str | None,
    device: str,
    filters: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> int:
    """Measure each SR image in CACHE against its LR (and HR): back-projection, and how a classifier's answer changes.

    The numbers are kept beside the images, in safety.csv in the recipe's folder; only images without a row are
    measured. Policies filter by them, such as lr=0.5,sr[safe>0.9]=0.5. Without --lr and --hr, nothing is measured, and
    the numbers that are there are shown.

    \b
    srcache safety cache --lr photos --hr originals --classifier runs/hr
    srcache safety cache --show 'safe>0.9'
    srcache safety cache --show 'agree>0.8&back_projection>=30'
    """
    from srcache.dataset.scores import filter_effect
    from srcache.errors import ConfigError

    folder = _folder(cache, recipe)
    for text in filters:
        filter_effect((), text)  # a mistake is found before hours of measuring
    if lr is None and hr is None:
        if classifier is not None or again:
            raise ConfigError("there is nothing to measure without images; give --lr, or --hr, or both")
        return _show_table(folder, filters, as_json)
    report = _measure(folder, (lr, hr), classifier, device, again)
    removed = [filter_effect(report.rows, text) for text in filters]
    if as_json:
        result = {**report.plain(), "filters": removed}
        echo(document("safety", result, report.failures, ok=not report.failures))
    else:
        echo(_text(report.plain(), removed))
        if report.failures:
            echo(failure_lines(report.failures), err=True)
    return failed_code(report.failures)


def _folder(cache: Place, recipe: str | None) -> "RecipeFolder":
    from srcache.cache.manifest import find_folder

    return find_folder(cache, recipe)


def _measure(
    folder: "RecipeFolder", sources: tuple[Path | None, Path | None], run: Path | None, device: str, again: bool
) -> "SafetyReport":
    from srcache.study.safety import measure_safety, source_images

    items = source_images(folder, *sources)
    judge = None
    if run is not None:
        from srcache.study.safety import open_classifier

        judge = open_classifier(run, device)
    with progress_bar("safety") as show:
        return measure_safety(folder, items, judge, again=again, progress=show)


def _show_table(folder: "RecipeFolder", filters: tuple[str, ...], as_json: bool) -> int:
    from srcache.dataset.scores import filter_effect, read_scores
    from srcache.errors import CacheError
    from srcache.study.safety.measure import summary

    found: ScoreTable | None = read_scores(folder.path)
    if found is None:
        raise CacheError(f"nothing was measured of the SR images in {folder.path} yet; give --lr, or --hr, or both")
    removed = [filter_effect(found, text) for text in filters]
    result = {"table": str(found.path), "convention": found.convention, **summary(found.rows)}
    echo(document("safety", {**result, "filters": removed}) if as_json else _text(result, removed))
    return 0


def _text(found: dict[str, Any], removed: "list[Removed]") -> str:
    parts = [f"{found['table']}: {counted(found['rows'], 'SR image')} measured{_what_was_done(found)}"]
    if found["quantiles"]:
        shares = list(next(iter(found["quantiles"].values())))
        heads = [{"0": "least", "0.5": "median", "1": "most"}.get(share, percent(float(share), 0)) for share in shares]
        rows = [
            (name, *(_or_infinite(value) for value in values.values())) for name, values in found["quantiles"].items()
        ]
        parts.append(table(rows, ("", *heads)))
    if found["rows"]:
        counts = found["safe_above"].items()
        passing = [(f"safe>{bound}", count, percent(count / found["rows"])) for bound, count in counts]
        parts.append(table(passing, ("filter", "pass", "share")))
    if found["convention"].get("classifier") is None:
        parts.append("no classifier was used: `safe` depends on back-projection alone (--classifier RUN)")
    return "\n\n".join([*parts, *map(_removal, removed)])


def _what_was_done(found: dict[str, Any]) -> str:
    """What this run measured, in brackets; empty if nothing was to be measured."""
    if "measured" not in found:
        return ""
    words = [f"{found['measured']} now"]
    words += [f"{counted(found['absent'], 'image')} without an SR image"] if found["absent"] else []
    if found["failed"]:
        words.append(f"failed: {reasons(found['failed'])}")
    return f" ({'; '.join(words)})"


def _removal(one: "Removed") -> str:
    head = f"{one.filter} keeps {one.kept} and removes {one.removed}"
    return f"{head}:\n{first_lines(one.names, _MOST)}" if one.names else head


def _or_infinite(value: float | None) -> str:
    return "∞" if value is None else number(value)
