"""`srcache upscale`: one picture or a few, no cache."""

from pathlib import Path
from typing import Any

import click

from srcache.wording import counted, duration

from .output import common, document, failure_lines, progress, recipe_options


@click.command("upscale", short_help="Upscale one picture or a few, without a cache.")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@recipe_options
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write into."
)
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, … or auto.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@common
def command(
    images: tuple[Path, ...],
    recipe: str,
    changes: dict[str, Any],
    out: Path,
    force: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Upscale each file of IMAGES to a PNG of the same name: pixel for pixel what `srcache build` would store.

    \b
    srcache upscale cat.jpg dog.png --recipe bicubic --out larger
    srcache upscale cat.jpg --recipe bicubic --set scale=2 --out larger
    """
    from srcache.fill.settings import FillSettings
    from srcache.fill.upscale import upscale
    from srcache.recipe.reading import load_recipe

    with progress("upscale") as show:
        report = upscale(images, load_recipe(recipe, changes), out, FillSettings(**rest), force=force, progress=show)
    ok = not report.failures
    if as_json:
        result = {name: getattr(report, name) for name in ("out", "recipe", "files", "seconds", "device")}
        click.echo(document("upscale", result, report.failures, ok))
        return 0 if ok else 1
    for file in report.files:
        click.echo(file)
    click.echo(f"{counted(len(report.files), 'image')} by {report.recipe} in {duration(report.seconds)}", err=True)
    if report.failures:
        click.echo(f"{counted(len(report.failures), 'image')} failed\n{failure_lines(report.failures)}", err=True)
    return 0 if ok else 1
