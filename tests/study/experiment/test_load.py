"""Experiments as people write them: shipped ones, files, changes; every mistake at once, every unknown key refused."""

import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from srcache_cli.main import cli, run
from tiny_experiment import make_pictures, tiny

from srcache.errors import ConfigError
from srcache.study.experiment.load import load_experiment, read_experiment, shipped_experiments

SHIPPED = ("faces", "quickstart", "thesis-as-published", "thesis-corrected")
FACES = {"data.kind": "faces"}


def test_these_are_shipped() -> None:
    assert tuple(shipped_experiments()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_experiment_reads_back_the_same_once_it_is_spelt_out(name: str) -> None:
    experiment = load_experiment(name, FACES)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert read_experiment(yaml.safe_load(yaml.safe_dump(experiment.plain()))) == experiment


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


def test_the_correction_differs_in_pictures_alone() -> None:
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
    assert [arm.settings.size for arm in experiment.arms] == [16, 64, 32, 64]
    assert experiment.recipe.name == "lanczos"
    assert experiment.recipe.changes == {"options.filter": "bilinear"}
    assert (experiment.seeds, experiment.compare.alpha, experiment.data.limit) == ((7,), 0.01, 3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms.st.size": 32}, "there is no arm 'st'"),
        ({"arms.sr": 32}, "expected arms.NAME.SETTING"),
        ({"seeds.first": 1}, "seeds is no mapping"),
    ],
)
def test_changes_that_lead_nowhere_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_experiment("quickstart", changes)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    plain = {
        "name": "a/b",
        "trian": {},
        "data": {"kind": "photos", "limit": 0, "raitos": [1]},
        "degradation": {"factor": 1},
        "recipe": {"nam": "compact"},
        "arms": [
            {"arm": "sr", "sise": 4},
            {"name": "SR", "arm": "sr"},
            {"name": "mixed", "arm": "lr=0.5,sr=0.5"},
            {"name": "odd", "arm": "xr"},
            {"name": "lost", "arm": "sr", "recipe": "gan"},
            {"name": "seeded", "arm": "hr", "seed": 3},
        ],
        "train": {"optimizer": "adam", "epochs": 0},
        "seeds": [1, 1],
        "quality": {"metrics": "psnr", "channel": "z"},
        "safety": {"filters": ["safe>"]},
        "compare": {"correction": "hoolm"},
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    said = str(caught.value)
    for part in (
        *("there is no trian", "there is no data.raitos", "data.kind must be one of", "data.limit must be"),
        *("degradation: ", "recipe must be a recipe's name", "no setting 'sise'", "two arms are called sr"),
        *("arms.mixed.domain says what it is judged on", "arms.odd.arm", "arms.lost.recipe", "arms.seeded.seed"),
        *("train: optimizer must be one of", "train: epochs must be", "seeds: expected", "quality.metrics"),
        *("quality.channel", "safety.filters", "compare: a correction is one of", "name: expected up to 40 letters"),
    ):
        assert part in said, part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a YAML mapping"),
        ("{}", "arms is missing"),
        ("arms: 3", "arms must be a list"),
    ],
)
def test_files_that_are_no_experiment(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_experiment(path)


def test_names_that_are_nothing() -> None:
    with pytest.raises(ConfigError, match="no experiment is named 'quickstrat'; use one of faces, quickstart"):
        load_experiment("quickstrat")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_experiment("missing.yaml")


def test_ones_own_pictures_are_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"such as --set data\.hr=photos"):
        load_experiment("thesis-corrected")


def test_a_filter_needs_label_safety(tmp_path: Path) -> None:
    arms = [{"name": "mixed", "arm": "lr=0.5,sr[safe>0.5]=0.5", "domain": "sr"}]
    with pytest.raises(ConfigError, match=r"safety\.measure"):
        tiny(tmp_path, arms=arms, safety={"measure": False})


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


# The command line


def test_the_command_writes_a_document_and_tells_failures(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / "test/down/down-1.png").write_bytes(b"no picture")
    experiment = tiny(folder, seeds=[0], arms=[{"arm": "lr"}, {"arm": "hr"}])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(experiment.plain()))
    words = ["experiment", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]
    words += ["--set", "train.epochs=1", "--jobs", "1"]
    said = CliRunner().invoke(cli, [*words, "--json"], standalone_mode=False)
    assert said.return_value == 1
    document = yaml.safe_load(said.stdout)
    assert (document["schema"], document["ok"]) == ("srcache.experiment/1", False)
    assert set(document["result"]) == {
        *("out", "results", "report", "verdict", "arms", "grid", "trained", "reused", "seconds")
    }
    assert [failure["source"] for failure in document["failures"]] == ["test/down/down-1.png"]
    assert "training hr, seed 0: epoch  1 of 1" in said.stderr
    said = CliRunner().invoke(cli, words, standalone_mode=False)
    assert said.return_value == 1
    assert "Verdict: " in said.stdout
    assert "One seed alone" in said.stdout
    assert "0 networks trained, 2 there already" in said.stdout
    assert "1 picture could not be used" in said.stderr
    assert "unreadable" in said.stderr or "down-1.png" in said.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [(["nothing", "--out", "out"], 2), (["quickstart"], 2), (["quickstart", "--out", "out", "--set", "a"], 2)],
)
def test_mistakes_end_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["experiment", *words]) == code
    assert os.listdir(tmp_path) == []
