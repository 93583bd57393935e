"""The recipes that an experiment can use."""

import pytest

from srcache.errors import ConfigError
from srcache.study.experiment.parse import read_experiment
from srcache.study.experiment.recipes import recipe_of


def _experiment(**changes):
    return read_experiment({"name": "x", "arms": [{"arm": "lr"}], "recipe": "lanczos", **changes})


def test_each_is_loaded_by_the_name_that_arms_use():
    found = _experiment(further={"box": {"name": "bicubic", "set": {"options.filter": "nearest"}}})
    assert recipe_of(found, "main").name == "lanczos"
    assert (recipe_of(found, "box").name, recipe_of(found, "box").options["filter"]) == ("bicubic", "nearest")


def test_sr_of_another_size_than_hr_needs_a_word_on_how_it_is_measured():
    """It was found out only after all trainings."""
    twice = {"recipe": {"name": "lanczos", "set": {"scale": 2}}}
    with pytest.raises(ConfigError, match="SR by recipe lanczos has 2 times the sides of LR, and HR 4 times; change"):
        recipe_of(_experiment(**twice), "main")
    assert recipe_of(_experiment(**twice, degradation={"factor": 2}), "main").scale == 2
    assert recipe_of(_experiment(**twice, quality={"resize": "picture:bicubic"}), "main").scale == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "nothing"}, "no recipe is named 'nothing'"),
        ({"recipe": {"name": "lanczos", "set": {"color_profile": "srgb"}}}, "need the same color_profile"),
    ],
)
def test_one_that_cannot_be_used_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        recipe_of(_experiment(**changes), "main")


def test_a_recipe_that_makes_lr_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("engine: resample\ndegradation: bicubic/4\n")
    with pytest.raises(ConfigError, match="leave its degradation out"):
        recipe_of(_experiment(recipe=str(tmp_path / "mine.yaml")), "main")
