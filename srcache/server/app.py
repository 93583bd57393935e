"""The routes of the service, as one ASGI application.

A table instead of Starlette's router: paths are few and fixed, and every hit goes through here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from srcache.server import page
from srcache.server.access import Doors
from srcache.server.answers import Refusal, json_answer
from srcache.server.gate import Gate
from srcache.server.images import Images
from srcache.server.log import Line
from srcache.server.metrics import stats
from srcache.server.openapi import openapi_document
from srcache.server.prefetch import Prefetch
from srcache.server.queries import query
from srcache.server.site import Site
from srcache.service.protocol import HEALTH, METRICS, OPENAPI, PREFETCH, READY, RECIPES, SR, STATS, offered_recipe

Handler = Callable[[Request], Awaitable[ASGIApp]]
"""Answers a request with an ASGI application that sends the answer."""

_IMAGES = f"{SR}/"


def make_app(site: Site, doors: Doors, log: Callable[[Line], None]) -> ASGIApp:
    """The service as an ASGI application; `log` gets a line for each request."""
    return Gate(Routes(site), site, doors, log)


class Routes:
    """Finds what answers a request: an ASGI application that raises a `Refusal` where nothing does."""

    def __init__(self, site: Site) -> None:
        images, prefetch, about = Images(site), Prefetch(site), _About(site)
        self._image: Mapping[str, Handler] = {"GET": images.get}
        self._table: dict[str, Mapping[str, Handler]] = {
            SR: {"POST": images.post},
            PREFETCH: {"POST": prefetch.post},
            RECIPES: {"GET": about.recipes},
            STATS: {"GET": about.stats},
            METRICS: {"GET": about.metrics},
            OPENAPI: {"GET": about.openapi},
            HEALTH: {"GET": about.health},
            READY: {"GET": about.ready},
        }
        for route in page.routes():
            self.add(route)

    @property
    def paths(self) -> dict[str, list[str]]:
        """Every path with its methods, HEAD apart; {key} stands for a key."""
        return {path: list(found) for path, found in {**self._table, f"{_IMAGES}{{key}}": self._image}.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI.

        Raises:
            Refusal: 404, 405, or what the handler refuses.
        """
        path: str = scope["path"]
        if path.startswith(_IMAGES):
            handlers: Mapping[str, Handler] | None = self._image
            scope["path_params"] = {"key": path[len(_IMAGES) :]}
        else:
            handlers = self._table.get(path)
        if handlers is None:
            raise Refusal(404, "not_found", "there is nothing at this path; /openapi.json lists what there is")
        handler = handlers.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if handler is None:
            allowed = ", ".join([*handlers, *(["HEAD"] if "GET" in handlers else [])])
            raise Refusal(405, "bad_method", f"this path takes {allowed}", headers={"Allow": allowed})
        answer = await handler(Request(scope, receive))
        await answer(scope, receive, send)

    def add(self, route: Route) -> None:
        """Add a route of Starlette's that is read with GET."""

        async def show(request: Request) -> ASGIApp:
            return route.app

        self._table[route.path] = {"GET": show}


class _About:
    """Answers about the service itself."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def recipes(self, request: Request) -> Response:
        query(request)
        return json_answer({"recipes": [offered_recipe(one.recipe) for one in self._site.recipes]})

    async def stats(self, request: Request) -> Response:
        query(request)
        site, loop = self._site, asyncio.get_running_loop()
        recipes: list[dict[str, Any]] = [
            {**await loop.run_in_executor(site.readers, stats, one), "waiting": site.makers[one.fingerprint].waiting}
            for one in site.recipes
        ]
        return json_answer(
            {
                "requests": site.metrics.requests,
                "active": site.active,
                "draining": site.is_draining,
                "memory": {"used": site.budget.used, "limit": site.budget.most},
                "recipes": recipes,
            }
        )

    async def metrics(self, request: Request) -> Response:
        return Response(self._site.metrics.text(), headers={"Content-Type": self._site.metrics.content_type})

    async def openapi(self, request: Request) -> Response:
        query(request)
        return json_answer(openapi_document(self._site.settings.token_file is not None))

    async def health(self, request: Request) -> Response:
        return json_answer({"ok": True})

    async def ready(self, request: Request) -> Response:
        if self._site.is_ready:
            return json_answer({"ok": True})
        what = "the service is ending" if self._site.is_draining else "the engine is being loaded"
        raise Refusal(503, "not_ready", f"{what}; ask again in a moment", retry=2)
