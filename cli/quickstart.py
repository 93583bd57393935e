"""`srcache quickstart`: the whole loop on embedded pictures."""

from pathlib import Path

import click

from .output import common, document, human_time, table


@click.command("quickstart", short_help="See it work: the whole loop on embedded images.")
@click.option(
    "--out",
    default="srcache-quickstart",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write into.",
)
@common
def command(out: Path, as_json: bool) -> int:
    """Make data, LR copies and an SR cache; train on LR, SR and HR; compare; draw a contact sheet.

    Everything lies in one folder. A second run uses what the first one left.

    \b
    srcache quickstart
    srcache quickstart --out somewhere --json
    """
    from srcache.quickstart import quickstart

    result = quickstart(out, say=lambda line: click.echo(line, err=as_json))
    if as_json:
        click.echo(document("quickstart", result.plain()))
        return 0
    click.echo(f"\n{result.table()}\n{result.caveat()}\n")
    click.echo(table(list(result.places.items())))
    click.echo(f"done in {human_time(result.seconds)}")
    return 0
