"""`srcache eval images`: image quality of a folder or a cache against references."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.wording import NOTHING, counted, of_all

from .options import EXISTING_FOLDER, FOLDER, color_options, common, device_option
from .output import document, echo, failure_lines, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.images import Colors
    from srcache.study.quality import Convention, QualityReport, Summary

_PRESETS = ("seesr-paper", "thesis-as-published")
"""The names in `srcache.study.quality.PRESETS`, which help must not wait for."""

_DEFAULT = ("psnr", "ssim")


@click.command("images", short_help="Measure image quality: PSNR, SSIM, LPIPS, NIQE, FID and more.")
@click.option(
    "--reference",
    type=EXISTING_FOLDER,
    metavar="DIR",
    help="The original images; needed unless no metric compares with them, as niqe and musiq do not.",
)
@click.option("--test", required=True, type=EXISTING_FOLDER, metavar="DIR|CACHE", help="The images to measure.")
@click.option("--recipe", metavar="NAME", help="Which recipe of a cache; needed if there are several.")
@click.option("--sample", type=click.IntRange(0), default=0, show_default=True, help="Which of a cache's samples.")
@click.option("--catalog", metavar="DIGEST", help="Which catalog of a cache, if several fit.")
@click.option("--under", default="", metavar="FOLDER", help="Only this folder of --test; names are relative to it.")
@click.option(
    "--metrics", metavar="A,B,…", help="psnr and ssim, or any of pyiqa's (fid from 2 images on).  [default: psnr,ssim]"
)
@click.option(
    "--preset",
    type=click.Choice(_PRESETS),
    help="Metrics and a convention; a metric that cannot be computed is skipped.",
)
@click.option("--channel", type=click.Choice(["rgb", "y"]), help="On what PSNR and SSIM are computed.  [default: rgb]")
@click.option("--crop-border", type=click.IntRange(0), help="Pixels cut off on every side.  [default: 0]")
@click.option(
    "--resize",
    default="none",
    metavar="WHICH:FILTER",
    help="For pairs of different sizes: picture:bicubic, reference:lanczos, …",
)
@click.option(
    "--mod-crop",
    default="auto",
    show_default=True,
    metavar="FACTOR",
    help="Cut references at the right and below to multiples of this; auto: as the sizes tell; none: never.",
)
@color_options
@device_option()
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap intervals.")
@click.option("--allow-code", is_flag=True, help="Run code that comes with metrics' weights, and unpickle them.")
@click.option("--out", type=FOLDER, help="A folder for the table, the summary and a contact sheet.")
@common
def command(
    reference: Path | None,
    test: Path,
    recipe: str | None,
    sample: int,
    catalog: str | None,
    under: str,
    metrics: str | None,
    preset: str | None,
    channel: str | None,
    crop_border: int | None,
    resize: str,
    mod_crop: str,
    color_profile: str | None,
    background: str | None,
    device: str,
    seed: int,
    allow_code: bool,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure the images in a folder or a cache against the originals, paired by name without suffix.

    Missing or surplus images are an error that lists them. psnr and ssim are computed by scikit-image. All others are
    computed by pyiqa, under PolyForm Noncommercial 1.0.0, an extra of its own: pip install '.[iqa]'. Nothing is
    downloaded: if the weights of a metric in --metrics are missing, the error names the files and how to get them.

    \b
    srcache eval images --reference hr --test sr
    srcache eval images --reference hr --test cache --recipe seesr --preset seesr-paper --out quality
    srcache eval images --reference hr --test sr --mod-crop 4 --crop-border 4 --channel y
    srcache eval images --reference hr --test lr --resize picture:bicubic --channel y --metrics psnr,ssim,lpips
    """
    from srcache.study.quality import PRESETS, Pick, QualitySettings, measure_folders, require_free

    names = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    settings = QualitySettings(
        pick=Pick(recipe=recipe, sample=sample, catalog=catalog, under=under),
        device=device,
        allow_code=allow_code,
        optional=not names,
        seed=seed,
        advice="--resize picture:bicubic",
    )
    if out is not None:
        require_free(out, "quality")
    chosen = names or list(PRESETS[preset].metrics if preset else _DEFAULT)
    convention = _convention(preset, channel, crop_border, resize, _factor(mod_crop))
    convention = replace(convention, colors=_colors(color_profile, background))
    with progress_bar("measure") as show:
        report = measure_folders(reference, test, chosen, convention, settings, show)
    files = report.write(out) if out is not None else ()
    _print(report, files, as_json)
    return 1 if report.failures else 0


def _colors(color_profile: str | None, background: str | None) -> "Colors | None":
    """How colours become RGB; None where no option says so, and a cache's recipe may."""
    from srcache.images import AS_EVER, Colors

    if color_profile is None and background is None:
        return None
    return Colors(profile=color_profile or AS_EVER.profile, background=background or AS_EVER.background)


def _factor(text: str) -> int | None:
    """The value of --mod-crop: 1 for none, None where it is to be found."""
    if text in ("auto", "none"):
        return None if text == "auto" else 1
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(
            f"expected auto, none, or a factor such as 4, but got {text!r}", param_hint="--mod-crop"
        )
    return int(text)


def _convention(
    preset: str | None, channel: str | None, crop_border: int | None, resize: str, mod_crop: int | None
) -> "Convention":
    """The convention of the preset, as far as no option says something else."""
    from srcache.study.quality import PRESETS, Convention

    base = PRESETS.get(preset or "")
    return Convention(
        channel=channel or (base.channel if base else "rgb"),
        crop_border=crop_border if crop_border is not None else base.crop_border if base else 0,
        resize=resize,
        mod_crop=mod_crop,
    )


def _print(report: "QualityReport", files: tuple[Path, ...], as_json: bool) -> None:
    if as_json:
        result = {"command": "images", **report.plain(), "files": [str(path) for path in files]}
        failures = result.pop("failures")
        echo(document("eval", result, failures, ok=not report.failures))
        return
    echo(
        table([_row(one, report.pairs) for one in report.summaries], ("metric", "mean", "95 %", "median", "n", "worst"))
    )
    for one in report.summaries:
        echo(f"{one.metric}: {one.text}{'; ' if one.note else ''}{one.note}")
    for path in files:
        echo(str(path))
    for skip in report.skipped:
        echo(f"skipped: {skip.reason}", err=True)
    if report.failures:
        echo(f"{counted(len(report.failures), 'image')} not measured\n{failure_lines(report.failures)}", err=True)


def _row(one: "Summary", pairs: int) -> tuple[object, ...]:
    low_high = "–".join(f"{value:.4g}" for value in one.interval) if one.interval else NOTHING
    middle = f"{one.median:.5g}" if one.median is not None else NOTHING
    worst = f"{one.worst[0][0]} ({one.worst[0][1]:.4g})" if one.worst else ""
    return one.metric, f"{one.mean:.5g}", low_high, middle, of_all(one.n, pairs), worst
