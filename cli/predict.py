"""`srcache predict`: classify images with a trained network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted, percent

from . import completing
from .options import EXISTING_CACHE, EXISTING_FOLDER, FILE, SOURCE, Place, common, device_option
from .output import document, echo, failure_lines, reasons, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.study.compare import Predictions


@click.command("predict", short_help="Classify images with a trained run.")
@click.argument("run", type=EXISTING_FOLDER)
@click.argument("data", type=SOURCE)
@click.option("--out", required=True, type=FILE, help="The CSV file to write.")
@click.option(
    "--domain",
    metavar="lr|hr|sr|bicubic|POLICY",
    help="Turn DATA into this first; if left out, DATA is taken as it is.",
)
@click.option("--hr", type=SOURCE, help="HR images, paired with DATA by name; for the domain hr.")
@click.option("--cache", type=EXISTING_CACHE, help="The cache with the SR images.")
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    shell_complete=completing.recipes,
    help="Which SR images of the cache; also the size of `bicubic`.",
)
@click.option("--unlabelled", is_flag=True, help="DATA's folders are not classes; leave all labels empty.")
@device_option("cpu")
@click.option("--batch", type=click.IntRange(1), help="Images at once; if left out, as in training.")
@common
def command(
    run: Path,
    data: Path,
    out: Path,
    domain: str | None,
    hr: Path | None,
    cache: Place | None,
    recipe: str | None,
    unlabelled: bool,
    device: str,
    batch: int | None,
    as_json: bool,
) -> int:
    """Classify DATA (a folder, class folders, or a CSV file) with the network in the folder RUN of `srcache train`.

    Class folders are matched with the run's classes by name; a class that the run does not know is an error, unless
    --unlabelled is given. OUT has the columns name, key, label, prediction, and a probability for each class. Images
    that cannot be used are listed, and have no row.

    \b
    srcache predict runs/hr photos --out photos.csv
    srcache predict runs/hr lr/test --domain sr --cache cache --recipe seesr --out predictions/hr-on-sr.csv
    """
    from srcache.study.arms import arm_from_folder
    from srcache.study.compare import write_predictions
    from srcache.study.train import predict

    if domain is None and any(value is not None for value in (hr, cache, recipe)):
        raise click.UsageError("--hr, --cache and --recipe belong to a --domain, which is missing")
    base = arm_from_folder(domain, data, hr=hr, cache=cache, recipe=recipe) if domain else data
    labels = "ignore" if unlabelled else "match"
    with progress_bar("predict") as show:
        found = predict(run, base, labels=labels, device=device, batch_size=batch, progress=show)
    write_predictions(out, found)
    result, failures = _result(found, out), found.failures
    echo(document("predict", result, failures, ok=not failures) if as_json else _text(result))
    if failures and not as_json:
        echo(failure_lines(failures), err=True)
    return 1 if failures else 0


def _result(found: "Predictions", out: Path) -> dict[str, Any]:
    from srcache.cache.failures import failures_by_reason

    labelled = [row for row in found.rows if row.label is not None]
    right = sum(row.right for row in labelled)
    counts = {name: sum(row.prediction == name for row in found.rows) for name in found.classes}
    return {
        "out": out,
        "images": len(found.rows),
        "failed": failures_by_reason(found.failures),
        "labelled": len(labelled),
        "right": right,
        "accuracy": right / len(labelled) if labelled else None,
        "predicted": counts,
    }


def _text(result: dict[str, Any]) -> str:
    rows = list(result["predicted"].items())
    score = "no labels"
    if result["labelled"]:
        score = f"{result['right']} of {result['labelled']} right ({percent(result['accuracy'])})"
    failed = f"; failed: {reasons(result['failed'])}" if result["failed"] else ""
    head = f"{result['out']}: {counted(result['images'], 'image')}, {score}{failed}"
    return f"{head}\n{table(rows, ('class', 'predicted'))}"
