"""`srcache merge`: several caches into one."""

from typing import TYPE_CHECKING

import click

from srcache.stores import KINDS
from srcache.wording import counted

from .options import BYTES, CACHE, Place, common, recipe_of_cache
from .output import attributes, document, echo, failed_code, finding_lines, note, reasons
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.maintain.merge import MergedRecipe


@click.command("merge", short_help="Copy what several caches hold into one.")
@click.argument("caches", metavar="CACHE…", type=CACHE, nargs=-1, required=True)
@click.option("--into", required=True, type=CACHE, help="A new or empty folder, or a cache.")
@recipe_of_cache("Only this recipe: its name, fingerprint or folder.")
@click.option("--store", type=click.Choice(KINDS), help="The kind of store of a new cache; else the first CACHE's.")
@click.option("--shard-bytes", type=BYTES, help="Where the store consists of shards: the size of one, such as 512M.")
@common
def command(
    caches: tuple[Place, ...],
    into: Place,
    recipe: str | None,
    store: str | None,
    shard_bytes: int | None,
    as_json: bool,
) -> int:
    """Copy the images of every CACHE into another cache, with their records, catalogs, receipts and failures.

    The first image of a name stays: what is there already, then what comes first in the order of the CACHEs. One that
    has other pixels under the name of another is a conflict, and is listed. No CACHE is changed. Stopped at any moment
    and run again, it goes on. A CACHE of many small shards becomes one of large shards.

    \b
    srcache merge cache-1 cache-2 --into all
    srcache merge cache --into large --store shards --shard-bytes 1G
    """
    from srcache.maintain.merge import merge

    with progress_bar("merge") as show:
        report = merge(caches, into, recipe, store=store, shard_bytes=shard_bytes, progress=show)
    failures = report.failures
    if as_json:
        echo(document("merge", attributes(report, "path", "store", "recipes", "notes"), failures, not failures))
        return failed_code(failures)
    for one in report.recipes:
        echo(f"{into}/{merged_text(one)}")
    for line in report.notes:
        note(line)
    if failures:
        echo(f"not merged\n{finding_lines(failures)}", err=True)
    return failed_code(failures)


def merged_text(one: "MergedRecipe") -> str:
    """What became of one recipe, as a sentence."""
    words = [f"{one.added} added", f"{one.same} there already"]
    if one.failed:
        words.append(f"not taken: {reasons(one.failed)}")
    if one.absent:
        words.append(f"{one.absent} asked for, but in none of them")
    return f"{one.folder}: {counted(one.entries, 'SR image')}; {', '.join(words)}"
