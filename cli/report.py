"""`srcache report`: the page of an experiment, or of several."""

from pathlib import Path

import click

from srcache.wording import human_bytes

from .options import FOLDER, PLACE, common
from .output import document, echo


@click.command("report", short_help="One HTML page from an experiment's folder.")
@click.argument("outs", metavar="OUT…", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--out",
    "target",
    type=PLACE,
    help="The file to write; by default OUT/report.html. Needed for several experiments.",
)
@common
def command(outs: tuple[Path, ...], target: Path | None, as_json: bool) -> int:
    """Write one HTML file about the experiment in OUT: verdict, tables, curves, images, origin of the data, commands.

    The file contains everything and loads nothing, so that it can be sent and kept. Several folders make one page.

    \b
    srcache report study
    srcache report study-a study-b --out both.html
    """
    from srcache.study.report import summarise

    done = summarise(outs, target)
    if as_json:
        echo(document("report", done))
        return 0
    echo(f"{done.path} ({human_bytes(done.bytes)})")
    for study in done.studies:
        echo(f"{study['title']}: {study['answer'] or study['verdict'] or 'no verdict'}")
        if not study["complete"]:
            echo(f"{study['title']} is incomplete; the report says what is missing", err=True)
    return 0
