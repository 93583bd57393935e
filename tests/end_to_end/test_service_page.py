"""The page on the service: its commands are taken as they stand, and its training runs against a server."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import paths
import pytest
from PIL import Image
from served import served

PAGE = (paths.ROOT / "configs" / "cluster" / "service.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def words(block: str, command: str) -> list[str]:
    """The words of the one command of that name in a block."""
    (line,) = (line for line in block.replace("\\\n", " ").splitlines() if line.startswith(command))
    return shlex.split(line)


@pytest.mark.medium
def test_the_page_can_be_followed(tmp_path: Path, make_image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        folder = tmp_path / "photos" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(16, 16, number)).save(folder / f"{number}.png")
    assert words(blocks("sh")[0], "srcache serve") == ["srcache", "serve", "--cache", "central", "--recipe", "compact"]
    with served("central", "compact") as server:
        scope: dict[str, Any] = {}
        exec(blocks("python")[0].replace("http://127.0.0.1:8484", server.url), scope)
        counts = scope["data"].counts
        assert (len(scope["images"]), counts["missed_to_lr"]) == (6, 0)
        assert counts["sr"] > 0
        warm = words(blocks("sh")[2].replace("http://127.0.0.1:8484", server.url), "srcache warm")
        done = subprocess.run([sys.executable, "-P", "-m", "srcache_cli.main", *warm[1:]], check=False)
        assert done.returncode == 0


def test_the_options_on_the_page_are_options() -> None:
    from click.testing import CliRunner
    from srcache_cli.main import cli

    known = {name: CliRunner().invoke(cli, [name, "--help"]).output for name in ("serve", "warm")}
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("srcache "):
                name, *rest = shlex.split(line)[1:]
                assert all(word in known[name] for word in rest if word.startswith("--"))
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert all(option in known["serve"] + known["warm"] for option in named)
