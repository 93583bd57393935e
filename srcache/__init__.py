"""Super-resolve once, train many times.

The public names are loaded when they are first used; importing srcache never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcache.catalog.rows import Catalog as Catalog
    from srcache.catalog.scanning import scan as scan
    from srcache.dataset.augmented import SRAugmentedDataset as SRAugmentedDataset
    from srcache.dataset.policy import Policy as Policy
    from srcache.dataset.policy import Variant as Variant
    from srcache.dataset.transform import SRAugment as SRAugment
    from srcache.engine.interface import EngineInfo as EngineInfo
    from srcache.engine.interface import SREngine as SREngine
    from srcache.errors import SrcacheError as SrcacheError
    from srcache.loader.loader import SRLoader as SRLoader
    from srcache.recipe.reading import load_recipe as load_recipe
    from srcache.recipe.recipe import Recipe as Recipe
    from srcache.service.remote import RemoteService as RemoteService

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "catalog.rows",
    "EngineInfo": "engine.interface",
    "Policy": "dataset.policy",
    "Recipe": "recipe.recipe",
    "RemoteService": "service.remote",
    "SRAugment": "dataset.transform",
    "SRAugmentedDataset": "dataset.augmented",
    "SREngine": "engine.interface",
    "SRLoader": "loader.loader",
    "SrcacheError": "errors",
    "Variant": "dataset.policy",
    "load_recipe": "recipe.reading",
    "scan": "catalog.scanning",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'srcache' has no attribute {name!r}")
    return getattr(import_module(f"srcache.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
