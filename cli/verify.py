"""`srcache verify`: every byte of a cache checked."""

from pathlib import Path

import click

from srcache.wording import counted, human_bytes

from .output import common, document, finding_lines, progress


@click.command("verify", short_help="Check every byte of a cache; exit code 3 if it is damaged.")
@click.argument("cache", type=click.Path(file_okay=False, path_type=Path))
@click.option("--recipe", metavar="NAME", help="Only this recipe: its name, fingerprint or folder.")
@common
def command(cache: Path, recipe: str | None, as_json: bool) -> int:
    """Check every byte of CACHE: that images decode and have the checksums that were noted when they were made.

    What is damaged is listed, and the exit code is 3; `srcache repair` keeps what is whole. Images that were asked for
    but are not there are counted, and no damage.

    \b
    srcache verify cache
    srcache verify cache --recipe bicubic
    """
    from srcache.maintain.verify import verify

    with progress("verify") as show:
        report = verify(cache, recipe, show)
    if as_json:
        result = {name: getattr(report, name) for name in ("path", "recipes", "entries", "bytes", "absent")}
        click.echo(document("verify", result, report.findings, report.ok))
        return 0 if report.ok else 3
    checked = f"{counted(report.entries, 'SR image')} in {counted(len(report.recipes), 'recipe')}"
    absent = f"; {report.absent} more were asked for, but failed or are not made yet"
    click.echo(f"{cache}: {checked} checked, {human_bytes(report.bytes)}{absent if report.absent else ''}")
    if report.ok:
        click.echo("all as written")
        return 0
    click.echo(f"{counted(len(report.findings), 'problem')}; `srcache repair {cache}` keeps what is whole", err=True)
    click.echo(finding_lines(report.findings), err=True)
    return 3
