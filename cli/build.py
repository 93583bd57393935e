"""`srcache build`: fill a cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from srcache.progress import Progress
from srcache.stores import KINDS
from srcache.wording import counted, duration, human_bytes, percent

from .options import (
    BYTES,
    CACHE,
    DEVICES,
    FOLDER,
    IMAGES,
    PART,
    Place,
    batch_option,
    common,
    device_option,
    recipe_options,
)
from .output import (
    attributes,
    document,
    echo,
    failure_lines,
    left_out,
    left_out_rows,
    nothing_lost,
    reasons,
    table,
    treatment_lines,
)
from .progress_bar import progress_bar
from .ray_options import ray_options, ray_settings

if TYPE_CHECKING:
    from srcache.cache import FailedEntry
    from srcache.catalog import Catalog
    from srcache.catalog.parts import Part
    from srcache.fill import FillReport, FillSettings
    from srcache.fill.shapes import CallCount
    from srcache.recipe import Recipe

_REPORTED = (
    *("folder", "recipe", "wanted", "stored", "added", "meanwhile", "failed", "skipped", "left"),
    *("seconds", "padding", "device", "waiting"),
)
"""What the document says of a run."""

_ESTIMATED = (
    *("wanted", "stored", "skipped", "missing", "probed", "seconds_each", "bytes_each", "hours", "bytes", "failed"),
    "calls",
)
"""What the document says of a dry run."""

_SHOWN = 4
"""Rare shapes that a dry run names."""


@click.command("build", short_help="Fill a cache with SR images; a second run makes what is missing.")
@click.argument("src", type=IMAGES)
@click.option("--cache", required=True, type=CACHE, help="The cache directory, or a URL such as s3://bucket/cache.")
@recipe_options
@click.option("--store", type=click.Choice(KINDS), help="The kind of store of a new cache.")
@click.option("--shard-bytes", type=BYTES, help="With --store shards: the size of a shard, such as 512M.")
@click.option("--codec", help="A lossless codec for what is written: qoi, png, png:1 … png:9, or ppm (not compressed).")
@click.option(
    "--take-over",
    metavar="WRITER",
    help="Continue the unfinished shard of a writer that is gone (a network file system).",
)
@click.option(
    "--spool", type=FOLDER, help="With a cache below a URL: a folder for what is not uploaded yet.  [default: your own]"
)
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@click.option("--shard", "part", type=PART, help="Make only this part of the images, counted from 0, such as 0/8.")
@click.option("--retry-failed", is_flag=True, help="Try again the images that failed in earlier runs.")
@click.option("--dry-run", is_flag=True, help="Predict time and disk space from a few images; write nothing.")
@batch_option
@device_option()
@click.option("--devices", type=DEVICES, help="Several devices at once, a process each, such as cuda:0,cuda:1.")
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
@ray_options
@common
def command(
    src: Place,
    cache: Place,
    recipe: str,
    changes: dict[str, Any],
    dry_run: bool,
    device: str,
    devices: tuple[str, ...] | None,
    rehash: bool,
    executor: str,
    address: str | None,
    actors: tuple[int, int | None] | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Make every SR image of SRC that the cache lacks.

    SRC is a folder of images, a folder of class folders, a CSV file with a column `path`, or a catalog that
    `srcache scan` wrote: then nothing is hashed, and an image that has changed since is a failure.

    A cache made with --store shards may be filled by several of these commands at once, on any machines. With --shard
    i/N each makes a part of the images; a new cache is then made of shards.

    SRC and the cache may be URLs too, such as s3://bucket/folder; what is stored is then uploaded shard by shard, and
    what is not uploaded yet is in --spool.

    \b
    srcache build photos --cache cache --recipe bicubic
    srcache build photos --cache cache --recipe bicubic --set scale=2 --dry-run
    srcache build catalog.csv --cache cache --recipe bicubic --shard 0/8
    """
    from srcache.fill import FillSettings
    from srcache.recipe import load_recipe

    chosen = _devices(device, devices)
    ray = ray_settings(executor, address, actors, dry_run=dry_run)
    if ray and devices:
        raise click.UsageError("--devices is for one machine; on Ray say --actors, and --device cuda")
    how = FillSettings(device=chosen[0], ray=ray, **settings)
    task = _Task(load_recipe(recipe, changes), cache, how, chosen)
    catalog = _scan(src, rehash, task)
    return (_dry_run if dry_run else _build)(catalog, task, as_json)


class _Task(NamedTuple):
    """What a build is asked for, beside the images."""

    recipe: "Recipe"
    cache: Place
    settings: "FillSettings"
    devices: tuple[str, ...]


def _scan(src: Place, rehash: bool, task: _Task) -> "Catalog":
    """The images, after a refusal of what cannot be: hashing them may take hours."""
    from srcache.catalog import scan
    from srcache.fill.settings import for_several, require_devices

    if len(task.devices) > 1:
        require_devices(task.devices, task.recipe)
    if task.settings.part is not None or len(task.devices) > 1:
        for_several(task.cache, task.settings)
    if task.settings.part is not None:
        _warn_of_hashing(src, rehash)
    with progress_bar("scan", "file") as show:
        return scan(src, rehash=rehash, progress=show)


