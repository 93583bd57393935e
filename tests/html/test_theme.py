"""The theme: every ink is readable on every ground in the light and in the dark, and nothing is loaded."""

import re

import numpy as np
import pytest

from srcache.html.theme import theme_style


def _variables(css, dark):
    light_block = re.search(r":root \{(.*?)\}", css, re.DOTALL).group(1)
    dark_block = re.search(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", css, re.DOTALL).group(1)
    found = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", light_block))
    return {**found, **(dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", dark_block)) if dark else {})}


def _luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The ratio of WCAG 2."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_ink_is_readable_on_every_ground(dark):
    colours = _variables(theme_style(), dark)
    heats = [key for key in colours if key.startswith("heat")]
    lines = [key for key in colours if key.startswith("line")]
    assert len(heats) == 8
    assert len(lines) == 6
    low = {}
    for ink in ("ink", "soft", "link", "good", "bad"):
        grounds = ["paper", "panel"] + (heats if ink == "ink" else [])
        low |= {(ink, ground): contrast(colours[ink], colours[ground]) for ground in grounds}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    marks = {
        (mark, ground): contrast(colours[mark], colours[ground])
        for mark in (*lines, "edge", "focus")
        for ground in ("paper", "panel")
    }
    assert {pair: ratio for pair, ratio in marks.items() if ratio < 3} == {}


def test_dark_redefines_every_colour():
    assert set(_variables(theme_style(), False)) == set(_variables(theme_style(), True))
    light, dark = (_variables(theme_style(), which) for which in (False, True))
    assert [key for key in light if light[key] == dark[key]] == []


def test_shades_grow_evenly():
    for dark, sign in ((False, -1), (True, 1)):
        colours = _variables(theme_style(), dark)
        steps = np.diff([_luminance(colours[f"heat{at}"]) for at in range(8)])
        assert (sign * steps > 0).all()


def test_the_theme_loads_nothing():
    assert "url(" not in theme_style()
    assert "@import" not in theme_style()
    assert "</" not in theme_style(), "which could end the element around it"
