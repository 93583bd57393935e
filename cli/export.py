"""`srcache export`: a cache's images as ordinary files, as another cache, as training shards, or for Hugging Face."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.errors import ConfigError, Mistakes
from srcache.stores import KINDS
from srcache.wording import counted, human_bytes

from .merge import merged_text
from .options import BYTES, CACHE, FOLDER, Place, common, recipe_of_cache
from .output import attributes, document, echo, failed_code, failure_lines, finding_lines, note
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.cache import FailedEntry
    from srcache.maintain.training_plan import JoinSettings

_HF = "hf"
"""The format of Hugging Face's data sets."""

_SEED = "--seed"

_REPORTED = ("path", "recipe", "files", "bytes")
"""What the document says of files."""


@click.command(
    "export", short_help="Write a cache's images as files, another cache, training shards or for Hugging Face."
)
@click.argument("cache", type=CACHE)
@click.argument("dst", type=CACHE)
@recipe_of_cache("The recipe's name, fingerprint or folder; needed if there are several.")
@click.option("--format", "kind", type=click.Choice(["folder", *KINDS, _HF]), help="What to write.  [default: folder]")
@click.option("--names", is_flag=True, help="Name files like their source images, not by key.")
@click.option("--join", is_flag=True, help="Write training shards: LR, HR, SR and label of each image in one sample.")
@click.option(
    "--lr", type=FOLDER, help="With --join or hf: the source images, if the recipe enlarges them as they are."
)
@click.option(
    "--hr", type=FOLDER, help="With --join or hf: the HR images; the source images if the recipe shrinks them."
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="With --join or hf: only this class; repeatable, numbered in this order.",
)
@click.option("--seed", type=click.IntRange(0), help="With --join: of the order of samples.  [default: 0]")
@click.option(
    "--catalog", metavar="DIGEST", help="With --names, --join or hf: the catalog, if not that of the last build."
)
@click.option("--shard-bytes", type=BYTES, help="The size of a shard or file; 512M if left out, with --join 128M.")
@common
def command(
    cache: Place,
    dst: Place,
    recipe: str | None,
    kind: str | None,
    names: bool,
    join: bool,
    lr: Path | None,
    hr: Path | None,
    classes: tuple[str, ...],
    seed: int | None,
    catalog: str | None,
    shard_bytes: int | None,
    as_json: bool,
) -> int:
    """Write the images of CACHE into DST, a new or empty folder.

    As files they are PNG (JPEG or WebP if the recipe says so), named KEY-SAMPLE.png, with their records in
    records.jsonl; with --names, they have the names and folders of their source images. --format lmdb or shards writes
    a complete cache. --join writes training shards for webdataset and datasets; DST/README.md says how to read them.
    --format hf writes a data set for the Hugging Face Hub: Parquet files and their card, DST/README.md, which says how
    to load them, and how to share them by huggingface_hub's own command `hf upload`.

    \b
    srcache export cache sr-images --names
    srcache export cache sr-shards --format shards --shard-bytes 1G
    srcache export cache train-shards --join --lr photos --hr originals
    srcache export cache sr-dataset --format hf --lr photos
    """
    sample_options = {"--lr": lr, "--hr": hr, "--class": classes, _SEED: seed is not None}
    _require_fitting(kind, names, join, sample_options, catalog, shard_bytes)
    if join or kind == _HF:
        from srcache.maintain.training_plan import JoinSettings

        settings = JoinSettings(
            recipe=recipe,
            catalog=catalog,
            lr=lr,
            hr=hr,
            classes=classes or None,
            shard_bytes=shard_bytes,
            seed=(seed or 0) if join else None,
        )
        return _joined(cache, dst, settings, as_json)
    if kind in KINDS:
        return _cache(cache, dst, recipe, kind, shard_bytes, as_json)
    return _files(cache, dst, recipe, names, catalog, as_json)


def _require_fitting(
    kind: str | None,
    names: bool,
    join: bool,
    sample_options: Mapping[str, object],
    catalog: str | None,
    shard_bytes: int | None,
) -> None:
    """Refuse options that would have no effect; all at once."""
    mistakes, samples = Mistakes(), join or kind == _HF
    mistakes.require(not (join and kind), "--join writes training shards; leave --format out")
    mistakes.require(not (names and (samples or kind in KINDS)), "--names goes only with --format folder")
    mistakes.require(not catalog or names or samples, "--catalog goes only with --names, --join or --format hf")
    sharded = samples or kind == "shards"
    mistakes.require(not shard_bytes or sharded, "--shard-bytes goes only with --format shards or hf, or --join")
    for name, value in sample_options.items():
        fits, where = (join, "--join") if name == _SEED else (samples, "--join or --format hf")
        mistakes.require(fits or not value, f"{name} goes only with {where}")
    mistakes.raise_as(ConfigError, "these options do not go together")


def _files(cache: Place, dst: Place, recipe: str | None, names: bool, catalog: str | None, as_json: bool) -> int:
    from srcache.cache import FailedEntry
    from srcache.maintain.export import export

    with progress_bar("export") as show:
        report = export(cache, dst, recipe, names=names, catalog=catalog, progress=show)
    failures = [FailedEntry("", name, "absent", "the cache has no image of it") for name in report.absent]
    if as_json:
        echo(document("export", attributes(report, *_REPORTED), failures, ok=not failures))
        return failed_code(failures)
    echo(f"{dst}: {counted(report.files, 'image')} of {report.recipe}, {human_bytes(report.bytes)}")
    return _failed(failures)


def _cache(cache: Place, dst: Place, recipe: str | None, kind: str, shard_bytes: int | None, as_json: bool) -> int:
    from srcache.maintain.export import export_cache

    with progress_bar("export") as show:
        report = export_cache(cache, dst, recipe, kind=kind, shard_bytes=shard_bytes, progress=show)
    if as_json:
        result = attributes(report, "path", "store", "recipes", "notes")
        echo(document("export", result, report.failures, ok=not report.failures))
        return failed_code(report.failures)
    for one in report.recipes:
        echo(f"{dst}/{merged_text(one)}")
    for line in report.notes:
        note(line)
    if report.failures:
        echo(f"not exported\n{finding_lines(report.failures)}", err=True)
    return failed_code(report.failures)


def _joined(cache: Place, dst: Place, settings: "JoinSettings", as_json: bool) -> int:
    """Training shards where there is an order to draw, else a data set of Hugging Face."""
    from srcache.maintain.export_parquet import export_parquet
    from srcache.maintain.export_shards import export_join

    write, thing = (export_parquet, "file") if settings.seed is None else (export_join, "shard")
    with progress_bar("export") as show:
        report = write(cache, dst, settings, show)
    if as_json:
        result = {"path": report.path, "bytes": report.bytes, **asdict(report.content), "others": report.others}
        echo(document("export", result, report.failures, ok=not report.failures))
        return failed_code(report.failures)
    content = report.content
    shards = f"{counted(len(content.shards), thing)}, {human_bytes(report.bytes)}"
    echo(f"{dst}: {counted(content.samples, 'sample')} ({', '.join(content.members)}) in {shards}")
    echo(f"of {content.recipe}-{content.fingerprint}, catalog {content.catalog[:8]}")
    if report.others:
        others = ", ".join(digest[:8] for digest in report.others)
        echo(f"left out: images that only other catalogs have ({others}); --catalog chooses one")
    return _failed(report.failures)


def _failed(failures: "Sequence[FailedEntry]") -> int:
    if failures:
        echo(f"{counted(len(failures), 'image')} not exported\n{failure_lines(failures)}", err=True)
    return failed_code(failures)
