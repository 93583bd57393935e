"""All that is wrong with an experiment, before it is run."""

from pathlib import Path

import pytest
from tiny_experiment import tiny

from srcache.errors import ConfigError, MachineError, MissingExtraError
from srcache.study.experiment.check import Checked, check_experiment

GOOD = Checked(mistakes=(), lacking=())


def test_nothing_is_wrong_with_one_that_runs(images: Path) -> None:
    assert check_experiment(tiny(images)) == GOOD
    GOOD.raise_if_any("tiny")


def test_all_mistakes_are_found_at_once_and_no_folder_is_made(images: Path, tmp_path: Path) -> None:
    bad = tiny(
        images,
        recipe="nothing",
        further={"gan": {"name": "bicubic", "set": {"scal": 2}}},
        data={"kind": "folders", "hr": str(tmp_path / "none")},
        train={"network": "small:2", "size": 8, "precision": "fp16"},
        arms=[{"arm": "lr", "precision": "fp32"}, {"arm": "hr"}, {"arm": "bicubic"}],
        quality={"metrics": ["psnr", "sharpness"]},
    )
    found = check_experiment(bad)
    assert [text.partition(":")[0] for text in found.mistakes] == [
        *("recipe", "further.gan", "arms lr", "arms hr, bicubic", "data.hr", "quality.metrics")
    ]
    assert "no recipe is named 'nothing'" in found.mistakes[0]
    assert "network small takes at least 16×16 pixels" in found.mistakes[2]
    assert "fp16 is for CUDA devices" in found.mistakes[3]
    with pytest.raises(ConfigError) as caught:
        found.raise_if_any("tiny")
    assert str(caught.value).count("\n  - ") == 6
    assert list(tmp_path.iterdir()) == []


def test_what_the_machine_lacks_is_no_mistake(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object) -> None:
        raise MissingExtraError("noise", "noise", "engine noise")

    monkeypatch.setattr("srcache.study.experiment.recipes.load_recipe", lack)
    found = check_experiment(tiny(images))
    assert found.mistakes == ()
    assert found.lacking == (f"recipe: {MissingExtraError('noise', 'noise', 'engine noise')}",)
    with pytest.raises(MachineError, match="experiment 'tiny' cannot be run:\n  - recipe: engine noise needs noise"):
        found.raise_if_any("tiny")


def test_a_metric_that_is_optional_may_lack_its_package(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(name: str) -> None:
        raise MissingExtraError("pyiqa", "iqa", name)

    monkeypatch.setattr("srcache.study.quality.pyiqa_metrics.require_metric", lack)
    metrics = ["psnr", "lpips"]
    assert check_experiment(tiny(images, quality={"metrics": metrics, "optional": True})) == GOOD
    (lacking,) = check_experiment(tiny(images, quality={"metrics": metrics})).lacking
    assert lacking.startswith("quality.metrics: lpips needs pyiqa")
