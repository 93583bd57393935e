"""`srcache repair`: keep what is intact in a damaged cache."""

from typing import TYPE_CHECKING

import click

from srcache.wording import counted

from .options import CACHE, Place, common, recipe_of_cache
from .output import document, echo, finding_lines
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.maintain.repair import MendedRecipe


@click.command("repair", short_help="Keep what is intact in a damaged cache.")
@click.argument("cache", type=CACHE)
@recipe_of_cache("Only this recipe: its name, fingerprint or folder.")
@click.option(
    "--checksums", is_flag=True, help="Only give images of older versions the fast checksum that readers compare."
)
@common
def command(cache: Place, recipe: str | None, checksums: bool, as_json: bool) -> int:
    """Copy every intact image from the damaged stores of CACHE into new ones.

    The damaged file is kept beside the new one, and a cache without damage is not changed, but that shards which
    writers left unfinished are completed. Afterwards `srcache build` makes what was lost.

    With --checksums, nothing is mended: each image that has only a slow checksum is compared with it, and gets a fast
    one. Images that are damaged are listed, and the exit code is 3.

    \b
    srcache repair cache
    srcache repair cache --checksums
    """
    from srcache.maintain.repair import add_checksums, repair

    with progress_bar("repair") as show:
        report = (add_checksums if checksums else repair)(cache, recipe, show)
    if as_json:
        result = {"path": report.path, "recipes": report.recipes, "set_aside": report.set_aside}
        echo(document("repair", result, report.left, ok=not report.left))
        return 3 if report.left else 0
    for one in report.recipes:
        echo(_stamped(one) if checksums else _text(one, cache))
    for file in report.set_aside:
        echo(f"set aside because it cannot be read: {cache}/{file}")
    if report.left:
        head = f"damaged; `srcache repair {cache}` keeps what is intact" if checksums else "cannot be repaired"
        echo(f"{head}:\n{finding_lines(report.left)}", err=True)
    return 3 if report.left else 0


def _stamped(one: "MendedRecipe") -> str:
    if not one.stamped:
        return f"{one.folder}: nothing to do, no SR image of {one.kept} lacks a fast checksum that could have one"
    return f"{one.folder}: {one.stamped} of {counted(one.kept, 'SR image')} lacked a fast checksum, and have one now"


def _text(one: "MendedRecipe", cache: Place) -> str:
    if not one.damaged and not one.completed:
        return f"{one.folder}: nothing to do, {counted(one.kept, 'SR image')} intact"
    lost = f", {len(one.lost)} lost" if one.lost else ""
    lines = [f"{one.folder}: {counted(one.kept, 'SR image')} kept{lost}"]
    if one.absent:
        lines.append(
            f"  {counted(one.absent, 'SR image')} asked for, but not there; `srcache build` makes what is missing"
        )
    if one.completed:
        lines.append(f"  {one.completed} of them were in shards that writers left unfinished, which are complete now")
    if one.old:
        lines.append(f"  the damaged file is in {cache}/{one.old}; delete it when you need nothing more from it")
    elif one.damaged:
        lines.append("  an index did not say where they lie, and was made again")
    return "\n".join(lines)
