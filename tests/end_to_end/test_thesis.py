"""Both experiments of the thesis from end to end: two epochs, a dozen images, `compact`, small sizes.

And the commands by which the page on experiments corrects its mistakes step by step: each is an experiment, and keeps
what the one before it corrected.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import paths
import pytest
import yaml
from srcache_cli.main import run

from srcache.study.experiment import Experiment, load_experiment

PAGE = (paths.ROOT / "configs/experiments/README.md").read_text(encoding="utf-8")

SMALL = {
    "data.kind": "faces",
    "data.limit": "2",
    "train.epochs": "2",
    "train.device": "cpu",
    "device": "cpu",
    "recipe": "compact",
    "quality.metrics": "[psnr,ssim]",
    "compare.draws": "200",
}
AS_PUBLISHED = {**SMALL, "arms.lr.size": "16", "arms.sr.size": "24", "arms.hr.size": "24", "train.precision": "fp32"}
CORRECTED = {
    **SMALL,
    "train.size": "24",
    "train.precision": "fp32",
    "seeds": "[0,1]",
    "further.gan": "bicubic",
    "quality.resize": "picture:bicubic",
}


def words(name: str, out: Path, changes: dict[str, str]) -> list[str]:
    found = ["experiment", name, "--out", str(out), "--jobs", "1"]
    for key, value in changes.items():
        found += ["--set", f"{key}={value}"]
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Experiment]:
    """The experiments of the steps 0 to 4, as a shell hands the page's words over."""
    section = PAGE[PAGE.index("## What the thesis's numbers become") :]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    home = tmp_path_factory.mktemp("shell")
    program = home / "srcache"
    program.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", encoding="utf-8")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", block], env=environment, capture_output=True, text=True, check=True)
    return [_experiment(json.loads(line)) for line in done.stdout.splitlines()]


def _experiment(words: list[str]) -> Experiment:
    command, name, *options = words
    assert command == "experiment"
    values = dict.fromkeys(options[::2])
    assert set(values) == {"--out", "--set"}
    changes = [value for option, value in zip(options[::2], options[1::2], strict=True) if option == "--set"]
    return load_experiment(
        name, {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in changes)}
    )


def test_each_step_is_an_experiment_and_corrects_one_thing_more(steps: list[Experiment]) -> None:
    monitors = [{arm.settings.monitor for arm in step.arms} for step in steps]
    assert monitors == [{"last"}] + [{"val_loss"}] * 4
    assert [step.degradation.factor for step in steps] == [6, 6, 4, 4, 4]
    assert [[arm.name for arm in step.arms] for step in steps] == [["lr", "sr", "hr"]] * 3 + [
        ["bicubic", "sr", "hr"]
    ] * 2
    alike = [len({(arm.settings.network, arm.settings.size) for arm in step.arms}) == 1 for step in steps]
    assert alike == [False, False, False, True, True]
    assert [step.seeds for step in steps] == [(0,)] * 4 + [(0, 1, 2)]
    assert [step.compare.correction for step in steps] == ["none"] * 4 + ["holm"]
    assert [step.compare.test for step in steps] == ["exact"] * 4 + ["mid-p"]
    assert {arm.settings.epochs for step in steps for arm in step.arms} == {20}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), [("thesis-as-published", AS_PUBLISHED), ("thesis-corrected", CORRECTED)])
def test_the_thesis_runs_to_its_report(tmp_path: Path, name: str, changes: dict[str, str]) -> None:
    out = tmp_path / "out"
    assert run(words(name, out, changes)) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["complete"] is True
    assert sum(sum(counts.values()) for counts in results["data"]["counts"].values()) == 12
    assert all(len(history) == 2 for arm in results["arms"] for history in arm["history"])
    networks = {arm["name"]: arm["network"] for arm in results["arms"]}
    if name == "thesis-as-published":
        assert networks == {"lr": "thesis-lr, 16×16", "sr": "thesis-sr, 24×24", "hr": "thesis-sr, 24×24"}
        assert [arm["best_epoch"] for arm in results["arms"]] == [[2]] * 3, "the last, whatever validation says"
        assert results["compare"]["settings"]["correction"] == "none"
        assert "One seed alone" in results["seeds"]["verdict"]
    else:
        assert set(networks.values()) == {"thesis-sr, 24×24"}
        assert results["grid"]["domains"] == ["lr", "bicubic", "sr", "hr", "gan"]
        assert results["compare"]["settings"]["correction"] == "holm"
        assert results["seeds"]["seeds"] == 2
    assert (out / "report.html").is_file()
