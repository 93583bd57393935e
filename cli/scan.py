"""`srcache scan`: hash the images of a folder once, for all jobs that work on it."""

from pathlib import Path

import click

from .options import PLACE, SOURCE, common
from .output import document, echo, failure_lines, left_out, left_out_rows, nothing_lost, table, treatment_lines
from .progress_bar import progress_bar


@click.command("scan", short_help="Hash all images once, into a catalog that builds and trainings read.")
@click.argument("src", type=SOURCE)
@click.option("--out", required=True, type=PLACE, help="The catalog to write, a .csv file.")
@click.option("--force", is_flag=True, help="Replace a file at --out that is no scanned catalog.")
@click.option(
    "--rehash", is_flag=True, help="Hash every file again, also those that have not changed since the last run."
)
@common
def command(src: Path, out: Path, force: bool, rehash: bool, as_json: bool) -> int:
    """Write a catalog of SRC: the key, the name and the label of each image, and where its file is.

    SRC is a folder of images, a folder of class folders, or a CSV file with a column `path`. Other commands take the
    catalog where they take SRC, and hash nothing: every job of an array would do that again.

    \b
    srcache scan photos --out catalog.csv
    srcache build catalog.csv --cache cache --recipe bicubic --shard 0/8
    """
    from srcache.catalog import scan
    from srcache.catalog.scanned import require_writable, write_scanned
    from srcache.catalog.treated import treatment

    require_writable(out, force)
    with progress_bar("scan", "file") as show:
        catalog = scan(src, rehash=rehash, trust=False, progress=show)
    changed = write_scanned(catalog, out, force=force)
    failures = left_out(catalog)
    ok = nothing_lost(failures)
    images, classes, treated = len(catalog), len(catalog.classes), treatment(catalog, {})
    if as_json:
        found = {"catalog": out, "digest": catalog.digest, "images": images, "classes": classes}
        found |= {"ignored": catalog.ignored, "changed": changed, "treated": treated.plain()}
        echo(document("scan", found, failures, ok))
        return 0 if ok else 1
    rows: list[tuple[str, int, str]] = [("images", images, "" if changed else "as the catalog has them already")]
    if classes:
        rows.append(("classes", classes, ""))
    rows += left_out_rows(failures)
    echo(f"{out}: catalog {catalog.digest[:8]}\n{table(rows)}")
    treatment_lines(treated)
    if failures:
        echo(failure_lines(failures), err=True)
    return 0 if ok else 1
