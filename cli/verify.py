"""`srcache verify`: check every byte of a cache."""

import click

from srcache.wording import counted, human_bytes

from .options import CACHE, Place, common, recipe_of_cache
from .output import attributes, document, echo, finding_lines
from .progress_bar import progress_bar


@click.command("verify", short_help="Check every byte of a cache; exit code 3 if it is damaged.")
@click.argument("cache", type=CACHE)
@recipe_of_cache("Only this recipe: its name, fingerprint or folder.")
@common
def command(cache: Place, recipe: str | None, as_json: bool) -> int:
    """Check every byte of CACHE: that images can be decoded and have the checksums recorded when they were made.

    What is damaged is listed, and the exit code is 3; `srcache repair` keeps what is intact. Images that a build was
    asked for but did not make are counted; they are not damage.

    \b
    srcache verify cache
    srcache verify cache --recipe bicubic
    """
    from srcache.maintain.verify import verify

    with progress_bar("verify") as show:
        report = verify(cache, recipe, show)
    if as_json:
        result = attributes(report, "path", "recipes", "entries", "bytes", "absent", "repeated")
        echo(document("verify", result, report.findings, report.ok))
        return 0 if report.ok else 3
    checked = f"{counted(report.entries, 'SR image')} in {counted(len(report.recipes), 'recipe')}"
    absent = f"; {report.absent} more asked for, but failed or not made yet"
    echo(f"{cache}: {checked} checked, {human_bytes(report.bytes)}{absent if report.absent else ''}")
    if report.repeated:
        echo(f"{counted(report.repeated, 'name')} in more than one shard, which is harmless: the lowest is served")
    if report.ok:
        echo("no damage found")
        return 0
    echo(f"{counted(len(report.findings), 'problem')}; `srcache repair {cache}` keeps what is intact", err=True)
    echo(finding_lines(report.findings), err=True)
    return 3