def _devices(device: str, devices: tuple[str, ...] | None) -> tuple[str, ...]:
    """The devices of a build, by either option; not by both."""
    source = click.get_current_context().get_parameter_source
    if devices and source("device") == source("devices"):
        raise click.UsageError("--device and --devices say the same thing twice; give one of them")
    return devices or (device,)


def _warn_of_hashing(src: Place, rehash: bool) -> None:
    """Say that every part of a build hashes all images, unless a catalog has the keys."""
    from srcache.catalog.scanned import is_scanned

    scanned = is_scanned(Path(src))
    if rehash or not scanned:
        known = f"run `srcache scan {src} --out catalog.csv` once, and build catalog.csv"
        advice = "leave --rehash out" if scanned else known
        echo(f"srcache: each part of a build hashes all images of {src} again; {advice}", err=True)


def _fill(catalog: "Catalog", task: _Task, progress: Progress) -> "FillReport":
    from srcache.fill import fill, fill_on_devices

    if len(task.devices) > 1:
        return fill_on_devices(catalog, task.recipe, task.cache, task.devices, task.settings, progress)
    return fill(catalog, task.recipe, task.cache, task.settings, progress)


def _build(catalog: "Catalog", task: _Task, as_json: bool) -> int:
    from srcache.catalog.treated import treatment

    with progress_bar("build") as show:
        report = _fill(catalog, task, show)
    problems = left_out(catalog)
    failures = [*problems, *report.failures]
    ok = nothing_lost(failures) and report.left == 0
    treated = treatment(catalog, report.notes, task.recipe.colors)
    if as_json:
        result = attributes(report, *_REPORTED, *_part_names(task.settings.part))
        echo(document("build", {**result, "treated": treated.plain()}, failures, ok))
    else:
        echo(f"{report.folder}{_part_line(catalog, task.settings.part)}\n{_text(report, problems)}")
        treatment_lines(treated)
        if failures:
            echo(failure_lines(failures), err=True)
    return 0 if ok else 1


def _text(report: "FillReport", problems: "list[FailedEntry]") -> str:
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
    if report.killed:
        rows.append(("killed", report.killed, "processes of the cluster, which were started anew"))
    if report.waiting:
        rows.append(("not uploaded yet", report.waiting, "of other processes, on this machine only"))
    rows += left_out_rows(problems)
    hint = ""
    if report.padding > 0.5:
        hint = f"\n{percent(report.padding, 0)} of the engine's work only filled batches up, because the images have "
        hint += "different shapes; try a smaller --batch"
    return f"{table(rows)}{hint}"


def _part_names(part: "Part | None") -> tuple[str, ...]:
    """What the document says more of a part: which one it is."""
    return ("part",) if part else ()


def _part_line(catalog: "Catalog", part: "Part | None") -> str:
    if part is None:
        return ""
    whole = f"{counted(len(catalog), 'image')} in catalog {catalog.digest[:8]}"
    return f"\npart {part.index} of {part.count}: its share of {whole} (parts are counted from 0)"


def _dry_run(catalog: "Catalog", task: _Task, as_json: bool) -> int:
    from srcache.fill.estimate import estimate

    found = estimate(catalog, task.recipe, task.cache, task.settings, task.devices)
    if as_json:
        names = (*_ESTIMATED, *_part_names(task.settings.part))
        echo(document("build", {"dry_run": True, **attributes(found, *names)}))
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
    rows += _call_rows(found.calls)
    echo(f"{task.recipe.folder} (dry run: nothing was written){_part_line(catalog, task.settings.part)}\n{table(rows)}")
    return 0


def _call_rows(calls: "CallCount") -> list[tuple[str, object]]:
    """How many calls a run takes, and what could be saved where images of rare shapes are filled up to batches."""
    if not calls.calls:
        return []
    least = "" if calls.is_exact else ", at least: there was no time to look at all images"
    shapes = f"{counted(calls.shapes, 'shape')} of images{' were met' if not calls.is_exact else ''}"
    rows: list[tuple[str, object]] = [("engine calls", f"{calls.calls} ({shapes}{least})")]
    if not calls.filling:
        return rows
    share = percent(calls.filling / calls.computed, 0)
    rows.append(("filling up", f"{calls.filling} of {calls.computed} images that the engine is given ({share})"))
    if calls.rare:
        some = ", ".join(f"{one.shape[1]}×{one.shape[0]} ({one.images} of {one.batch})" for one in calls.rare[:_SHOWN])
        more = ", …" if len(calls.rare) > _SHOWN else ""
        rows.append(("rare shapes", f"{len(calls.rare)}, with fewer images than a batch: {some}{more}"))
    saved = f"computes {calls.images} images instead of {calls.computed}; on a GPU each of them takes longer then,"
    rows.append(("--batch 1", f"{saved} and pixels move by rounding (the receipt says which batch it was)"))
    return rows
