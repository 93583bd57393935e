"""A recipe's folder in a cache; where the cache lacks the recipe, by the description that an SR service gives of it.

The description comes from a network: it is read by the reader of every recipe file, and used only if the fingerprint
that is computed of it here is the one that was asked for, and that the service says.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from srcache.cache.manifest import Cache, RecipeFolder, create_cache
from srcache.errors import CacheError, RecipeError, ServiceError, listed
from srcache.files.documents import yaml_text
from srcache.recipe.reading import restore
from srcache.recipe.recipe import Recipe
from srcache.service.remote_client import RemoteClient

_MOST_TEXT = 1 << 16
"""Letters that a recipe's description may have."""


def remote_folder(cache: str | Path | Cache, recipe: str | Recipe | None, client: RemoteClient) -> RecipeFolder:
    """A recipe's folder, made if the cache has none of it; the cache itself too, if there is none.

    Args:
        cache: a cache, or a folder that is empty or not there.
        recipe: its name, fingerprint or folder, or the recipe; None for the only one, of the cache or of the service.
        client: asks the service, if the cache lacks the recipe.

    Raises:
        CacheError: several recipes fit, or the service has none that does.
        ServiceError: it does not answer, or what it describes is not what it says.
    """
    opened = cache if isinstance(cache, Cache) else create_cache(cache)
    held = opened.described()
    if held if recipe is None else _fits(held, recipe):
        return opened.find(recipe)
    return opened.add(recipe if isinstance(recipe, Recipe) else fetch_recipe(recipe, client))


def fetch_recipe(wanted: str | None, client: RemoteClient) -> Recipe:
    """A recipe that a service offers, by name, fingerprint or folder; None for the only one.

    Raises:
        CacheError: none or several fit.
        ServiceError: it does not answer, or what it describes is not what it says.
    """
    offered, url = client.recipes().result(), client.remote.url
    titles = [_title(one) for one in offered]
    fits = [one for one in offered if wanted in (None, one.get("name"), one.get("fingerprint"), one.get("folder"))]
    if len(fits) != 1:
        what = "a recipe" if wanted is None else f"recipe {wanted!r}"
        count = "several that fit; say which recipe is meant (--recipe)" if fits else "none such"
        raise CacheError(f"the cache lacks {what}, and the SR service at {url} has {count}: {listed(titles) or 'none'}")
    return _checked(fits[0], wanted, url)


def _fits(held: Sequence[Path], recipe: str | Recipe) -> bool:
    """Whether a cache has a recipe of this name, fingerprint or folder."""
    names = [name for path in held for name in (path.name, *path.name.rpartition("-")[::2])]
    return (recipe.fingerprint if isinstance(recipe, Recipe) else recipe) in names


def _checked(offered: dict[str, Any], wanted: str | None, url: str) -> Recipe:
    """The recipe that is described, if it is the one that the description says it is.

    Raises:
        ServiceError: it is not.
    """
    title = f"{_title(offered)} of the SR service at {url}"
    document = offered.get("document")
    try:
        text = yaml_text(document) if isinstance(document, dict) else ""
        if not 0 < len(text) <= _MOST_TEXT:
            raise ServiceError(f"recipe {title} is described by nothing that could be a recipe")
        recipe = restore(text, f"recipe {title}")
    except (RecipeError, yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ServiceError(f"the description of recipe {title} cannot be used: {error}") from error
    said = (offered.get("fingerprint"), offered.get("folder"), offered.get("name"))
    if said != (recipe.fingerprint, recipe.folder, recipe.name):
        raise ServiceError(
            f"recipe {title} is not what its description says: that has the fingerprint {recipe.fingerprint}, which "
            "an older or newer srcache may compute differently; use the same on both sides"
        )
    return recipe


def _title(offered: dict[str, Any]) -> str:
    """What to call an offered recipe; the text is somebody else's."""
    return "".join(letter for letter in str(offered.get("folder"))[:120] if letter.isprintable())
