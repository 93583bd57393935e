"""The recipes that an experiment names, loaded, and refused where an experiment cannot use them."""

from srcache.errors import ConfigError
from srcache.recipe.reading import load_recipe
from srcache.recipe.recipe import Recipe
from srcache.study.experiment.config import Experiment


def recipe_of(experiment: Experiment, label: str) -> Recipe:
    """The recipe that arms call `label`.

    Raises:
        ConfigError: no such recipe, mistakes in it, or one that does not fit the experiment's LR images.
        MachineError: its weights, or packages of its engine, are not here.
    """
    choice = experiment.recipes[label]
    recipe = load_recipe(choice.name, choice.changes)
    if recipe.degradation is not None:
        raise ConfigError(
            f"recipe {choice.name} makes LR from HR ({recipe.degradation}), but LR images of an experiment are "
            "files; leave its degradation out, and say it in the experiment's"
        )
    own = experiment.degradation
    if recipe.colors != own.colors:
        raise ConfigError(
            "the recipe and the experiment's degradation need the same color_profile and background, or LR and HR "
            f"have different colours; recipe {choice.name} has {recipe.color_profile} and {recipe.background}, the "
            f"degradation {own.color_profile} and {own.background}"
        )
    enlarged = recipe.scale if recipe.size == "scale" else 1
    if enlarged != own.factor and experiment.quality.resize == "none":
        raise ConfigError(
            f"SR by recipe {choice.name} has {enlarged:g} times the sides of LR, and HR {own.factor} times; change the "
            "recipe's scale or degradation.factor, or say how image quality is measured all the same, such as --set "
            "quality.resize=picture:bicubic"
        )
    return recipe
