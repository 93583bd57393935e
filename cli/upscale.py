"""`srcache upscale`: one image or a few, without a cache."""

from pathlib import Path
from typing import Any

import click

from srcache.wording import counted, duration

from .options import EXISTING_FILE, FOLDER, batch_option, common, device_option, recipe_options
from .output import attributes, document, echo, failure_lines
from .progress_bar import progress_bar


@click.command("upscale", short_help="Upscale one image or a few, without a cache.")
@click.argument("images", nargs=-1, required=True, type=EXISTING_FILE)
@recipe_options
@click.option("--out", required=True, type=FOLDER, help="The folder to write into.")
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@batch_option
@device_option()
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@common
def command(
    images: tuple[Path, ...],
    recipe: str,
    changes: dict[str, Any],
    out: Path,
    samples: int,
    batch: int | None,
    device: str,
    force: bool,
    as_json: bool,
) -> int:
    """Upscale each file of IMAGES to a PNG of the same name, with exactly the pixels that `srcache build` would store.

    Where an engine's bits depend on the width of a batch, that is also the width of a build: one image alone costs as
    much as a batch that just fills the GPU. --batch 1 costs less, and moves pixels by rounding.

    \b
    srcache upscale cat.jpg dog.png --recipe bicubic --out larger
    srcache upscale cat.jpg --recipe bicubic --set scale=2 --out larger
    """
    from srcache.fill import FillSettings
    from srcache.fill.upscale import upscale
    from srcache.recipe import load_recipe

    settings = FillSettings(samples=samples, batch=batch, device=device)
    with progress_bar("upscale") as show:
        report = upscale(images, load_recipe(recipe, changes), out, settings, force=force, progress=show)
    ok = not report.failures
    if as_json:
        result = attributes(report, "out", "recipe", "files", "seconds", "device")
        echo(document("upscale", result, report.failures, ok))
        return 0 if ok else 1
    for file in report.files:
        echo(str(file))
    echo(f"{counted(len(report.files), 'image')} by {report.recipe} in {duration(report.seconds)}", err=True)
    if report.failures:
        echo(f"{counted(len(report.failures), 'image')} failed\n{failure_lines(report.failures)}", err=True)
    return 0 if ok else 1
