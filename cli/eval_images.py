"""`srcache eval images`: image quality of a folder or a cache against references."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.wording import NOTHING, counted, of_all

from .completing import metrics
from .options import EXISTING_FOLDER, FOLDER, color_options, common, device_option
from .output import document, echo, failure_lines, first_lines, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.images import Colors
    from srcache.study.quality import Convention, QualityReport, QualitySettings, Summary
    from srcache.study.quality.versus import Versions, Versus

_PRESETS = ("seesr-paper", "thesis-as-published")
"""The names in `srcache.study.quality.PRESETS`, which help must not wait for."""

_DEFAULT = ("psnr", "ssim")

_WHAT = "say what to measure: either --test DIR with one --recipe at most, or --compare A B with two at most"


@click.command("images", short_help="Measure image quality: PSNR, SSIM, LPIPS, NIQE, FID and more.")
@click.option(
    "--reference",
    type=EXISTING_FOLDER,
    metavar="DIR",
    help="The original images; needed unless no metric compares with them, as niqe and musiq do not.",
)
@click.option("--test", type=EXISTING_FOLDER, metavar="DIR|CACHE", help="The images to measure.")
@click.option(
    "--compare",
    nargs=2,
    type=EXISTING_FOLDER,
    metavar="A B",
    help="Instead of --test: two folders or caches, compared image by image.",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="NAME",
    help="Which recipe of a cache; needed if there are several. With --compare: once for both, or once for each.",
)
@click.option("--sample", type=click.IntRange(0), default=0, show_default=True, help="Which of a cache's samples.")
@click.option("--catalog", metavar="DIGEST", help="Which catalog of a cache, if several fit.")
@click.option("--under", default="", metavar="FOLDER", help="Only this folder of --test; names are relative to it.")
@click.option(
    "--metrics",
    metavar="A,B,…",
    shell_complete=metrics,
    help="psnr and ssim, or any of pyiqa's (fid from 2 images on).  [default: psnr,ssim]",
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
    test: Path | None,
    compare: tuple[Path, Path] | None,
    recipes: tuple[str, ...],
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

    --compare measures two of them and prints each metric's paired difference, A minus B, with a bootstrap interval.

    Missing or surplus images are an error that lists them. psnr and ssim are computed by scikit-image. All others are
    computed by pyiqa, under PolyForm Noncommercial 1.0.0, an extra of its own: pip install '.[iqa]'. Nothing is
    downloaded: if the weights of a metric in --metrics are missing, the error names the files and how to get them.

    \b
    srcache eval images --reference hr --test sr
    srcache eval images --reference hr --test cache --recipe seesr --preset seesr-paper --out quality
    srcache eval images --reference hr --compare sr bicubic
    srcache eval images --reference hr --compare cache cache --recipe seesr --recipe compact --metrics psnr,lpips
    srcache eval images --test sr --metrics niqe,musiq
    srcache eval images --reference hr --test sr --mod-crop 4 --crop-border 4 --channel y
    srcache eval images --reference hr --test lr --resize picture:bicubic --channel y --metrics psnr,ssim,lpips
    """
    from srcache.study.quality import PRESETS, Pick, QualitySettings

    names = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    settings = QualitySettings(
        pick=Pick(recipe=recipes[0] if recipes else None, sample=sample, catalog=catalog, under=under),
        device=device,
        allow_code=allow_code,
        optional=not names,
        seed=seed,
        advice="--resize picture:bicubic",
    )
    chosen = names or list(PRESETS[preset].metrics if preset else _DEFAULT)
    convention = _convention(preset, channel, crop_border, resize, _factor(mod_crop))
    convention = replace(convention, colors=_colors(color_profile, background))
    if compare is not None and test is None and len(recipes) <= 2:
        how = chosen, convention, _for_each(compare, recipes, settings)
        return _compare(reference, compare, how, out, as_json)
    if test is None or compare is not None or len(recipes) > 1:
        raise click.UsageError(_WHAT)
    return _measure(reference, test, (chosen, convention, settings), out, as_json)


def _measure(
    reference: Path | None,
    test: Path,
    how: "tuple[list[str], Convention, QualitySettings]",
    out: Path | None,
    as_json: bool,
) -> int:
    """`--test`: one set measured and printed."""
    from srcache.study.quality import measure_folders, require_free

    if out is not None:
        require_free(out, "quality")
    with progress_bar("measure") as show:
        report = measure_folders(reference, test, *how, show)
    return _print(report, report.write(out) if out is not None else (), as_json)


