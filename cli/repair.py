"""`srcache repair`: keep what is intact in a damaged cache."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.wording import counted

from .options import FOLDER, common
from .output import document, finding_lines
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.maintain.repair import MendedRecipe


@click.command("repair", short_help="Keep what is intact in a damaged cache.")
@click.argument("cache", type=FOLDER)
@click.option("--recipe", metavar="NAME", help="Only this recipe: its name, fingerprint or folder.")
@common
def command(cache: Path, recipe: str | None, as_json: bool) -> int:
    """Copy every intact image from the damaged stores of CACHE into new ones.

    The damaged file is kept beside the new one, and a cache without damage is not changed. Afterwards `srcache build`
    makes what was lost.

    \b
    srcache repair cache
    """
    from srcache.maintain.repair import repair

    with progress_bar("repair") as show:
        report = repair(cache, recipe, show)
    if as_json:
        result = {"path": report.path, "recipes": report.recipes, "set_aside": report.set_aside}
        click.echo(document("repair", result, report.left, ok=not report.left))
        return 3 if report.left else 0
    for one in report.recipes:
        click.echo(_text(one, cache))
    for file in report.set_aside:
        click.echo(f"set aside because it cannot be read: {cache / file}")
    if report.left:
        click.echo(f"cannot be repaired:\n{finding_lines(report.left)}", err=True)
    return 3 if report.left else 0


def _text(one: "MendedRecipe", cache: Path) -> str:
    if not one.damaged:
        return f"{one.folder}: nothing to do, {counted(one.kept, 'SR image')} intact"
    lost = f", {len(one.lost)} lost" if one.lost else ""
    lines = [f"{one.folder}: {counted(one.kept, 'SR image')} kept{lost}"]
    if one.absent:
        lines.append(
            f"  {counted(one.absent, 'SR image')} asked for, but not there; `srcache build` makes what is missing"
        )
    lines.append(f"  the damaged file is in {cache / (one.old or '')}; delete it when you need nothing more from it")
    return "\n".join(lines)
