"""`srcache build`: fill a cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.stores import KINDS
from srcache.wording import counted, duration, human_bytes, percent

from .options import BYTES, FOLDER, SOURCE, common, device_option, recipe_options
from .output import attributes, document, failure_lines, reasons, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.catalog import Catalog
    from srcache.fill import FillReport, FillSettings
    from srcache.recipe import Recipe

_REPORTED = (
    *("folder", "recipe", "wanted", "stored", "added", "meanwhile", "failed", "skipped", "left"),
    *("seconds", "padding", "device"),
)
"""What the document says of a run."""

_ESTIMATED = (
    *("wanted", "stored", "skipped", "missing", "probed", "seconds_each", "bytes_each", "hours", "bytes", "failed"),
)
"""What the document says of a dry run."""


@click.command("build", short_help="Fill a cache with SR images; a second run makes what is missing.")
@click.argument("src", type=SOURCE)
@click.option("--cache", required=True, type=FOLDER, help="The cache directory.")
@recipe_options
@click.option("--store", type=click.Choice(KINDS), help="The kind of store of a new cache.")
@click.option("--shard-bytes", type=BYTES, help="With --store shards: the size of a shard, such as 512M.")
@click.option("--codec", help="A lossless codec for what is written: qoi, png, png:1 … png:9, or ppm (not compressed).")
@click.option(
    "--take-over",
    metavar="WRITER",
    help="Continue the unfinished shard of a writer that is gone (a network file system).",
)
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@click.option("--retry-failed", is_flag=True, help="Try again the images that failed in earlier runs.")
@click.option("--dry-run", is_flag=True, help="Predict time and disk space from a few images; write nothing.")
@click.option("--batch", type=click.IntRange(1), help="Images per engine call; if left out, what the engine advises.")
@device_option()
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Threads that decode images, and as many that encode.",
)
@click.option(
    "--compile", "compiled", is_flag=True, help="Use torch.compile for the engine, which is worth it only in long runs."
)
@click.option(
    "--rehash", is_flag=True, help="Hash every file again, also those that have not changed since the last run."
)
@common
def command(
    src: Path,
    cache: Path,
    recipe: str,
    changes: dict[str, Any],
    store: str | None,
    shard_bytes: int | None,
    codec: str | None,
    take_over: str | None,
    samples: int,
    retry_failed: bool,
    dry_run: bool,
    batch: int | None,
    device: str,
    workers: int,
    compiled: bool,
    rehash: bool,
    as_json: bool,
) -> int:
    """Make every SR image of SRC that the cache lacks.

    SRC is a folder of images, a folder of class folders, or a CSV file with a column `path`. A cache made with
    --store shards may be filled by several of these commands at once.

    \b
    srcache build photos --cache cache --recipe bicubic
    srcache build photos --cache cache --recipe bicubic --set scale=2 --dry-run
    """
    from srcache.catalog import scan
    from srcache.fill import FillSettings
    from srcache.recipe import load_recipe

    settings = FillSettings(
        samples=samples,
        retry_failed=retry_failed,
        store=store,
        shard_bytes=shard_bytes,
        codec=codec,
        take_over=take_over,
        batch=batch,
        device=device,
        workers=workers,
        compiled=compiled,
    )
    loaded = load_recipe(recipe, changes)
    with progress_bar("scan", "file") as show:
        catalog = scan(src, rehash=rehash, progress=show)
    act = _dry_run if dry_run else _build
    return act(catalog, loaded, cache, settings, as_json)


def _build(catalog: "Catalog", recipe: "Recipe", cache: Path, settings: "FillSettings", as_json: bool) -> int:
    from srcache.cache import FailedEntry
    from srcache.catalog.listing import LOOP
    from srcache.fill import fill

    with progress_bar("build") as show:
        report = fill(catalog, recipe, cache, settings, show)
    problems = [FailedEntry("", problem.name, problem.reason, problem.detail) for problem in catalog.problems]
    failures = [*problems, *report.failures]
    ok = all(failure.reason == LOOP for failure in failures) and report.left == 0
    if as_json:
        click.echo(document("build", attributes(report, *_REPORTED), failures, ok))
    else:
        click.echo(_text(report, len(problems)))
        if failures:
            click.echo(failure_lines(failures), err=True)
    return 0 if ok else 1


def _text(report: "FillReport", problems: int) -> str:
    rate = f"{duration(report.seconds)}, {report.added / report.seconds:.1f} images/s" if report.seconds else ""
    rows: list[tuple[str, int, str]] = [
        ("wanted", report.wanted, ""),
        ("there already", report.stored, "nothing to do" if report.stored == report.wanted else ""),
        ("added", report.added, rate if report.added else ""),
    ]
    if report.meanwhile:
        rows.append(("made meanwhile", report.meanwhile, "by other processes"))
    if report.failed:
        rows.append(("failed", sum(report.failed.values()), reasons(report.failed)))
    if report.skipped:
        rows.append(("failed earlier", report.skipped, "--retry-failed tries them again"))
    if problems:
        rows.append(("not catalogued", problems, "files that could not be read or are outside the folder"))
    hint = ""
    if report.padding > 0.5:
        hint = f"\n{percent(report.padding, 0)} of the engine's work only filled batches up, because the images have "
        hint += "different shapes; try a smaller --batch"
    return f"{report.folder}\n{table(rows)}{hint}"


def _dry_run(catalog: "Catalog", recipe: "Recipe", cache: Path, settings: "FillSettings", as_json: bool) -> int:
    from srcache.fill.estimate import estimate

    found = estimate(catalog, recipe, cache, settings)
    if as_json:
        click.echo(document("build", {"dry_run": True, **attributes(found, *_ESTIMATED)}))
        return 0
    rows: list[tuple[str, object]] = [
        ("wanted", found.wanted),
        ("there already", found.stored),
        ("to do", found.missing),
    ]
    if found.hours is not None and found.bytes is not None and found.seconds_each is not None:
        each = f"{1000 * found.seconds_each:.1f} ms for each of {counted(found.probed, 'image')} that were tried"
        rows += [("time", f"{duration(3600 * found.hours)} ({each})"), ("disk", human_bytes(found.bytes))]
    if found.failed:
        rows.append(("failed in the trial", reasons(found.failed)))
    click.echo(f"{recipe.folder} (dry run: nothing was written)\n{table(rows)}")
    return 0
