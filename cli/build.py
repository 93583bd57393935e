"""`srcache build`: fill a cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import duration, human_bytes

from .output import common, document, failure_lines, progress, recipe_options, table

if TYPE_CHECKING:
    from srcache.catalog.rows import Catalog
    from srcache.fill.settings import FillReport, FillSettings
    from srcache.recipe.recipe import Recipe


@click.command("build", short_help="Fill a cache with SR images; goes on where the last run stopped.")
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.option("--cache", required=True, type=click.Path(file_okay=False, path_type=Path), help="The cache directory.")
@recipe_options
@click.option("--store", type=click.Choice(["lmdb"]), help="The kind of store of a new cache.")
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed in earlier runs.")
@click.option("--dry-run", is_flag=True, help="Predict hours and bytes from a short probe; write nothing.")
@click.option("--batch", type=click.IntRange(1), help="Images per engine call; the engine's advice if left out.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, … or auto.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Threads to decode and encode.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile the engine; pays only in long runs.")
@click.option("--rehash", is_flag=True, help="Hash every file anew, whatever is remembered.")
@common
def command(
    src: Path,
    cache: Path,
    recipe: str,
    changes: dict[str, Any],
    dry_run: bool,
    rehash: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Make every SR image of SRC that the cache lacks.

    SRC is a folder of images, a folder of class folders, or a CSV file with a column `path`.

    \b
    srcache build photos --cache cache --recipe bicubic
    srcache build photos --cache cache --recipe bicubic --set scale=2 --dry-run
    """
    from srcache.catalog.scanning import scan
    from srcache.fill.settings import FillSettings
    from srcache.recipe.reading import load_recipe

    settings, loaded = FillSettings(**rest), load_recipe(recipe, changes)
    with progress("scan", "file") as show:
        catalog = scan(src, rehash=rehash, progress=show)
    act = _dry_run if dry_run else _build
    return act(catalog, loaded, cache, settings, as_json)


def _build(catalog: "Catalog", recipe: "Recipe", cache: Path, settings: "FillSettings", as_json: bool) -> int:
    from srcache.cache.failures import FailedEntry
    from srcache.fill.run import fill

    with progress("build") as show:
        report = fill(catalog, recipe, cache, settings, show)
    problems = [FailedEntry("", problem.name, problem.reason, problem.detail) for problem in catalog.problems]
    failures = [*problems, *report.failures]
    ok = not failures and report.left == 0
    if as_json:
        click.echo(document("build", _result(report), failures, ok))
    else:
        click.echo(_text(report, len(problems)))
        if failures:
            click.echo(failure_lines(failures), err=True)
    return 0 if ok else 1


def _result(report: "FillReport") -> dict[str, Any]:
    names = (
        "folder",
        "recipe",
        "wanted",
        "stored",
        "added",
        "failed",
        "skipped",
        "left",
        "seconds",
        "padding",
        "device",
    )
    return {name: getattr(report, name) for name in names}


def _text(report: "FillReport", problems: int) -> str:
    rate = f"{duration(report.seconds)}, {report.added / report.seconds:.1f} images/s" if report.seconds else ""
    reasons = ", ".join(f"{reason} {count}" for reason, count in report.failed.items())
    rows: list[tuple[str, int, str]] = [
        ("wanted", report.wanted, ""),
        ("there already", report.stored, "nothing to do" if report.stored == report.wanted else ""),
        ("added", report.added, rate if report.added else ""),
    ]
    if report.failed:
        rows.append(("failed", sum(report.failed.values()), reasons))
    if report.skipped:
        rows.append(("failed earlier", report.skipped, "--retry-failed tries them again"))
    if problems:
        rows.append(("not catalogued", problems, "files that could not be read or are outside the folder"))
    hint = ""
    if report.padding > 0.5:
        hint = f"\n{report.padding:.0%} of the engine's work only filled batches up, because the shapes differ; "
        hint += "try a smaller --batch"
    return f"{report.folder}\n{table(rows)}{hint}"


def _dry_run(catalog: "Catalog", recipe: "Recipe", cache: Path, settings: "FillSettings", as_json: bool) -> int:
    from srcache.fill.estimate import estimate

    found = estimate(catalog, recipe, cache, settings)
    names = (
        "wanted",
        "stored",
        "skipped",
        "missing",
        "probed",
        "seconds_each",
        "bytes_each",
        "hours",
        "bytes",
        "failed",
    )
    if as_json:
        click.echo(document("build", {"dry_run": True, **{name: getattr(found, name) for name in names}}))
        return 0
    rows: list[tuple[str, object]] = [
        ("wanted", found.wanted),
        ("there already", found.stored),
        ("to do", found.missing),
    ]
    if found.hours is not None and found.bytes is not None and found.seconds_each is not None:
        rows += [
            (
                "time",
                f"{duration(3600 * found.hours)} ({1000 * found.seconds_each:.1f} ms each, {found.probed} probed)",
            ),
            ("disk", human_bytes(found.bytes)),
        ]
    if found.failed:
        rows.append(("failed in the probe", ", ".join(f"{reason} {count}" for reason, count in found.failed.items())))
    click.echo(f"{recipe.folder} (dry run: nothing was written)\n{table(rows)}")
    return 0
