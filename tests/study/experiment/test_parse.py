"""Experiments from YAML values: every mistake at once, every unknown key refused."""

from pathlib import Path

import pytest
import yaml
from tiny_experiment import tiny

from srcache.errors import ConfigError
from srcache.study.experiment.load import load_experiment
from srcache.study.experiment.parse import read_experiment


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
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
        *("arms.mixed.domain says what it is measured on", "arms.odd.arm", "arms.lost.recipe", "arms.seeded.seed"),
        *("train: optimizer must be one of", "train: epochs must be", "seeds: expected", "quality.metrics"),
        *("quality.channel", "safety.filters", "compare: a correction is one of", "name: expected up to 40 letters"),
    ):
        assert part in said, part


def test_a_filter_needs_label_safety(tmp_path: Path) -> None:
    arms = [{"name": "mixed", "arm": "lr=0.5,sr[safe>0.5]=0.5", "domain": "sr"}]
    with pytest.raises(ConfigError, match=r"safety\.measure"):
        tiny(tmp_path, arms=arms, safety={"measure": False})


def test_the_pair_of_the_question_is_two_of_the_arms(tmp_path: Path) -> None:
    arms = [{"arm": "lr"}, {"arm": "sr"}]
    found = tiny(tmp_path, arms=arms, pair=["sr", "lr"])
    assert found.pair == ("sr", "lr")
    assert read_experiment(found.plain()) == found
    assert tiny(tmp_path, arms=arms).pair is None
    for wrong in (["sr"], ["sr", "sr"], ["sr", "hr"], "sr", {"sr": "lr"}):
        with pytest.raises(ConfigError, match=r"pair: expected two of the arms lr, sr, such as \[sr, lr\], got"):
            tiny(tmp_path, arms=arms, pair=wrong)


def test_ones_own_images_are_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"such as --set data\.hr=photos"):
        load_experiment("thesis-corrected")


def test_a_recipe_that_makes_lr_by_itself_is_refused(tmp_path: Path, images: Path) -> None:
    with pytest.raises(ConfigError, match="leave the degradation to the experiment"):
        tiny(images, recipe={"name": "lanczos", "set": {"degradation": "bicubic/2"}})


def plain_of(**changes: object) -> dict[str, object]:
    data = {"kind": "faces"}
    return {"name": "mine", "data": data, "arms": [{"arm": "lr"}], **changes}


def test_what_is_left_out_has_a_default() -> None:
    experiment = read_experiment(plain_of())
    assert (experiment.recipe.name, experiment.seeds, experiment.device) == ("compact", (0,), "auto")
    assert (experiment.degradation.factor, experiment.safety.measure) == (4, True)
    assert [(arm.name, arm.domain, arm.recipe) for arm in experiment.arms] == [("lr", "lr", "main")]
    assert experiment.arms[0].settings.seed == 0


def test_settings_of_an_arm_win_over_those_of_all() -> None:
    arms = [{"arm": "lr"}, {"arm": "hr", "epochs": 3, "size": 32}]
    lr, hr = read_experiment(plain_of(arms=arms, train={"epochs": 7, "batch_size": 4})).arms
    assert (lr.settings.epochs, lr.settings.size, lr.settings.batch_size) == (7, None, 4)
    assert (hr.settings.epochs, hr.settings.size, hr.settings.batch_size) == (3, 32, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": []}, "arms is missing"),
        ({"train": [1]}, r"train must be a mapping, but is \[1\]"),
        ({"arms": [{"name": "x"}]}, "arms.x must say which arm it is"),
        ({"further": {"sr": "lanczos"}}, "a further recipe needs a name of its own, but one is called 'sr'"),
        ({"recipe": {"name": "lanczos", "set": 3}}, "recipe.set must be a mapping of a recipe's fields, but is 3"),
        ({"data": {"kind": "folders", "hr": "a", "train": "b"}}, "either hr, which is divided by ratios, or train"),
        ({"data": {"kind": "faces", "hr": "a"}}, "data.hr is for kind: folders, but kind is faces"),
        ({"data": {"kind": "faces", "ratios": [0.9, 0.1, 0]}}, "each need a share"),
        ({"data": {"kind": "faces", "validation_share": 1}}, "validation_share must lie between 0 and 1, but is 1"),
        ({"data": {"kind": "faces", "limit": True}}, "data.limit must be an integer or null, but is True"),
        ({"data": {"kind": "faces", "link": "soft"}}, "data.link must be one of copy, hard, but is 'soft'"),
        ({"data": {"longest_side": 3}}, "degradation.factor 4 leaves nothing of images of data.longest_side 3"),
        ({"safety": {"measure": "no"}}, "safety.measure must be true or false, but is 'no'"),
        ({"seeds": [0, -1]}, "seeds: expected a list of different integers of at least 0"),
        ({"question": 3}, "question: expected a text, but got 3"),
        ({"train": {"epochs": 0, "batch_size": 0}}, "train: epochs .*\n  - train: batch_size"),
    ],
)
def test_each_mistake_is_named_with_its_place(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"experiment 'mine' cannot be run:\n(.*\n)*  - .*{words}"):
        read_experiment(plain_of(**changes))


def test_an_arm_with_a_mistake_is_still_one_that_others_may_name():
    """Else one mistake would bring others that are none."""
    arms = [{"arm": "sr", "epochs": 0}, {"arm": "lr"}]
    sweep = {"few": {"over": "per_class", "values": [1, 2], "arms": ["sr"], "beside": {"lr": 1}}}
    with pytest.raises(ConfigError) as caught:
        read_experiment({"name": "mine", "arms": arms, "pair": ["sr", "lr"], "sweep": sweep})
    assert str(caught.value).splitlines()[1:] == ["  - arms.sr: epochs must be an integer of at least 1, but is 0"]


def test_arms_that_cannot_differ_are_refused():
    """Whatever they are called, and however their policy is written; measured on other images they may."""
    arms = [{"name": "a", "arm": "lr=1,sr=3", "domain": "sr"}, {"name": "b", "arm": "lr=0.25,sr=0.75", "domain": "sr"}]
    with pytest.raises(ConfigError, match="arms a and b are the same training, measured on the same images: they can"):
        read_experiment({"name": "mine", "arms": arms})
    arms[1]["domain"] = "hr"
    assert len(read_experiment({"name": "mine", "arms": arms}).arms) == 2
