"""Everything that may change a pixel: Recipe, load_recipe, resolve, restore, Degradation."""

from srcache.recipe.degradation import Degradation as Degradation
from srcache.recipe.reading import dump as dump
from srcache.recipe.reading import load_recipe as load_recipe
from srcache.recipe.reading import resolve as resolve
from srcache.recipe.reading import restore as restore
from srcache.recipe.reading import shipped_recipes as shipped_recipes
from srcache.recipe.recipe import Recipe as Recipe
