"""Recipes: everything that may change a pixel of an SR image, read from YAML, and named by a fingerprint."""

from srcache.recipe.degradation import Degradation as Degradation
from srcache.recipe.reading import dump as dump
from srcache.recipe.reading import load_recipe as load_recipe
from srcache.recipe.reading import require_engine as require_engine
from srcache.recipe.reading import resolve as resolve
from srcache.recipe.reading import restore as restore
from srcache.recipe.reading import shipped_recipes as shipped_recipes
from srcache.recipe.recipe import Recipe as Recipe
