"""`srcache predict`: what a trained run says about pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted

from .output import common, document, progress, table

if TYPE_CHECKING:
    from srcache.study.compare.predictions import Predictions

_FOLDER = click.Path(exists=True, path_type=Path)


@click.command("predict", short_help="Classify pictures with a trained run.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("data", type=_FOLDER)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The CSV file to write.")
@click.option("--domain", metavar="lr|hr|sr|bicubic|POLICY", help="Turn DATA into this first; as it is if left out.")
@click.option("--hr", type=_FOLDER, help="HR pictures, paired with DATA by name; for the domain hr.")
@click.option("--cache", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where SR pictures lie.")
@click.option("--recipe", metavar="NAME|FILE", help="Which SR pictures of the cache; how large `bicubic` is.")
@click.option("--unlabelled", is_flag=True, help="DATA's folders are no classes; leave all labels empty.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, … or auto.")
@click.option("--batch", type=click.IntRange(1), help="Pictures at once; as in training if left out.")
@common
def command(
    run: Path,
    data: Path,
    out: Path,
    unlabelled: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Ask the classifier in the folder RUN about DATA: a folder, class folders, or a CSV file.

    Class folders are matched with the run's classes by name; a class that the run does not know is an error, unless
    --unlabelled is given. OUT has columns name, key, label, prediction, and a probability for each class.

    \b
    srcache predict runs/hr photos --out photos.csv
    srcache predict runs/hr lr/test --domain sr --cache cache --recipe seesr --out predictions/hr-on-sr.csv
    """
    from srcache.study.arms.arms import arm_from_folder
    from srcache.study.compare.predictions import write_predictions
    from srcache.study.train.inference import predict

    places = {name: rest[name] for name in ("hr", "cache", "recipe")}
    if rest["domain"] is None and any(value is not None for value in places.values()):
        raise click.UsageError("--hr, --cache and --recipe are for a --domain, which is missing")
    base = arm_from_folder(rest["domain"], data, **places) if rest["domain"] else data
    labels = "ignore" if unlabelled else "match"
    with progress("predict") as show:
        found = predict(run, base, labels=labels, device=rest["device"], batch_size=rest["batch"], progress=show)
    write_predictions(out, found)
    result = _result(found, out)
    click.echo(document("predict", result) if as_json else _text(result))
    return 0


def _result(found: "Predictions", out: Path) -> dict[str, Any]:
    labelled = [row for row in found.rows if row.label is not None]
    right = sum(row.right for row in labelled)
    counts = {name: sum(row.prediction == name for row in found.rows) for name in found.classes}
    return {
        "out": out,
        "images": len(found.rows),
        "labelled": len(labelled),
        "right": right,
        "accuracy": right / len(labelled) if labelled else None,
        "predicted": counts,
    }


def _text(result: dict[str, Any]) -> str:
    rows = list(result["predicted"].items())
    score = f"{result['right']} of {result['labelled']} right ({result['accuracy']:.1%})" if result["labelled"] else ""
    head = f"{result['out']}: {counted(result['images'], 'picture')}, {score or 'no labels'}"
    return f"{head}\n{table(rows, ('class', 'predicted'))}"
