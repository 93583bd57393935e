"""Experiments by name and from files: shipped ones, changes that reach every level, folders relative to the file."""

from pathlib import Path

import pytest
import yaml

from srcache.errors import ConfigError
from srcache.study.experiment.load import load_experiment, shipped_experiments

SHIPPED = ("faces", "few-shot", "mixture", "own-photos", "quickstart", "thesis-as-published", "thesis-corrected")


FACES = {"data.kind": "faces"}


def test_these_are_shipped() -> None:
    assert tuple(shipped_experiments()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_comments_its_choices(name: str) -> None:
    text = shipped_experiments()[name]
    assert text.startswith("# ")
    assert text.count("#") >= 4


def test_the_thesis_is_as_it_was() -> None:
    experiment = load_experiment("thesis-as-published", FACES)
    lr, sr, hr = (arm.settings for arm in experiment.arms)
    assert [arm.arm for arm in experiment.arms] == ["lr", "sr", "hr"]
    assert (lr.network, lr.input_size, lr.learning_rate, lr.batch_size) == ("thesis-lr", (340, 340), 1e-3, 64)
    for settings in (sr, hr):
        found = (settings.network, settings.input_size, settings.learning_rate, settings.batch_size)
        assert found == ("thesis-sr", (1360, 1360), 1e-4, 18)
    for settings in (lr, sr, hr):
        assert (settings.optimizer, settings.rho, settings.epsilon) == ("rmsprop", 0.9, 1e-7)
        assert (settings.epochs, settings.monitor, settings.augmentation) == (120, "last", "thesis")
        assert (settings.schedule, settings.fit, settings.precision) == ("constant", "pad", "amp")
    assert (experiment.degradation.factor, experiment.recipe.name) == (6, "seesr-ccsr-vae")
    assert (experiment.seeds, experiment.compare.correction, experiment.compare.test) == ((0,), "none", "exact")


def test_the_correction_differs_in_images_alone() -> None:
    experiment = load_experiment("thesis-corrected", FACES)
    assert [(arm.name, arm.domain) for arm in experiment.arms] == [
        *(("bicubic", "bicubic"), ("sr", "sr"), ("gan", "gan"), ("hr", "hr"))
    ]
    assert len({arm.settings for arm in experiment.arms}) == 1
    assert experiment.arms[0].settings.monitor == "val_loss"
    assert len(experiment.seeds) == 5
    assert (experiment.compare.correction, experiment.compare.test) == ("holm", "mid-p")
    assert experiment.degradation.factor == 4


def test_changes_reach_every_level() -> None:
    changes = {
        "train.epochs": 2,
        "arms.sr.size": 32,
        "arms.*.network": "small:3",
        "recipe": "lanczos",
        "recipe.set.options.filter": "bilinear",
        "seeds": [7],
        "compare.alpha": 0.01,
        "data.limit": 3,
    }
    experiment = load_experiment("quickstart", changes)
    assert {arm.settings.network for arm in experiment.arms} == {"small:3"}
    assert {arm.settings.epochs for arm in experiment.arms} == {2}
    assert [arm.settings.size for arm in experiment.arms] == [16, 64, 32, 64, 64, 64, 64]
    assert experiment.recipe.name == "lanczos"
    assert experiment.recipe.changes == {"options.filter": "bilinear"}
    assert (experiment.seeds, experiment.compare.alpha, experiment.data.limit) == ((7,), 0.01, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms.st.size": 32}, "there is no arm 'st'"),
        ({"arms.sr": 32}, "expected arms.NAME.SETTING"),
        ({"seeds.first": 1}, "seeds is no mapping"),
    ],
)
def test_changes_that_lead_nowhere_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experiment("quickstart", changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a YAML mapping"),
        ("{}", "arms is missing"),
        ("arms: 3", "arms must be a list"),
    ],
)
def test_files_that_are_no_experiment(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_experiment(path)


def test_names_that_are_nothing() -> None:
    with pytest.raises(ConfigError, match=r"named 'quickstrat'; did you mean quickstart\? use one of faces, few-shot"):
        load_experiment("quickstrat")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment("missing.yaml")


def test_folders_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study").mkdir()
    plain = {"data": {"kind": "folders", "hr": "photos"}, "recipe": "own.yaml", "arms": [{"arm": "lr"}]}
    (tmp_path / "study/mine.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.chdir(tmp_path)
    experiment = load_experiment("study/mine.yaml")
    assert experiment.name == "mine"
    assert experiment.data.hr == str(tmp_path / "study/photos")
    assert experiment.recipe.name == str(tmp_path / "study/own.yaml")
    assert load_experiment("study/mine.yaml", {"data.hr": "other"}).data.hr == str(tmp_path / "other")
