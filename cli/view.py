"""`srcache view`: look at the images of a cache, in a browser or as one file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.errors import ConfigError
from srcache.wording import counted, human_bytes

from .options import CACHE, EXISTING_FOLDER, FILE, PLACE, common, recipe_of_cache
from .output import document, echo, warn

if TYPE_CHECKING:
    from srcache.server.run import Listening

_COUNT = 200
"""`srcache.server.gallery.run.COUNT`, which help must not wait for."""


@click.command("view", short_help="Look at a cache's images: a gallery in the browser, or one HTML file.")
@click.argument("cache", type=CACHE)
@recipe_of_cache("The recipe's name, fingerprint or folder; needed if there are several.")
@click.option("--lr", type=EXISTING_FOLDER, help="The source images, if the recipe enlarges them as they are.")
@click.option("--hr", type=EXISTING_FOLDER, help="The HR images; the source images if the recipe shrinks them.")
@click.option(
    "--quality",
    type=PLACE,
    metavar="FILE|DIR",
    help="Image quality to filter and order by: what `srcache eval images --out DIR` wrote.",
)
@click.option("--out", type=FILE, help="Write one HTML file instead of serving.")
@click.option("--count", type=click.IntRange(1), help=f"With --out: images in the file at most.  [default: {_COUNT}]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn and mixed.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on; a free one if left out.")
@common
def command(out: Path | None, count: int | None, port: int | None, as_json: bool, **options: Any) -> int:
    """Show the SR images of CACHE beside their LR and HR images, behind a slider.

    A gallery is served on this machine alone, until Ctrl-C ends it; images are read when they are looked at, so a cache
    may be of any size. With --out, one HTML file shows some of the images, drawn by the seed. They are filtered by
    class, by why they are not there, and by what `srcache safety` and `srcache eval images` measured. A cache holds
    neither LR nor HR: --lr and --hr say where they are. The cache is only read.

    \b
    srcache view cache --lr photos
    srcache view cache --recipe seesr --hr originals --quality quality --out gallery.html
    """
    from srcache.server.gallery.gallery import GallerySettings
    from srcache.server.gallery.run import COUNT, serve_gallery, write_gallery

    if out is None and count is not None:
        raise ConfigError("--count goes only with --out; all images are served")
    if out is not None and port is not None:
        raise ConfigError("--port does not go with --out; a file is not served")
    settings = GallerySettings(**options)
    if out is None:
        requests = serve_gallery(settings, port or 0, lambda found: _announce(found, as_json))
        echo(document("view", {"requests": requests}) if as_json else f"{counted(requests, 'request')} answered")
        return 0
    report = write_gallery(settings, out, count or COUNT)
    warn(report.warnings)
    if as_json:
        echo(document("view", asdict(report)))
    else:
        shown = f"{report.images} of {counted(report.total, 'image')} of {report.recipe}"
        echo(f"{out}: {shown}, {human_bytes(report.bytes)}")
    return 0


def _announce(found: "Listening", as_json: bool) -> None:
    warn(found.warnings)
    echo(f"the gallery is at {found.url}/ (Ctrl-C ends it)", err=as_json)
