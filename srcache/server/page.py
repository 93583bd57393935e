"""The page at `/`: an image is dropped on it, and its LR and SR stand behind the report's slider.

Scripts and styles are files of their own under `/page/`, so that the policy needs to allow nothing that stands in the
page itself. All of it is open without a token, and holds nothing of the cache: the page's script asks for the token.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from srcache.html.slider import slider_script, slider_style, stage
from srcache.html.theme import theme_style

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy: scripts, styles and requests of this origin, images of it and of the script's own."""


@cache
def _text(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")


SCRIPT, STYLE, HTML = "text/javascript; charset=utf-8", "text/css; charset=utf-8", "text/html; charset=utf-8"
"""Types of what a page consists of."""

FILES: dict[str, tuple[str, Callable[[], str]]] = {
    "/": (HTML, lambda: Template(_text("page.html")).substitute(stage=stage())),
    "/page/icon.svg": ("image/svg+xml", lambda: _text("icon.svg")),
    "/page/theme.css": (STYLE, theme_style),
    "/page/slider.css": (STYLE, slider_style),
    "/page/page.css": (STYLE, lambda: _text("page.css")),
    "/page/slider.js": (SCRIPT, slider_script),
    "/page/page.js": (SCRIPT, lambda: _text("page.js")),
}
"""What is served: by its path, the type and the text."""


def routes() -> list[Route]:
    """The page and its files, for a Starlette application."""
    return [Route(path, text_answer(kind, text), methods=["GET"]) for path, (kind, text) in FILES.items()]


def text_answer(kind: str, text: Callable[[], str]) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a text; a browser that has it already is told so."""

    async def answer(request: Request) -> Response:
        body = text().encode()
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        headers |= {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=kind)

    return answer
