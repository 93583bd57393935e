"""Weights: found by what they are, not by where they lie.

Three kinds. A *checkpoint* is one file of tensors that the user has (`checkpoints`). A *bundle* is the several files
that one engine loads, from several places (`bundles`; `manifests` describe them, `places` are searched, `fetching`
downloads). And an engine may have weights of its own, in its package or another (`engines`). Recipes name the first two
by a digest, so that no other file can take their place unnoticed. Nothing is unpickled but tensors.
"""

from srcache.weights.bundles import find_bundle, locate
from srcache.weights.checkpoints import (
    Adopted,
    adopt,
    adopted,
    find,
    is_digest,
    load_tensors,
    matching,
    weights_folder,
)
from srcache.weights.engines import EngineWeights, engine_weights, of_engines
from srcache.weights.fetching import fetch
from srcache.weights.naming import require_weights, resolve_weights

__all__ = [
    "Adopted",
    "EngineWeights",
    "adopt",
    "adopted",
    "engine_weights",
    "fetch",
    "find",
    "find_bundle",
    "is_digest",
    "load_tensors",
    "locate",
    "matching",
    "of_engines",
    "require_weights",
    "resolve_weights",
    "weights_folder",
]
