"""`srcache prepare`: data sets made from data sets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.errors import listed
from srcache.wording import counted

from .options import FOLDER, SOURCE, color_options, common
from .output import attributes, document, echo, first_lines, table, treatment_lines
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.catalog import Catalog
    from srcache.catalog.treated import Treatment
    from srcache.study.prepare import Prepared


@click.group("prepare", short_help="Make data sets from data sets: splits, LR copies, crops.")
def command() -> None:
    """Make data sets from data sets.

    Each command writes into an empty folder; the same command again completes what was interrupted.

    \b
    srcache prepare split photos data --ratios 0.8,0.1,0.1 --seed 1
    srcache prepare lr data/train lr/train --factor 6
    srcache prepare crops photos crops/hr crops/lr --size 512 --factor 4
    """


@command.command("split", short_help="Class folders into train, validation and test.")
@click.argument("src", type=SOURCE)
@click.argument("dst", type=FOLDER)
@click.option("--ratios", default="0.8,0.1,0.1", show_default=True, help="Shares of train, validation and test.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another split.")
@click.option(
    "--link",
    type=click.Choice(["copy", "hard"]),
    default="copy",
    show_default=True,
    help="Copy the files, or make hard links.",
)
@common
def split_command(src: Path, dst: Path, ratios: str, seed: int, link: str, as_json: bool) -> int:
    """Divide the class folders in SRC into DST/train, DST/validation and DST/test.

    Each class is divided by the ratios. Files with the same bytes stay together, even across classes.

    \b
    srcache prepare split photos data --ratios 0.8,0.1,0.1 --seed 1 --link hard
    """
    from srcache.study.prepare import make_split

    shares, catalog = _numbers(ratios), _scan(src)
    with progress_bar("split", "file") as show:
        done = make_split(catalog, dst, shares, seed, link, show)
    rows = [(*name.split("/", 1), count) for name, count in done.counts.items()]
    text = table(rows, ("split", "class", "images"))
    for names in done.doubles:
        text += f"\nsame bytes in different classes: {', '.join(names)}"
    if done.lacking:
        text += f"\nwithout any image, since the class has too few usable ones for its share: {listed(done.lacking)}"
    return _show("split", done, _treated(catalog, done), text, as_json)


@command.command("lr", short_help="An LR copy of a tree, same names, PNG.")
@click.argument("src", type=SOURCE)
@click.argument("dst", type=FOLDER)
@click.option("--factor", type=click.IntRange(2), required=True, help="By how much each side becomes smaller.")
@click.option(
    "--filter", default="bicubic", show_default=True, help="nearest, box, bilinear, hamming, bicubic or lanczos."
)
@click.option(
    "--mod-crop/--no-mod-crop",
    default=True,
    show_default=True,
    help="Cut sides that the factor does not divide at the right and below first; or else round.",
)
@color_options
@common
def lr_command(
    src: Path,
    dst: Path,
    factor: int,
    filter: str,
    mod_crop: bool,
    color_profile: str | None,
    background: str | None,
    as_json: bool,
) -> int:
    """Write a smaller copy of every image in SRC to DST, under the same relative name, as PNG.

    \b
    srcache prepare lr data/train lr/train --factor 6
    """
    from srcache.study.prepare import Shrinking, make_lr

    colors = _colors(color_profile, background)
    how, catalog = Shrinking(factor=factor, filter=filter, mod_crop=mod_crop, **colors), _scan(src)
    with progress_bar("lr") as show:
        done = make_lr(catalog, dst, how, progress=show)
    return _show("lr", done, _treated(catalog, done, how.background), "", as_json)


@command.command("crops", short_help="Paired random crops: HR and LR.")
@click.argument("src", type=SOURCE)
@click.argument("hr_dst", type=FOLDER)
@click.argument("lr_dst", type=FOLDER)
@click.option("--size", type=click.IntRange(1), default=512, show_default=True, help="Side of an HR crop in pixels.")
@click.option(
    "--factor", type=click.IntRange(2), default=4, show_default=True, help="By how much each side of LR is smaller."
)
@click.option("--per-image", type=click.IntRange(1), default=30, show_default=True, help="Crops per image.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives other crops.")
@color_options
@common
def crops_command(
    src: Path,
    hr_dst: Path,
    lr_dst: Path,
    size: int,
    factor: int,
    per_image: int,
    seed: int,
    color_profile: str | None,
    background: str | None,
    as_json: bool,
) -> int:
    """Cut random squares from every image in SRC into HR_DST, and their bicubic LR versions into LR_DST.

    \b
    srcache prepare crops photos crops/hr crops/lr --size 512 --factor 4 --per-image 30
    """
    from srcache.study.prepare import CropSettings, make_crops

    colors = _colors(color_profile, background)
    squares, catalog = CropSettings(size=size, factor=factor, per_image=per_image, seed=seed, **colors), _scan(src)
    with progress_bar("crops") as show:
        done = make_crops(catalog, hr_dst, lr_dst, squares, show)
    return _show("crops", done, _treated(catalog, done, squares.background), "", as_json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers separated by commas, such as 0.8,0.1,0.1, but got {text!r}", param_hint="--ratios"
        ) from error


def _scan(src: Path) -> "Catalog":
    from srcache.catalog import scan

    with progress_bar("scan", "file") as show:
        return scan(src, progress=show)


def _colors(color_profile: str | None, background: str | None) -> dict[str, str]:
    """The colours that were asked for, as keyword arguments."""
    given = {"color_profile": color_profile, "background": background}
    return {name: value for name, value in given.items() if value is not None}


def _treated(catalog: "Catalog", done: "Prepared", background: str = "white") -> "Treatment":
    from srcache.catalog.treated import treatment
    from srcache.images import Colors

    return treatment(catalog, done.notes, Colors(background=background))


def _show(name: str, done: "Prepared", treated: "Treatment", text: str, as_json: bool) -> int:
    if as_json:
        names = ("folders", "written", "kept", "failed", "counts", "doubles", "lacking")
        result = {"command": name, **attributes(done, *names), "treated": treated.plain()}
        echo(document("prepare", result, done.failures, ok=not done.failures))
        return 1 if done.failures else 0
    folders = ", ".join(str(folder) for folder in done.folders)
    nothing = " (nothing to do)" if done.kept and not done.written else ""
    echo(f"{folders}: {counted(done.written, 'file')} written, {done.kept} there already{nothing}")
    treatment_lines(treated)
    if text:
        echo(text)
    if done.failures:
        echo(first_lines([f"{one.reason}: {one.name}: {one.detail}" for one in done.failures]), err=True)
    return 1 if done.failures else 0
