"""`srcache warm`: bring what a training needs from an SR service into a local cache."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.stores import KINDS
from srcache.wording import duration

from .options import FOLDER, SOURCE, common, recipe_of_cache, service_options
from .output import attributes, document, echo, failure_lines, left_out, left_out_rows, nothing_lost, reasons, table
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.cache import FailedEntry
    from srcache.catalog import Catalog
    from srcache.dataset.warming import WarmReport

_REPORTED = (
    *(
        "folder",
        "recipe",
        "service",
        "wanted",
        "stored",
        "added",
        "meanwhile",
        "queued",
        "there",
        "sent",
        "failed",
        "left",
    ),
    "seconds",
)
"""What the document says of a run."""


@click.command("warm", short_help="Bring what a training needs from an SR service into a local cache.")
@click.argument("src", type=SOURCE)
@click.option("--cache", required=True, type=FOLDER, help="The cache directory; made if it is not there.")
@service_options
@recipe_of_cache("A recipe of the cache or the service; may be left out if there is one.")
@click.option("--store", type=click.Choice(KINDS), help="The kind of store of a new cache.")
@click.option("--samples", type=click.IntRange(1, 1000), default=1, show_default=True, help="SR images per image.")
@click.option("--epoch", type=click.IntRange(0), help="Only what --policy chooses in this epoch.")
@click.option("--policy", help="With --epoch: the policy of the training, such as lr=0.5,sr=0.5.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the policy.")
@click.option("--ask-only", is_flag=True, help="Have the service make the images, and bring nothing yet.")
@click.option(
    "--batch", type=click.IntRange(1, 256), default=16, show_default=True, help="Images that are asked for at once."
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=600, show_default=True, help="Seconds to wait for an image."
)
@common
def command(
    src: Path,
    cache: Path,
    service: str,
    service_token_file: Path | None,
    service_ca_file: Path | None,
    plain_http: bool,
    recipe: str | None,
    store: str | None,
    samples: int,
    epoch: int | None,
    policy: str | None,
    seed: int,
    ask_only: bool,
    batch: int,
    timeout: float,
    as_json: bool,
) -> int:
    """Bring the SR images of SRC that a cache lacks from a service that `srcache serve` started.

    The service is asked by the images' keys; what it does not know is sent. With --epoch and --policy it is what a
    training will be served in that epoch. Run again, it brings what is missing. A training may read the cache
    meanwhile.

    \b
    srcache warm photos --cache cache --service http://127.0.0.1:8484
    srcache warm photos --cache cache --service https://sr.example.org --epoch 0 --policy lr=0.5,sr=0.5
    """
    from srcache.catalog import scan
    from srcache.dataset.policy import Policy
    from srcache.dataset.warming import WarmSettings, warm
    from srcache.service.remote import RemoteService

    if (epoch is None) != (policy is None):
        raise click.UsageError("--epoch and --policy go together: what is chosen in an epoch is what a policy chooses")
    settings = WarmSettings(
        samples=samples,
        epoch=epoch,
        policy=None if policy is None else Policy.parse(policy, seed),
        ask_only=ask_only,
        store=store,
    )
    remote = RemoteService(
        service,
        token_file=service_token_file,
        ca_file=service_ca_file,
        plain_http=plain_http,
        batch=batch,
        timeout=timeout,
    )
    with progress_bar("scan", "file") as show:
        catalog = scan(src, progress=show)
    with progress_bar("ask" if ask_only else "warm") as show:
        report = warm(catalog, cache, remote, recipe, settings, show)
    return _show(report, catalog, ask_only, as_json)


def _show(report: "WarmReport", catalog: "Catalog", ask_only: bool, as_json: bool) -> int:
    """Print what a run did; returns the exit code."""
    problems = left_out(catalog)
    failures = [*problems, *report.failures]
    ok = nothing_lost(failures) and not report.failed and (ask_only or report.left == 0)
    if as_json:
        echo(document("warm", attributes(report, *_REPORTED), failures, ok))
    else:
        echo(_text(report, problems, ask_only))
        if failures:
            echo(failure_lines(failures), err=True)
    return 0 if ok else 1


def _text(report: "WarmReport", problems: "list[FailedEntry]", ask_only: bool) -> str:
    rate = f"{duration(report.seconds)}, {report.added / report.seconds:.1f} images/s" if report.added else ""
    rows: list[tuple[str, int, str]] = [
        ("wanted", report.wanted, ""),
        ("there already", report.stored, "nothing to do" if report.stored == report.wanted else ""),
    ]
    if ask_only:
        rows += [("ready at the service", report.there, ""), ("asked for", report.queued, "")]
    else:
        rows.append(("brought", report.added, rate))
    if report.meanwhile:
        rows.append(("stored meanwhile", report.meanwhile, "by other processes"))
    if report.sent:
        rows.append(("sent", report.sent, "which the service did not know"))
    if report.failed:
        rows.append(("failed", sum(report.failed.values()), reasons(report.failed)))
    rows += left_out_rows(problems)
    return f"{report.folder}\n{table(rows)}"
