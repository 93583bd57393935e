"""The engine seam: discovery, options and tiling."""

import multiprocessing
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from engines import ENTRY_POINTS, Noise
from hypothesis import given
from hypothesis import strategies as st

from srcache.engine import registry
from srcache.engine.interface import EngineInfo, Option, Setup, Tiling, upscaled_side
from srcache.engine.registry import engine_names, find_engine, open_engine
from srcache.errors import EngineError


def test_installed_engines_are_found_here_in_subprocesses_and_in_spawned_workers():
    found = engine_names()
    assert {"resample", *ENTRY_POINTS} <= set(found)
    assert found == sorted(set(found))
    code = "from srcache.engine.registry import engine_names; print(*engine_names())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == found
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(engine_names) == found


def test_an_engine_is_found_by_its_name_and_knows_it():
    assert find_engine("test-noise") is Noise
    assert [find_engine(name).info.name for name in engine_names()] == engine_names()


def test_an_unknown_engine_is_refused_with_what_there_is():
    with pytest.raises(EngineError, match=r"no engine is named 'swinir'; installed: .*resample, .*test-faulty"):
        find_engine("swinir")


@pytest.mark.parametrize(
    ("home", "words"),
    [
        ("no_such_module:X", "is installed but does not load: ModuleNotFoundError"),
        ("engines:NoSuchClass", "is installed but does not load: AttributeError"),
        ("broken_plugin:X", r"is installed but does not load: ZeroDivisionError.*reinstall"),
        ("engines:MARKS", "has no `info: EngineInfo`"),
    ],
)
def test_a_broken_package_is_told_without_a_traceback(monkeypatch, tmp_path, home, words):
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="bad", value=home, group=registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(EngineError, match=words):
        find_engine("bad")


def test_opening_fills_in_the_options_defaults(monkeypatch):
    given_setups = []
    monkeypatch.setattr(Noise, "__init__", lambda self, setup: given_setups.append(setup))
    open_engine("test-noise", Setup(scale=2, options={"steps": 5.0}, device="cuda"))
    options = {"gain": 1.0, "invert": False, "steps": 5, "strength": 0.2, "tint": "none"}
    assert given_setups == [Setup(scale=2, options=options, device="cuda")]


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
