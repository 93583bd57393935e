"""The README's code runs as it stands, and what it says about commands, extras and recipes is true."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import paths
import pytest
import yaml
from click.testing import CliRunner
from srcache_cli.main import COMMANDS, cli, run

from srcache.recipe.reading import load_recipe, shipped_recipes
from srcache.weights.manifest import load_manifest

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
ORDER = [
    "Install",
    "Use",
    "How it works, in five words",
    "Commands",
    "Recipes",
    "Policies",
    "What it promises, and where that is checked",
    "Limits, and when not to use it",
    "More",
]
"""The sections: what a reader needs first comes first."""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _build_command() -> list[str]:
    line = next(line for block in _blocks("sh") for line in block.splitlines() if line.startswith("srcache build"))
    return shlex.split(line)[1:]


def _python(mark: str) -> dict[str, Any]:
    """The names that the Python block with these words leaves behind."""
    (block,) = (block for block in _blocks("python") if mark in block)
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), scope)
    return scope


def test_it_fits_on_two_hundred_lines_and_goes_from_use_to_detail() -> None:
    assert len(README.splitlines()) <= 200
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == ORDER
    steps = ["make quickstart", "pip install .", "srcache build photos", "fill(catalog", "# the new line", "<img"]
    assert sorted(steps, key=README.index) == steps, "a cache is made before the loop that reads it"


@pytest.mark.medium
def test_the_training_loop_runs_on_the_cache_that_the_build_command_makes(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert run(_build_command()) == 0
    scope = _python("# the new line")
    data = scope["data"]
    counts = data.counts
    assert counts["lr"] + counts["sr"] == 2 * len(data)
    assert counts["lr"] > 0
    assert counts["sr"] > 0
    assert tuple(scope["images"].shape[1:]) == (3, 64, 64)


@pytest.mark.medium
def test_python_fills_the_cache_that_the_build_command_would(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    report = _python("fill(catalog")["report"]
    assert (report.added, report.stored, report.failed) == (12, 0, {})
    assert capfd.readouterr().out == "12 made now, 0 there before, {}\n"
    assert run([*_build_command(), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)["result"]
    assert (result["added"], result["wanted"], result["recipe"]) == (0, 12, report.recipe)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves files open
def test_webdataset_alone_trains_from_the_shards_that_the_export_command_writes(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert run(_build_command()) == 0
    (command,) = re.findall(r"`(srcache export [^`]* --join [^`]*)`", README)
    assert run(shlex.split(command)[1:]) == 0
    scope = _python("wds.WebDataset")
    assert tuple(scope["images"].shape[1:]) == (3, 64, 64)
    assert set(scope["labels"].tolist()) <= set(range(len(list(photos.iterdir()))))


def test_one_line_of_the_loop_is_new() -> None:
    (loop,) = (block for block in _blocks("python") if "# the new line" in block)
    assert loop.count("SRAugmentedDataset(") == loop.count("# the new line") == 1


def test_every_extra_is_named() -> None:
    section = README[README.index("## Install") : README.index("## Use")]
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {name for name in project["optional-dependencies"] if f"`{name}`" not in section} == set()


def test_the_recipe_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_blocks("yaml")[0], encoding="utf-8")
    recipe = load_recipe(path)
    assert str(recipe.degradation) == "bicubic/4"
    assert recipe.options == {"filter": "lanczos"}


def test_the_two_commands_come_first_and_exist() -> None:
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for line in _blocks("sh")[0].splitlines()]
    assert targets == ["quickstart", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    ci = (paths.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert [line for line in ci.splitlines() if line.startswith("make")] == ["make test"]


def test_every_command_is_in_the_table_and_every_word_of_it_is_a_command() -> None:
    section = README[README.index("## Commands") : README.index("Every command has")]
    rows = re.findall(r"^\| (`srcache .*?) \|", section, re.MULTILINE)
    words = {word for row in rows for word in re.findall(r"[a-z]{4,}", re.sub(r"--\w+|[A-Z]+", "", row))}
    known = set(COMMANDS) | {"srcache", "split", "crops", "list", "convert", "fetch", "images", "classifiers"}
    assert set(COMMANDS) <= words
    assert words <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"srcache {name}" in shown.output.split("Usage:")[1].partition("\n")[2]


@pytest.mark.medium
def test_the_shipped_recipes_are_named() -> None:
    section = README[README.index("## Recipes") : README.index("## Policies")]
    assert all(f"`{name}`" in section for name in shipped_recipes())
    changelog = (paths.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, text in shipped_recipes().items():
        weights = yaml.safe_load(text).get("weights")
        if weights is None or load_manifest(weights).digest:  # else its name depends on files that only a user has
            assert load_recipe(name).fingerprint in changelog
