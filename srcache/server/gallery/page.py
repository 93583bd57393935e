"""The gallery's page: what can be chosen, the slider, and thumbnails; the same for a server and for a file.

A server's page asks for what it shows, some dozens of images at a time. A file holds all of it: its policy
(Content-Security-Policy) allows its own style and script by their SHA-256, and images that are part of it.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template
from typing import Any

import srcache
from srcache.html.markup import Markup, concat, json_block, name, prose, tag, text
from srcache.html.slider import slider_script, slider_style, stage
from srcache.html.theme import theme_style
from srcache.server.gallery.gallery import Gallery
from srcache.server.gallery.pictures import KINDS
from srcache.wording import counted

PAGE = 48
"""Thumbnails at a time."""

_ZOOMS = (("out", "−", "Zoom out"), ("in", "+", "Zoom in"), ("whole", "Fit", "Fit: the whole image"))


def style() -> str:
    """The page's CSS."""
    return theme_style() + slider_style() + _part("gallery.css")


def script() -> str:
    """The page's JavaScript."""
    return slider_script() + _part("gallery.js")


def served_page(gallery: Gallery, generation: int) -> str:
    """The page of a server, whose script asks for the images.

    Args:
        gallery: what is shown.
        generation: a number that the script sends along, so that choices mean what they meant.
    """
    head = concat(
        tag("link", rel="icon", href="page/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="page/gallery.css"),
        tag("script", src="page/gallery.js", defer=True),
    )
    return _filled(gallery, _introduction(gallery), {"generation": generation}, head)


def file_page(shown: Gallery, gallery: Gallery, data: dict[str, Any], sentence: str) -> str:
    """The page as a file that holds everything.

    Args:
        shown: the part that it shows.
        gallery: what that is a part of.
        data: `items`, and for each order the places of items in it.
        sentence: which images it shows.
    """
    digests = [f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in (style(), script())]
    policy = (
        f"default-src 'none'; style-src {digests[0]}; script-src {digests[1]}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = concat(
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style())),
    )
    return _filled(shown, _introduction(gallery, sentence), data, head, tag("script", Markup(script())))


def _filled(
    gallery: Gallery, introduction: Markup, data: dict[str, Any], head: Markup, end: Markup | None = None
) -> str:
    kinds = {kind: KINDS[kind] for kind in gallery.pictures.kinds}
    known = {"kinds": kinds, "page": PAGE, "total": len(gallery.index.rows), **data}
    return Template(_part("gallery.html")).substitute(
        title=text(f"{gallery.folder.path.name} · srcache gallery"),
        head=head,
        heading=name(gallery.folder.path.name),
        introduction=introduction,
        filters=_filters(gallery),
        tools=_tools(),
        stage=stage(),
        data=json_block("gallery-data", known),
        version=text(srcache.__version__),
        end=end or "",
    )


def _introduction(gallery: Gallery, sentence: str = "") -> Markup:
    rows = gallery.index.rows
    stored = sum(not row.state for row in rows)
    classes = len({row.label for row in rows if row.label})
    of = f" of {counted(classes, 'class')}" if classes else ""
    lost = f"; {len(rows) - stored} more failed or are not made yet" if stored < len(rows) else ""
    where = tag("p", f"{counted(stored, 'SR image')}{of} in ", tag("bdi", gallery.folder.place), f"{lost}.")
    missing = [KINDS[kind] for kind in KINDS if kind not in gallery.pictures.kinds]
    hint = f" {' and '.join(missing)} are not in a cache; {_hint(gallery)} shows them too." if missing else ""
    words = tag("p", f"{sentence}{hint}".strip()) if sentence or hint else None
    return concat(
        where, words, [tag("p", prose(warning), class_="warning", role="note") for warning in gallery.warnings]
    )


def _hint(gallery: Gallery) -> str:
    if gallery.folder.recipe.degradation is not None:
        return "--hr DIR"
    return " and ".join(f"--{kind} DIR" for kind in ("lr", "hr") if kind not in gallery.pictures.kinds)


def _filters(gallery: Gallery) -> Markup:
    choices = [
        (choice.key, choice.title, [choice.every, *(f"{one.words} ({one.fits})" for one in choice.options)])
        for choice in gallery.index.choices
    ]
    choices.append(("order", "Order", [order.words for order in gallery.index.orders]))
    search = tag(
        "div",
        tag("label", "Name contains", for_="words"),
        tag("input", id="words", type="search", autocomplete="off", spellcheck="false"),
    )
    return concat([_select(*choice) for choice in choices], search)


def _select(key: str, title: str, options: list[str]) -> Markup:
    inner = [tag("option", words, value=number, dir="auto") for number, words in enumerate(options)]
    select = tag("select", inner, id=f"choose-{key}", data_choose=key, autocomplete="off")
    return tag("div", tag("label", title, for_=f"choose-{key}"), select)


def _tools() -> Markup:
    zooms = [
        tag("button", words, type="button", data_zoom=key, aria_label=label, title=label)
        for key, words, label in _ZOOMS
    ]
    steps = [
        tag("button", words, type="button", data_step=key) for key, words in (("back", "← Previous"), ("on", "Next →"))
    ]
    return concat(
        tag("div", steps, class_="buttons", role="group", aria_label="Step"),
        tag("div", zooms, class_="buttons", role="group", aria_label="Zoom"),
        tag("button", "Side by side", type="button", aria_pressed="false", data_beside=True),
    )


@cache
def _part(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")
