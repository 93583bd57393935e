"""`srcache safety`: how far super-resolution may have changed what pictures show."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted

from .output import common, document, failure_lines, progress, table

if TYPE_CHECKING:
    from srcache.cache.manifest import RecipeFolder
    from srcache.dataset.scores import Removed, ScoreTable
    from srcache.study.safety.measure import SafetyReport

_SOURCE = click.Path(exists=True, path_type=Path)
_MOST = 50


@click.command("safety", short_help="How far SR may have changed what pictures show; what a filter would remove.")
@click.argument("cache", type=click.Path(file_okay=False, path_type=Path))
@click.option("--lr", type=_SOURCE, help="The LR images that the cache was built from (none if it makes LR from HR).")
@click.option("--hr", type=_SOURCE, help="The HR images: of the same names as LR, or what the cache was built from.")
@click.option("--classifier", type=_SOURCE, help="A run of `srcache train` that judges; by default none.")
@click.option("--recipe", metavar="NAME", help="Which recipe, if there are several: its name, fingerprint or folder.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--show", "filters", multiple=True, metavar="FILTER", help="List what a filter removes; repeatable.")
@click.option("--again", is_flag=True, help="Measure everything anew, such as after HR images changed.")
@common
def command(
    cache: Path,
    lr: Path | None,
    hr: Path | None,
    classifier: Path | None,
    recipe: str | None,
    device: str,
    filters: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> int:
    """Measure each SR image in CACHE against its LR (and HR): back-projection, and what a classifier makes of it.

    The numbers are kept beside the images, in safety.csv in the recipe's folder; only images without a row are
    measured. Policies filter by them, such as lr=0.5,sr[safe>0.9]=0.5. Without --lr and --hr, what is there is shown.

    \b
    srcache safety cache --lr photos --hr originals --classifier runs/hr
    srcache safety cache --show 'safe>0.9'
    srcache safety cache --show 'agree>0.8&back_projection>=30'
    """
    from srcache.dataset.scores import filter_effect
    from srcache.errors import ConfigError

    folder = _folder(cache, recipe)
    for text in filters:
        filter_effect((), text)  # mistakes are told before hours of measuring
    if lr is None and hr is None:
        if classifier is not None or again:
            raise ConfigError("there is nothing to measure without the pictures; give --lr, or --hr, or both")
        return _show_table(folder, filters, as_json)
    report = _measured(folder, (lr, hr), classifier, device, again)
    removed = [filter_effect(report.rows, text) for text in filters]
    if as_json:
        result = {**report.plain(), "filters": removed}
        click.echo(document("safety", result, report.failures, ok=not report.failures))
    else:
        click.echo(_text(report.plain(), removed))
        if report.failures:
            click.echo(failure_lines(report.failures), err=True)
    return 1 if report.failures else 0


def _folder(cache: Path, recipe: str | None) -> "RecipeFolder":
    from srcache.cache.manifest import find_folder

    return find_folder(cache, recipe)


def _measured(
    folder: "RecipeFolder", sources: tuple[Path | None, Path | None], run: Path | None, device: str, again: bool
) -> "SafetyReport":
    from srcache.study.safety.measure import measure_safety, pictures

    items = pictures(folder, *sources)
    judge = None
    if run is not None:
        from srcache.study.safety.classifier import open_classifier

        judge = open_classifier(run, device)
    with progress("safety") as show:
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
    click.echo(document("safety", {**result, "filters": removed}) if as_json else _text(result, removed))
    return 0


def _text(found: dict[str, Any], removed: "list[Removed]") -> str:
    parts = [f"{found['table']}: {counted(found['rows'], 'SR image')} measured{_run(found)}"]
    if found["quantiles"]:
        shares = list(next(iter(found["quantiles"].values())))
        heads = [{"0": "least", "0.5": "median", "1": "most"}.get(share, f"{float(share):.0%}") for share in shares]
        rows = [(name, *map(_number, values.values())) for name, values in found["quantiles"].items()]
        parts.append(table(rows, ("", *heads)))
    if found["rows"]:
        counts = found["safe_above"].items()
        passing = [(f"safe>{bound}", count, f"{count / found['rows']:.1%}") for bound, count in counts]
        parts.append(table(passing, ("filter", "pass", "share")))
    if found["convention"].get("classifier") is None:
        parts.append("no classifier was asked: `safe` tells of back-projection alone (--classifier RUN)")
    return "\n\n".join([*parts, *map(_removal, removed)])


def _run(found: dict[str, Any]) -> str:
    """What this run did, where there was one."""
    if "measured" not in found:
        return ""
    words = [f"{found['measured']} now"]
    words += [f"{found['absent']} source images have no SR image"] if found["absent"] else []
    if found["failed"]:
        words.append("failed: " + ", ".join(f"{reason} {count}" for reason, count in found["failed"].items()))
    return f" ({'; '.join(words)})"


def _removal(one: "Removed") -> str:
    lines = [f"{one.filter} keeps {one.kept} and removes {one.removed}{':' if one.names else ''}"]
    lines += [f"  {name}" for name in one.names[:_MOST]]
    more = len(one.names) - _MOST
    return "\n".join([*lines, f"  … and {more} more (--json lists all)"] if more > 0 else lines)


def _number(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3f}"