def _for_each(
    tests: "tuple[Path, Path]", recipes: tuple[str, ...], settings: "QualitySettings"
) -> "tuple[QualitySettings, QualitySettings]":
    """The settings of A and of B: with a recipe each; one recipe is that of whichever is a cache."""
    from srcache.cache import is_cache

    named = recipes if len(recipes) == 2 else (*recipes, *recipes)
    if len(recipes) == 1 and any(map(is_cache, tests)):
        named = tuple(recipes[0] if is_cache(path) else "" for path in tests)
    first, second = (
        replace(settings, pick=replace(settings.pick, recipe=recipe or None)) for recipe in named or ("", "")
    )
    return first, second


def _compare(
    reference: Path | None,
    tests: tuple[Path, Path],
    how: "tuple[list[str], Convention, tuple[QualitySettings, QualitySettings]]",
    out: Path | None,
    as_json: bool,
) -> int:
    """`--compare`: both measured, each metric's paired difference printed."""
    from srcache.study.quality.versus import compare_folders, require_free_for

    if out is not None:
        require_free_for(out)
    metrics, convention, settings = how
    with progress_bar("measure") as show:
        found = compare_folders(reference, tests, metrics, convention, settings, show)
    files = found.write(out) if out is not None else ()
    plain = found.plain()
    failures = plain.pop("failures")
    if as_json:
        result = {"command": "images", **plain, "files": [str(path) for path in files]}
        echo(document("eval", result, failures, ok=not failures))
        return 1 if failures else 0
    _print_versions(found, files)
    if failures:
        lines = [f"{one['set']}: {one['source']}: {one['detail']}" for one in failures]
        echo(f"{counted(len(lines), 'image')} not measured\n{first_lines(lines)}", err=True)
    return 1 if failures else 0


def _print_versions(found: "Versions", files: tuple[Path, ...]) -> None:
    echo(f"A: {_source(found.first)}\nB: {_source(found.second)}\n")
    heads = ("metric", "A", "B", "A − B", "95 %", "better on", "n", "outcome")
    echo(table([_versus_row(one) for one in found.metrics], heads))
    count = sum(one.low is not None for one in found.metrics)
    if count > 1:
        echo(f"outcome: by intervals that hold for all {count} metrics together; 95 %: of each metric alone")
    for one in found.metrics:
        echo(f"{one.metric}: {one.text}{'; ' if one.note else ''}{one.note}")
    for path in files:
        echo(str(path))
    for skip in found.first.skipped:
        echo(f"skipped: {skip.reason}", err=True)


def _versus_row(one: "Versus") -> tuple[object, ...]:
    interval = NOTHING if one.low is None or one.high is None else f"{one.low:+.4g} to {one.high:+.4g}"
    words = {"first": "A is better", "second": "B is better"}.get(one.better or "", "not shown to differ")
    counts = f"A {one.first_better}, B {one.second_better}" if one.low is not None else NOTHING
    means = (f"{one.first:.5g}", f"{one.second:.5g}", f"{one.difference:+.4g}")
    signed = [text.replace("-", "−") for text in (means[2], interval)]
    outcome = words if one.low is not None else NOTHING
    return one.metric, means[0], means[1], *signed, counts, of_all(one.n, one.images), outcome


def _source(report: "QualityReport") -> str:
    return report.test if report.recipe is None else f"{report.test}, {report.recipe}"


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


def _print(report: "QualityReport", files: tuple[Path, ...], as_json: bool) -> int:
    if as_json:
        result = {"command": "images", **report.plain(), "files": [str(path) for path in files]}
        failures = result.pop("failures")
        echo(document("eval", result, failures, ok=not report.failures))
        return 1 if report.failures else 0
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
    return 1 if report.failures else 0


def _row(one: "Summary", pairs: int) -> tuple[object, ...]:
    low_high = "–".join(f"{value:.4g}" for value in one.interval) if one.interval else NOTHING
    middle = f"{one.median:.5g}" if one.median is not None else NOTHING
    worst = f"{one.worst[0][0]} ({one.worst[0][1]:.4g})" if one.worst else ""
    return one.metric, f"{one.mean:.5g}", low_high, middle, of_all(one.n, pairs), worst
