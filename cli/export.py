"""`srcache export`: a cache's images as ordinary files."""

from pathlib import Path

import click

from srcache.wording import counted, human_bytes

from .options import FOLDER, common
from .output import attributes, document, failure_lines
from .progress_bar import progress_bar


@click.command("export", short_help="Write a cache's images as ordinary image files.")
@click.argument("cache", type=FOLDER)
@click.argument("dst", type=click.Path(path_type=Path))
@click.option("--recipe", metavar="NAME", help="The recipe's name, fingerprint or folder; needed if there are several.")
@click.option(
    "--format", "kind", type=click.Choice(["folder"]), default="folder", show_default=True, help="What to write."
)
@click.option("--names", is_flag=True, help="Name files like their source images, not by key.")
@common
def command(cache: Path, dst: Path, recipe: str | None, kind: str, names: bool, as_json: bool) -> int:
    """Write the images of CACHE into DST, a new or empty folder, with their records in records.jsonl.

    Files are PNG (JPEG or WebP if the recipe says so) and named KEY-SAMPLE.png; with --names, they have the names and
    folders of their source images.

    \b
    srcache export cache sr-images --names
    srcache export cache sr-images --recipe bicubic
    """
    from srcache.cache import FailedEntry
    from srcache.maintain.export import export

    with progress_bar("export") as show:
        report = export(cache, dst, recipe, format=kind, names=names, progress=show)
    failures = [FailedEntry("", name, "absent", "the cache has no image of it") for name in report.absent]
    if as_json:
        result = attributes(report, "path", "recipe", "files", "bytes")
        click.echo(document("export", result, failures, ok=not failures))
        return 1 if failures else 0
    click.echo(f"{dst}: {counted(report.files, 'image')} of {report.recipe}, {human_bytes(report.bytes)}")
    if failures:
        click.echo(f"{counted(len(failures), 'image')} not exported\n{failure_lines(failures)}", err=True)
    return 1 if failures else 0
