"""What Tab offers: as a shell asks for it, and quickly."""

import subprocess
import sys

import pytest
from click.shell_completion import BashComplete
from srcache_cli import completing
from srcache_cli.main import cli

from srcache.recipe.reading import shipped_recipes
from srcache.study.experiment import load_experiment, shipped_experiments
from srcache.study.quality.presets import PRESETS


def offered(line, monkeypatch):
    """What bash is offered after a line; its last word is being typed."""
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    found = BashComplete(cli, {}, "srcache", "_SRCACHE_COMPLETE").complete().splitlines()
    return [tuple(one.split(",", 1)) for one in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("srcache exp", ["experiment", "explain", "export"]),
        ("srcache build x --cache y --recipe seesr-t", ["seesr-tiny", "seesr-turbo"]),
        ("srcache train --recipe bic", ["bicubic"]),
        ("srcache serve --recipe comp", ["compact"]),
        ("srcache experiment own", ["own-photos"]),
        ("srcache experiment --show f", ["faces", "few-shot"]),
        ("srcache eval images --metrics psnr,l", ["psnr,lpips"]),
        ("srcache eval images --metrics p", ["psnr", "pyiqa:psnry", "pyiqa:ssim"]),
        ("srcache models fetch seesr-t", ["seesr-tiny", "seesr-turbo"]),
        ("srcache train --arm b", ["bicubic"]),
        ("srcache build --device c", ["cpu", "cuda"]),
        ("srcache build --log", ["--log-file"]),
        ("srcache train --log w", ["wandb"]),
    ],
)
def test_what_is_offered(line, expected, monkeypatch):
    found = [value for kind, value in offered(line, monkeypatch) if kind == "plain"]
    assert sorted(found) == sorted(expected)


def test_where_a_file_may_stand_files_are_offered_too(monkeypatch):
    assert ("file", "mine") in offered("srcache experiment mine", monkeypatch)
    assert ("dir", "") in offered("srcache info ", monkeypatch)


def test_recipes_of_a_cache_are_those_in_it(home, monkeypatch):
    found = offered("srcache verify cache --recipe ", monkeypatch)
    assert found == [("plain", "bicubic"), ("plain", "lanczos")]
    assert ("plain", "compact") in offered("srcache verify nothing --recipe ", monkeypatch)


def test_everything_that_ships_is_offered(monkeypatch):
    assert {value for kind, value in offered("srcache experiment ", monkeypatch) if kind == "plain"} == set(
        shipped_experiments()
    )
    recipes = offered("srcache upscale --recipe ", monkeypatch)
    assert {value for kind, value in recipes if kind == "plain"} == set(shipped_recipes())
    named = {metric for preset in PRESETS.values() for metric in preset.metrics}
    changes = {"data.hr": "x"}
    for name in shipped_experiments():
        own = changes if "kind: folders" in shipped_experiments()[name] else {}
        named |= set(load_experiment(name, own).quality.metrics)
    assert named <= set(completing.METRICS)


def test_tab_waits_for_nothing_heavy():
    code = (
        "import sys; from srcache_cli.main import cli; from click.shell_completion import BashComplete\n"
        "import os; os.environ.update(COMP_WORDS='srcache experiment --show ', COMP_CWORD='3')\n"
        "print(BashComplete(cli, {}, 'srcache', 'X').complete())\n"
        "heavy = {'torch', 'numpy', 'PIL', 'lmdb', 'yaml', 'tqdm'} & set(sys.modules); sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "plain,quickstart" in done.stdout
