"""The page on plug-ins, followed to the letter: an engine in a package of its own, installed, checked, used.

Offline: nothing but the package itself is installed, into a folder that joins the path of the processes below.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib

import paths
import pytest

PAGE = (paths.ROOT / "plugins/README.md").read_text(encoding="utf-8")
GUIDE = PAGE[PAGE.index("## Add an engine in 40 lines") :].partition("\n## ")[0]
PROGRAMS = {"pip": ["-m", "pip"], "srcache": ["-m", "srcache_cli.main"]}


def block(language: str, number: int = 0, text: str = GUIDE) -> str:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]


def command(name: str) -> list[str]:
    """The line of the guide that begins so, to be run by this Python."""
    line = next(line for line in block("sh").splitlines() if line.startswith(name))
    program, *rest = shlex.split(line)
    return [sys.executable, *PROGRAMS[program], *rest]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The author's folder, as the guide has it, with images and a cache beside the two files, as people keep them."""
    home = tmp_path_factory.mktemp("author")
    for place in ("photos/cat", "cache/bicubic-0123456789abcdef/data.lmdb"):
        (home / place).mkdir(parents=True)
    (home / "photos/cat/1.png").write_bytes(b"an image")
    (home / "cache/srcache.json").write_text("{}")
    for text in (block("toml"), block("python")):
        name = text.partition("\n")[0].removeprefix("# ")
        assert name in GUIDE
        (home / name).write_text(text, encoding="utf-8")
    (home / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def guided(folder, tmp_path_factory):
    """Runs a command elsewhere than in the author's folder, with the installed package on the path."""
    site = tmp_path_factory.mktemp("site")
    offline = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
    _run([*command("pip install ."), *offline, "--target", str(site)], folder, os.environ)
    assert (site / "backprojection.py").is_file()
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)

    def guided(words, cwd):
        return _run(words, cwd, {**os.environ, "PYTHONPATH": paths})

    return guided


def _run(words, cwd, environment):
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_as_short_as_its_title_says():
    assert len(block("python").splitlines()) <= 40
    assert len(block("toml").splitlines()) <= 15


def test_the_installed_engine_is_listed(guided, tmp_path):
    listed = json.loads(guided([*command("srcache engines"), "--json"], tmp_path))["result"]
    (mine,) = [engine for engine in listed["engines"] if engine["name"] == "backprojection"]
    assert "corrected until it shrinks" in json.dumps(mine)
    named = tomllib.loads(block("toml"))["project"]["entry-points"]["srcache.engines"]
    assert set(named) == {"backprojection"}


def test_it_keeps_what_an_engine_promises(guided, tmp_path):
    guided([sys.executable, "-c", block("python", 1)], tmp_path)
    options = block("python", 1).replace("Setup(scale=4)", 'Setup(scale=3, options={"rounds": 2})')
    counted = options.replace("check_engine(", "passed = check_engine(") + "print(len(passed))"
    assert int(guided([sys.executable, "-c", counted], tmp_path)) >= 19


def test_a_cache_is_built_with_it_and_its_option_matters(guided, photos, folder):
    home = photos.parent
    (home / "mine.yaml").write_text(block("yaml"), encoding="utf-8")

    def added(*more):
        result = json.loads(guided([*command("srcache build"), *more, "--json"], home))["result"]
        assert (result["failed"], result["wanted"]) == ({}, 12)
        return result["added"], result["recipe"]

    first, again, other = added(), added(), added("--set", "options.rounds=3")
    assert (first[0], again[0], other[0]) == (12, 0, 12)
    assert first[1] == again[1] != other[1]


def test_it_comes_closer_to_the_original_than_what_it_starts_from(folder, monkeypatch, make_image):
    """The method does what the guide says: 20 rounds shrink to the source, and 0 rounds do not."""
    import torch
    from torch.nn.functional import interpolate

    from srcache.engine.interface import Setup
    from srcache.images import to_batch

    monkeypatch.syspath_prepend(str(folder))
    from backprojection import BackProjection

    source = to_batch([make_image(24, 32)])

    def away(rounds):
        (outcome,) = BackProjection(Setup(scale=4, options={"rounds": rounds})).upscale(source, [0])
        back = interpolate(outcome.image[None], [24, 32], mode="bicubic", antialias=True)
        return float((back - source).abs().mean())

    with torch.inference_mode():
        assert away(20) < away(2) < away(0)
        assert away(20) < away(0) / 4
