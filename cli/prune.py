"""`srcache prune`: remove recipes from a cache, and free the disk space that they take."""

import click

from srcache.wording import human_bytes

from .options import CACHE, Place, common
from .output import document, echo


@click.command("prune", short_help="Remove recipes with all their images from a cache.")
@click.argument("cache", type=CACHE)
@click.argument("recipes", nargs=-1, metavar="RECIPE...")
@click.option("--catalogs", is_flag=True, help="Also remove catalogs from which no remaining recipe was built.")
@click.option("--yes", is_flag=True, help="Really remove; without it, only list what would be removed.")
@common
def command(cache: Place, recipes: tuple[str, ...], catalogs: bool, yes: bool, as_json: bool) -> int:
    """Remove each RECIPE (its name, fingerprint or folder) with all its images from CACHE.

    \b
    srcache prune cache lanczos            list what would be removed
    srcache prune cache lanczos --yes      remove it
    """
    from srcache.maintain.prune import prune

    if not recipes and not catalogs:
        raise click.UsageError("expected a RECIPE to remove, or --catalogs; `srcache info CACHE` lists recipes")
    report = prune(cache, recipes, catalogs=catalogs, yes=yes)
    if as_json:
        echo(document("prune", report))
        return 0
    verb = "removed" if report.done else "would remove"
    echo("\n".join(f"{verb} {cache}/{name}" for name in report.removed) or "nothing to remove")
    if report.removed:
        hint = "freed" if report.done else "would be freed; add --yes to remove"
        echo(f"{human_bytes(report.bytes)} {hint}")
    return 0
