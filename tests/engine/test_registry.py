"""Installed engines: found by name everywhere, and a broken package reported in words."""

import multiprocessing
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from engines import ENTRY_POINTS, Noise

from srcache.engine import registry
from srcache.engine.interface import Setup
from srcache.engine.registry import engine_names, find_engine, open_engine
from srcache.errors import EngineError


@pytest.mark.medium
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


def test_an_engine_that_is_installed_or_removed_meanwhile_is_known_at_once(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    before = engine_names()
    metadata = tmp_path / "late-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{registry.GROUP}]\ntest-late = engines:Noise\n")
    assert engine_names() == sorted([*before, "test-late"])
    assert find_engine("test-late") is Noise
    metadata.rename(tmp_path / "gone")
    assert engine_names() == before


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
def test_a_broken_package_is_reported_without_a_traceback(monkeypatch, tmp_path, home, words):
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="bad", value=home, group=registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda path: {"bad": [point]})
    with pytest.raises(EngineError, match=words):
        find_engine("bad")


def test_a_name_that_two_packages_give_to_different_engines_is_refused_whichever_is_found_first(monkeypatch):
    """Which of them comes first is for the file system to say, and no recipe names the package."""
    points = [EntryPoint(name="two", value=value, group=registry.GROUP) for value in ("engines:Noise", "other:Noise")]
    monkeypatch.setattr(registry, "_installed", registry._installed.__wrapped__)
    for order in (points, points[::-1]):
        monkeypatch.setattr(registry, "entry_points", lambda group, order=order: order)
        with pytest.raises(
            EngineError, match=r"several engines are named 'two': engines:Noise, other:Noise; uninstall"
        ):
            find_engine("two")
    monkeypatch.setattr(registry, "entry_points", lambda group: points[:1] * 2)
    assert find_engine("two") is Noise


def test_opening_fills_in_the_options_defaults(monkeypatch):
    given_setups = []
    monkeypatch.setattr(Noise, "__init__", lambda self, setup: given_setups.append(setup))
    open_engine("test-noise", Setup(scale=2, options={"steps": 5.0}, device="cuda"))
    options = {"gain": 1.0, "invert": False, "steps": 5, "strength": 0.2, "tint": "none"}
    assert given_setups == [Setup(scale=2, options=options, device="cuda")]
