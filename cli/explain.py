"""`srcache explain`: why an image hits or misses."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CACHE, EXISTING_FILE, Place, common, recipe_options
from .output import document, echo, table

if TYPE_CHECKING:
    from srcache.maintain.explain import Explanation


@click.command("explain", short_help="Why an image hits or misses, and which recipe field differs.")
@click.argument("cache", type=CACHE)
@click.argument("image", type=EXISTING_FILE)
@recipe_options
@common
def command(cache: Place, image: Path, recipe: str, changes: dict[str, Any], as_json: bool) -> int:
    """Show which entry of CACHE belongs to the file IMAGE and a recipe, or why there is none.

    \b
    srcache explain cache photos/cat.jpg --recipe bicubic
    srcache explain cache photos/cat.jpg --recipe bicubic --set scale=2
    """
    from dataclasses import asdict

    from srcache.maintain.explain import explain

    found = explain(cache, image, recipe, changes)
    if as_json:
        echo(document("explain", {"hit": found.hit, "why": found.why, **asdict(found)}))
    else:
        echo(f"{'hit' if found.hit else 'miss'}: {found.why}\n{table(_rows(found))}")
    return 0


def _rows(found: "Explanation") -> list[tuple[str, str]]:
    rows = [("image", str(found.image)), ("key", found.key), ("recipe", found.recipe)]
    if found.samples:
        rows.append(("entries", ", ".join(f"{found.key}-{sample:03d}" for sample in found.samples[:3])))
        if len(found.samples) > 3:
            rows[-1] = ("entries", f"{rows[-1][1]}, … ({len(found.samples)} samples)")
    if found.names:
        rows.append(("catalogued as", ", ".join(found.names)))
    for other in found.others:
        has = f"has {len(other.samples)} of it" if other.samples else "lacks it too" if not found.hit else "lacks it"
        differences = ", ".join(f"{one.field} {one.cached}" for one in other.differences)
        rows.append(("also held", f"{other.folder} ({differences}) {has}"))
    return rows
