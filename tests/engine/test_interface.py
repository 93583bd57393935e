"""What engines say about themselves: options in their types, tilings, padding, and the size of an output."""

from dataclasses import replace

import pytest
from engines import Noise
from hypothesis import given
from hypothesis import strategies as st

from srcache.engine.interface import EngineInfo, Option, Tiling, upscaled_side
from srcache.errors import EngineError


@pytest.mark.parametrize(
    ("default", "value", "typed"),
    [(1.0, 5, 5.0), (1.0, 5.5, 5.5), (1, 5.0, 5), (1, 5, 5), (False, True, True), ("a", "b", "b"), (1.0, -0.0, 0.0)],
)
def test_options_take_their_defaults_type(default, value, typed):
    checked = Option(default=default, help="").checked("x", value)
    assert checked == typed
    assert type(checked) is type(default)


@pytest.mark.parametrize(
    ("default", "value", "words"),
    [
        (1.0, True, "of type float, but is True"),
        (1.0, "1", "of type float, but is '1'"),
        (1, 1.5, "of type int, but is 1.5"),
        (1, True, "of type int"),
        (False, 1, "of type bool, but is 1"),
        ("a", 1, "of type str, but is 1"),
        ("a", None, "of type str, but is None"),
        (1.0, float("nan"), "finite number"),
        (1.0, float("-inf"), "finite number"),
        (1, float("inf"), "finite number"),
        (1.0, 10**400, "finite number"),
    ],
)
def test_options_refuse_other_types(default, value, words):
    with pytest.raises(EngineError, match=f"option x must be .*{words}"):
        Option(default=default, help="").checked("x", value)


def test_choices_hold_after_typing():
    option = Option(default=2.0, help="", choices=(2.0, 4.0))
    assert option.checked("scale", 4) == 4.0
    with pytest.raises(EngineError, match=r"option scale must be one of 2\.0, 4\.0, but is 3\.0"):
        option.checked("scale", 3)


@given(st.dictionaries(st.sampled_from(["strength", "steps", "gain"]), st.integers(1, 2)))
def test_resolving_is_complete_and_settling_leaves_out_late_defaults(options):
    resolved, settled = Noise.info.resolved(options), Noise.info.settled(options)
    assert list(resolved) == sorted(Noise.info.options)
    assert Noise.info.resolved(settled) == resolved
    assert ("gain" in settled) == (options.get("gain") == 2)


def test_an_engine_without_options_says_so():
    with pytest.raises(EngineError, match="engine plain has no option a, b; it has: none"):
        EngineInfo(name="plain", summary="", scales=None).resolved({"b": 1, "a": 2})


@given(st.integers(1, 4096), st.integers(0, 4095))
def test_tiling_is_read_back(size, overlap):
    if overlap >= size:
        with pytest.raises(EngineError, match="overlap must be at least 0 and below"):
            Tiling(size=size, overlap=overlap)
    else:
        assert Tiling.parse(str(Tiling(size=size, overlap=overlap))) == Tiling(size=size, overlap=overlap)


@pytest.mark.parametrize("text", ["", "96", "96/", "/32", "96/32/1", "9.6/3", "-96/32", "96 / 32"])
def test_tiling_in_another_form_is_refused(text):
    with pytest.raises(EngineError, match="tiling is written size/overlap, such as 96/32"):
        Tiling.parse(text)


@pytest.mark.parametrize(
    ("side", "scale", "expected"), [(17, 4, 68), (5, 1.5, 8), (7, 0.5, 4), (5, 0.5, 3), (1, 0.1, 1), (3, 1, 3)]
)
def test_sides_are_rounded_half_up_and_never_vanish(side, scale, expected):
    assert upscaled_side(side, scale) == expected


@pytest.mark.parametrize(
    ("pads", "on_cpu", "device", "expected"),
    [
        (True, True, "cpu", True),
        (True, False, "cpu", False),
        (True, False, "cuda:1", True),
        (False, True, "cuda", False),
        (False, True, "cpu", False),
    ],
)
def test_short_batches_are_filled_up_where_the_engine_says_so(pads, on_cpu, device, expected):
    assert replace(Noise.info, pads=pads, pads_on_cpu=on_cpu).pads_on(device) is expected
