"""The theme that srcache's pages share: colours in the light and in the dark, typefaces, links and controls.

A page puts it before its own style. Charts, tables and the slider take their colours from its variables.
"""

from functools import cache
from importlib.resources import files


@cache
def theme_style() -> str:
    """The CSS."""
    return files(__package__).joinpath("theme.css").read_text(encoding="utf-8")
