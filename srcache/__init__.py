"""Super-resolve once, train many times.

The public names are loaded when they are first used; importing srcache never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcache.catalog import Catalog as Catalog
    from srcache.catalog import scan as scan
    from srcache.dataset import SRAugmentedDataset as SRAugmentedDataset
    from srcache.engine import EngineInfo as EngineInfo
    from srcache.engine import SREngine as SREngine
    from srcache.errors import SrcacheError as SrcacheError
    from srcache.policy import Policy as Policy
    from srcache.policy import Variant as Variant
    from srcache.recipe import Recipe as Recipe
    from srcache.recipe import load_recipe as load_recipe

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "catalog",
    "EngineInfo": "engine",
    "Policy": "policy",
    "Recipe": "recipe",
    "SRAugmentedDataset": "dataset",
    "SREngine": "engine",
    "SrcacheError": "errors",
    "Variant": "policy",
    "load_recipe": "recipe",
    "scan": "catalog",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'srcache' has no attribute {name!r}")
    return getattr(import_module(f"srcache.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
