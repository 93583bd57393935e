"""Recipes for tests: one with every field set, its frozen JSON, and a hypothesis strategy that draws any."""

from typing import Any

from hypothesis import strategies as st

from srcache.engine.interface import Tiling
from srcache.images import FILTERS
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import resolve
from srcache.recipe.recipe import Recipe

ORPHANS = "this change orphans every cache in the field"
PLAIN = (
    '{"codec":null,"color_fix":null,"degradation":null,"engine":"resample","numerics":1,"options":{"filter":"bicubic"},'
    '"precision":"fp32","scale":4,"seed":0,"size":"scale","tiling":null,"weights":null}'
)
FULL = Recipe(
    name="full",
    engine="some-engine",
    numerics=3,
    options={"strength": 0.25, "steps": 50, "whole": 5.0, "invert": True, "prompt": "größer, “clean”"},
    weights="ab" * 32,
    degradation=Degradation(factor=6, filter="lanczos"),
    scale=1.5,
    size="source",
    tiling=Tiling(size=96, overlap=32),
    precision="fp16",
    color_fix="wavelet",
    seed=2**63 - 1,
    codec="webp:90",
)
FULL_JSON = (
    '{"codec":"webp:90","color_fix":"wavelet","degradation":"lanczos/6","engine":"some-engine","numerics":3,'
    '"options":{"invert":true,"prompt":"gr\\u00f6\\u00dfer, \\u201cclean\\u201d","steps":50,"strength":0.25,"whole":5},'
    '"precision":"fp16","scale":1.5,"seed":9223372036854775807,"size":"source","tiling":"96/32",'
    '"weights":"abababababababababababababababababababababababababababababababab"}'
)
WORDS = st.sampled_from(
    [
        "",
        "a",
        " x ",
        "null",
        "~",
        "yes",
        "1e3",
        "0x1F",
        "1:30",
        "2024-01-01",
        "a: b",
        "# c",
        "- d",
        "{}",
        "日本",
        "\n",
        "'",
        "\t",
    ]
)
OPTION = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), WORDS)
RECIPES = st.builds(
    Recipe,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
    engine=WORDS,
    numerics=st.integers(0, 9),
    options=st.dictionaries(WORDS, OPTION, max_size=4),
    weights=st.none() | st.just("ab" * 32),
    degradation=st.none() | st.builds(Degradation, factor=st.integers(2, 9), filter=st.sampled_from(sorted(FILTERS))),
    scale=st.integers(1, 64) | st.floats(0.01, 64).map(lambda value: int(value) if value.is_integer() else value),
    size=st.sampled_from(["scale", "source"]),
    tiling=st.none() | st.builds(Tiling, size=st.integers(64, 96), overlap=st.integers(0, 63)),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    color_fix=st.none() | st.just("wavelet"),
    seed=st.integers(0, 2**63 - 1),
    codec=st.none() | st.sampled_from(["jpeg:95", "webp:1"]),
)


def noise_recipe(**changes: Any) -> Recipe:
    """A recipe of the test engine `test-noise`, with some fields changed."""
    return resolve({"name": "noise", "engine": "test-noise", **changes})
