"""`srcache serve`: an HTTP service that fills a cache and answers from it."""

from typing import TYPE_CHECKING, Any

import click

from srcache.errors import ConfigError
from srcache.stores import KINDS
from srcache.wording import counted

from .completing import recipes
from .options import BYTES, EXISTING_FILE, FOLDER, SOURCE, batch_option, common, device_option, set_option
from .output import attributes, document, echo, reasons, table, warn
from .progress_bar import progress_bar

if TYPE_CHECKING:
    from srcache.server.run import Listening, ServeReport


@click.command("serve", short_help="Serve SR images over HTTP: from the cache, or made and stored.")
@click.option("--cache", required=True, type=FOLDER, help="The cache directory.")
@click.option(
    "--recipe",
    "recipes",
    required=True,
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=recipes,
    help="A shipped recipe's name, or a YAML file; repeatable: one engine each.",
)
@set_option("Change a field of the recipe, such as scale=2 or options.filter=lanczos; repeatable.")
@click.option("--store", type=click.Choice(KINDS), help="The kind of store of a new cache.")
@click.option("--source", type=SOURCE, help="Images that may be prefetched by their keys: a folder or a CSV file.")
@click.option("--retry-failed", is_flag=True, help="Try again the images that failed in earlier runs.")
@batch_option
@click.option(
    "--deadline",
    type=click.FloatRange(0, 60_000),
    default=20,
    show_default=True,
    metavar="MS",
    help="Milliseconds after which a short batch leaves for an idle engine.",
)
@click.option(
    "--memory", type=BYTES, default="2G", show_default=True, help="Memory that all requests may take together."
)
@click.option("--max-body", type=BYTES, default="256M", show_default=True, help="The largest body of a request.")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    show_default=True,
    help="The largest image in a request.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.001),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long a request waits for its image.",
)
@click.option("--connections", type=click.IntRange(1), default=1000, show_default=True, help="Connections at once.")
@device_option()
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Threads that decode images, and as many for each recipe that encode.",
)
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile for the engines.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8484,
    show_default=True,
    help="The port to listen on; 0 for a free one.",
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name under which clients ask; repeatable."
)
@click.option(
    "--token-file", type=EXISTING_FILE, help="The bearer token that requests must carry; or SRCACHE_TOKEN_FILE."
)
@click.option("--tls-cert", type=EXISTING_FILE, help="The certificate for HTTPS, in PEM.")
@click.option("--tls-key", type=EXISTING_FILE, help="Its private key, in PEM.")
@click.option("--plain-http", is_flag=True, help="Listen on an address that others reach without TLS.")
@click.option("--log-json", is_flag=True, help="Write the access log, on stderr, as JSON instead of lines.")
@common
def command(recipes: tuple[str, ...], changes: dict[str, Any], log_json: bool, as_json: bool, **options: Any) -> int:
    """Answer requests for SR images from a cache, and make and store what it lacks.

    SIGTERM or Ctrl-C ends it when everything that was asked for is stored. Off loopback it needs a token, and TLS.

    \b
    srcache serve --cache cache --recipe compact
    srcache serve --cache cache --recipe compact --host 0.0.0.0 --token-file token --plain-http
    """
    from srcache.recipe import load_recipe
    from srcache.server.run import serve
    from srcache.server.settings import ServerSettings
    from srcache.service.token_file import find_token_file

    if changes and len(recipes) > 1:
        raise ConfigError("--set changes one recipe, but several are named; write a YAML file for each instead")
    settings = ServerSettings(
        recipes=tuple(load_recipe(recipe, changes) for recipe in recipes),
        deadline=options.pop("deadline") / 1000,
        most_body=options.pop("max_body"),
        most_pixels=options.pop("max_pixels"),
        engine_seconds=options.pop("timeout"),
        token_file=find_token_file(options.pop("token_file")),
        **options,
    )
    with progress_bar("scan", "file") as show:
        report = serve(settings, lambda found: _announce(found, as_json), log_json=log_json, progress=show)
    if as_json:
        echo(document("serve", attributes(report, "requests", "recipes")))
    else:
        echo(_text(report))
    return 0


def _announce(found: "Listening", as_json: bool) -> None:
    warn(found.warnings)
    echo(f"listening on {found.url}", err=as_json)


def _text(report: "ServeReport") -> str:
    blocks = [f"{counted(report.requests, 'request')} answered"]
    for one in report.recipes:
        rows: list[tuple[str, int, str]] = [("from the cache", one.hits, ""), ("added", one.added, "")]
        if one.failed:
            rows.append(("failed", sum(one.failed.values()), reasons(one.failed)))
        blocks.append(f"{one.folder}\n{table(rows)}")
    return "\n".join(blocks)
