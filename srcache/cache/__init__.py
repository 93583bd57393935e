"""A cache directory: a folder for each recipe, the catalogs it was built from, receipts and journals of failures."""

from srcache.cache.failures import FailedEntry as FailedEntry
from srcache.cache.failures import failures_by_reason as failures_by_reason
from srcache.cache.manifest import Cache as Cache
from srcache.cache.manifest import RecipeFolder as RecipeFolder
from srcache.cache.manifest import create_cache as create_cache
from srcache.cache.manifest import is_cache as is_cache
from srcache.cache.manifest import open_cache as open_cache
