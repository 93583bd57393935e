"""The routes of the service, as one ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from srcache.server.access import Doors
from srcache.server.answers import Refusal, error_answer, json_answer
from srcache.server.gate import Gate
from srcache.server.images import Images
from srcache.server.metrics import stats
from srcache.server.prefetch import Prefetch
from srcache.server.queries import query
from srcache.server.site import Site
from srcache.service.protocol import HEALTH, METRICS, PREFETCH, READY, RECIPES, SR, STATS, offered_recipe

Answer = Callable[[Request], Awaitable[Any]]


def make_app(site: Site, doors: Doors, log_json: bool = False) -> ASGIApp:
    """The service as an ASGI application."""
    app = Starlette(routes=routes(site), exception_handlers={HTTPException: _refused})
    app.router.redirect_slashes = False
    return Gate(app, site, doors, log_json)


def routes(site: Site) -> list[BaseRoute]:
    """Every route."""
    images, prefetch, about = Images(site), Prefetch(site), _About(site)
    table: list[tuple[str, str, Answer]] = [
        (SR, "POST", images.post),
        (f"{SR}/{{key}}", "GET", images.get),
        (PREFETCH, "POST", prefetch.post),
        (RECIPES, "GET", about.recipes),
        (STATS, "GET", about.stats),
        (METRICS, "GET", about.metrics),
        (HEALTH, "GET", about.health),
        (READY, "GET", about.ready),
    ]
    return [Route(path, answer, methods=[method]) for path, method, answer in table]


class _About:
    """Answers about the service itself."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def recipes(self, request: Request) -> Response:
        query(request)
        return json_answer({"recipes": [offered_recipe(one.recipe) for one in self._site.recipes]})

    async def stats(self, request: Request) -> Response:
        query(request)
        site = self._site
        loop = asyncio.get_running_loop()
        recipes = [
            {**await loop.run_in_executor(site.readers, stats, one), "waiting": site.makers[one.fingerprint].waiting}
            for one in site.recipes
        ]
        return json_answer(
            {
                "requests": site.metrics.requests,
                "active": site.active,
                "draining": site.is_draining,
                "memory": {"used": site.budget.used, "limit": site.budget.most},
                "recipes": [{**stats(one), "waiting": site.makers[one.fingerprint].waiting} for one in site.recipes],
            }
        )

    async def metrics(self, request: Request) -> Response:
        return Response(self._site.metrics.text(), headers={"Content-Type": self._site.metrics.content_type})

    async def health(self, request: Request) -> Response:
        return json_answer({"ok": True})

    async def ready(self, request: Request) -> Response:
        if self._site.is_ready:
            return json_answer({"ok": True})
        what = "the service is ending" if self._site.is_draining else "the engine is being loaded"
        raise Refusal(503, "not_ready", f"{what}; ask again in a moment", retry=2)


async def _refused(request: Request, error: Exception) -> Response:
    """What Starlette or a route refuses, as JSON."""
    if isinstance(error, Refusal):
        return error_answer(error)
    assert isinstance(error, HTTPException)
    words = {
        404: ("not_found", "there is nothing at this path; /openapi.json lists what there is"),
        405: ("bad_method", "the path takes another method; the header Allow says which"),
    }
    reason, message = words.get(error.status_code, ("refused", "the request cannot be answered"))
    return error_answer(Refusal(error.status_code, reason, message, headers=error.headers))
