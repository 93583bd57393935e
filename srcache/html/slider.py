"""The slider: images on top of each other under borders that can be dragged; its element, its script and its style.

A page puts the style and the script into itself (a Content-Security-Policy can name both by their digests), places
`stage()` where the images shall be, and lets its own script fill it:

    const stage = slider.makeStage(document.querySelector(".stage"), {lr: "LR", hr: "HR"});
    const images = {lr: {src: …, size: [16, 16], pixelated: true}, hr: {src: …, size: [64, 64]}};
    stage.show({name: "moss/1", images}, ["lr", "hr"]);

Borders are sliders for a keyboard and a screen reader too. The style takes the page's colours and typeface from the
variables --paper, --panel, --ink, --focus and --sans, and expects `box-sizing: border-box`.
"""

from functools import cache
from importlib.resources import files

from srcache.html.markup import Markup, tag

LABEL = "The image: plus and minus zoom, arrow keys move it, 0 shows all of it"
"""What a screen reader says of the stage."""


def stage(label: str = LABEL) -> Markup:
    """The empty element that the script fills: it takes the keyboard's focus and has a name."""
    return tag("div", class_="stage", tabindex="0", role="group", aria_label=label)


@cache
def slider_script() -> str:
    """The JavaScript: one constant, `slider`, with `makeStage` and the small functions that it is made of."""
    return _text("slider.js")


@cache
def slider_style() -> str:
    """The CSS: what the script's elements look like."""
    return _text("slider.css")


def _text(file: str) -> str:
    return files(__package__).joinpath(file).read_text(encoding="utf-8")
