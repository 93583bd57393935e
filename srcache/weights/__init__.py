"""Weights: found by what they are, not by where they lie.

Three kinds. A *checkpoint* is one file of tensors that the user has (`checkpoints`). A *bundle* is the several files
that one engine loads, from several places (`bundles`; `manifests` describe them, `places` are searched, `fetching`
downloads). And an engine may have weights of its own, in its package or another (`engines`). Recipes name the first two
by a digest, so that no other file can take their place unnoticed. Nothing is unpickled but tensors.
"""

from srcache.weights.bundle import find_bundle, locate
from srcache.weights.checkpoint import Adopted, adopt, adopted, find, is_digest, load_tensors, matching, weights_folder
from srcache.weights.download import fetch
from srcache.weights.resolve import require_weights, resolve_weights
from srcache.weights.status import EngineWeights, engine_weights, of_engines

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
