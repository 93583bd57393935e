"""The wheel: what is in it, and that it runs from an empty folder instead of the source tree.

It is installed without its dependencies over the environment's own site-packages, into a folder that comes first on the
path. Nothing is downloaded, and the source tree is copied before it is built, because building leaves things behind.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import paths
import pytest

ROOT = paths.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]


def _run(arguments, folder, **environment):
    """A process's output; its error output is what a failing test shows."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what the wheel is made of."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out], tree)
    (path,) = out.glob("srcache-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python in an empty folder, with the installed wheel first on the path; returns what it prints."""
    target, empty = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("empty")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    _run(pip, empty)

    def python(*arguments):
        return _run([sys.executable, *arguments], empty, PYTHONPATH=str(target))

    python.target = target
    return python


def test_the_list_of_packages_is_that_of_the_folders():
    found = set()
    for package, folder in FOLDERS.items():
        for mark in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *mark.parent.relative_to(ROOT / folder).parts]))
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


def test_every_source_and_data_file_is_in_the_wheel_and_nothing_else(tree, wheel):
    sources = {
        f"{package}/{path.relative_to(tree / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (tree / folder).rglob("*")
        if path.is_file()
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == sources
    assert {"srcache/py.typed", "srcache_configs/recipes/bicubic.yaml"} <= packed


def test_modules_and_data_come_from_the_wheel(installed):
    code = """
import importlib, json, sys
names = sys.argv[1:]
from srcache.recipe.reading import load_recipe, shipped_recipes
from srcache.engine.registry import find_engine
files = [importlib.import_module(name).__file__ for name in names]
files += [importlib.import_module(find_engine("resample").__module__).__file__]
print(json.dumps([files, sorted(shipped_recipes()), load_recipe("bicubic").fingerprint, "torch" in sys.modules]))
"""
    files, recipes, fingerprint, torch = json.loads(installed("-c", code, *FOLDERS, "srcache.stores.lmdb"))
    assert {Path(file).is_relative_to(installed.target) for file in files} == {True}
    assert recipes == sorted(path.stem for path in (ROOT / "configs" / "recipes").glob("*.yaml"))
    assert fingerprint == "448c49d273210155"
    assert not torch


def test_the_command_line_runs_from_the_wheel(installed):
    printed = installed("-m", "srcache_cli.main", "--help")
    assert "Super-resolve once, train many times." in printed
    assert installed(str(installed.target / "bin" / "srcache"), "--help") == printed
    assert PROJECT["project"]["version"] in installed("-m", "srcache_cli.main", "--version")


def test_engines_are_found_from_the_wheel(installed):
    printed = installed("-c", "import sys; from srcache_cli.main import run; sys.exit(run(['engines']))")
    assert "resample" in printed
    assert "test-noise" not in printed
