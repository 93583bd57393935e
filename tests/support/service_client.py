"""A service in this process, asked through Starlette's test client."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from images import picture
from PIL import Image
from starlette.testclient import TestClient

from srcache.cache import create_cache
from srcache.catalog import Catalog
from srcache.recipe import load_recipe
from srcache.server.access import Doors
from srcache.server.app import make_app
from srcache.server.hosted import hosted
from srcache.server.log import Line
from srcache.server.run import make_site
from srcache.server.settings import ServerSettings
from srcache.server.site import Site


class Running:
    """A service that runs: a client for it, its site, and the lines of its log."""

    def __init__(self, client: TestClient, site: Site, lines: list[Line]) -> None:
        self.client, self.site, self.lines = client, site, lines

    def ask(self, data: bytes, path: str = "/v1/sr", **headers: str) -> Any:
        return self.client.post(path, content=data, headers={name.replace("_", "-"): v for name, v in headers.items()})


@contextmanager
def running(cache: Path, recipes: list[str], catalog: Catalog | None = None, **options: Any) -> Iterator[Running]:
    """A service of recipes (names or YAML files); `options` are those of `ServerSettings`, and `token` asks for one."""
    token = options.pop("token", None)
    loaded = tuple(load_recipe(name) for name in recipes)
    given = {"device": "cpu", "deadline": 0.005, **options}
    settings = ServerSettings(cache=cache, recipes=loaded, **given)
    lines: list[Line] = []
    with ExitStack() as stack:
        opened = create_cache(cache, settings.store)
        held = [stack.enter_context(hosted(opened, recipe, settings)) for recipe in loaded]
        site = stack.enter_context(make_site(settings, held, catalog))
        for one in held:
            one.start()
            stack.callback(lambda one=one: one.end(cancel=False))
        app = make_app(site, Doors(token), lines.append)
        client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False))
        yield Running(client, site, lines)


def png(height: int = 8, width: int = 12, seed: int = 0, mark: str | None = None) -> bytes:
    """An image as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(picture(height, width, seed, mark)).save(out, "PNG")
    return out.getvalue()
