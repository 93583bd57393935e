"""`srcache serve`: opens recipes, listens, loads the engines while it answers from the cache, and ends in order.

SIGTERM and Ctrl-C end it: what was asked for is finished, new requests get a 503, and a receipt is written. A second
one ends the process at once, which costs what was not committed, and nothing else.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srcache.cache.manifest import create_cache
from srcache.catalog.scanning import scan
from srcache.errors import MachineError, needs_extra
from srcache.progress import Progress
from srcache.server.settings import ServerSettings, addresses_of, require_certificate, require_servable

if TYPE_CHECKING:
    from srcache.catalog import Catalog
    from srcache.server.hosted import HostedRecipe
    from srcache.server.site import Site


_BACKLOG = 1024
_KEPT = 128 << 20
"""Bytes of answers that are kept at most, of the memory that the settings allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRecipe:
    """What a server did for one recipe: its folder, answers from the cache, and what came of requests to the engine."""

    recipe: str
    folder: Path
    hits: int
    added: int
    failed: dict[str, int]
    engine_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeReport:
    """What a server did: requests that it answered, and each recipe."""

    requests: int
    recipes: tuple[ServedRecipe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What a server says when it listens: its URL, and what the user should know."""

    url: str
    warnings: tuple[str, ...]


def serve(
    settings: ServerSettings,
    announce: Callable[[Listening], None],
    *,
    log_json: bool = False,
    progress: Progress | None = None,
) -> ServeReport:
    """Serve until a signal ends it.

    Args:
        settings: what is served, and how.
        announce: called when it listens; engines are loaded then.
        log_json: write the access log as JSON.
        progress: called while the source's files are hashed.

    Raises:
        ConfigError: settings that cannot be.
        BusyError: another process fills one of the recipes' folders, and only one may.
        MachineError: the address cannot be listened on; or disk or device failed while it ran.
        MissingExtraError: the extra `serve` is not installed.
    """
    require_packages()
    from srcache.server.access import open_doors
    from srcache.server.app import make_app
    from srcache.server.hosted import hosted
    from srcache.server.log import AccessLog
    from srcache.server.web_server import WebServer, web_config

    require_servable(settings)
    require_certificate(settings)
    doors, warnings = open_doors(settings.token_file, settings.hosts)
    catalog = None if settings.source is None else scan(settings.source, progress=progress)
    with ExitStack() as stack:
        listener = stack.enter_context(listening_socket(settings))
        cache = create_cache(settings.cache, settings.store)
        recipes = [stack.enter_context(hosted(cache, recipe, settings)) for recipe in settings.recipes]
        site = stack.enter_context(make_site(settings, recipes, catalog))
        log = stack.enter_context(AccessLog(log_json, doors.hide))
        server = WebServer(web_config(settings, make_app(site, doors, log.note)), site)
        if settings.token_file is None and settings.plain_http:
            warnings.append("--plain-http changes nothing on loopback")
        announce(Listening(url=url_of(settings, listener), warnings=tuple(warnings)))
        server.serve_until_ended(listener)
    return _report(site)


def require_packages(what: str = "srcache serve") -> None:
    """Look for what only a server needs.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    with needs_extra("prometheus-client", "serve", what):
        import prometheus_client  # noqa: F401
    with needs_extra("starlette", "serve", what):
        import starlette  # noqa: F401
    with needs_extra("uvicorn", "serve", what):
        import uvicorn  # noqa: F401


@contextlib.contextmanager
def make_site(
    settings: ServerSettings, recipes: "Sequence[HostedRecipe]", catalog: "Catalog | None" = None
) -> "Iterator[Site]":
    """What a running server consists of; `catalog` is of the images that can be prefetched by key."""
    from srcache.server.limits import ByteBudget
    from srcache.server.making import Maker
    from srcache.server.metrics import Metrics
    from srcache.server.ready import ReadyAnswers
    from srcache.server.site import Site

    kept = min(_KEPT, settings.memory // 8)
    budget = ByteBudget(settings.memory - kept)
    with (
        ThreadPoolExecutor(settings.workers, thread_name_prefix="srcache-decode") as threads,
        ThreadPoolExecutor(settings.workers, thread_name_prefix="srcache-read") as readers,
    ):
        yield Site(
            settings=settings,
            recipes=recipes,
            makers={recipe.fingerprint: Maker(recipe, threads) for recipe in recipes},
            budget=budget,
            threads=threads,
            readers=readers,
            metrics=Metrics(recipes, budget),
            ready=ReadyAnswers(kept),
            catalog=catalog,
            places={} if catalog is None else {row.key: place for place, row in enumerate(catalog.rows)},
        )


@contextlib.contextmanager
def listening_socket(settings: ServerSettings) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        MachineError: the address or port cannot be had.
    """
    address = addresses_of(settings.host)[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        both = settings.host == "::" and socket.has_dualstack_ipv6()
        place = (address, settings.port)
        listener = socket.create_server(place, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise MachineError(
            f"{settings.host} port {settings.port} cannot be listened on ({error.strerror}); choose another "
            "--port, or 0 for a free one"
        ) from error
    with listener:
        yield listener


def url_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Where a socket of these settings is reached."""
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _report(site: "Site") -> ServeReport:
    from srcache.cache.failures import failures_by_reason

    return ServeReport(
        requests=site.metrics.requests,
        recipes=tuple(
            ServedRecipe(
                recipe=one.recipe.folder,
                folder=one.folder.path,
                hits=one.hits,
                added=one.counts.added,
                failed=failures_by_reason(one.counts.failures),
                engine_seconds=round(one.service.calls.seconds, 3) if one.is_ready else 0.0,
            )
            for one in site.recipes
        ),
    )
