"""Weights: found by what they are, not by where they lie.

Three kinds. A *checkpoint* is one file of tensors that the user has (`checkpoint`). A *bundle* is the several files
that one engine loads, from several places (`bundle`): a `manifest` says which they are, `search` finds them on this
machine, `download` brings them from the Hugging Face `hub`, and `digests` records what was found. And an engine may
have weights of its own, in its package or another (`status` looks at all of them). Recipes name the first two by a
digest (`resolve`), so that no other file can take their place unnoticed. Nothing is unpickled but tensors.
"""

from srcache.files.documents import parse_json as parse_json
from srcache.weights.bundle import find_bundle as find_bundle
from srcache.weights.bundle import locate as locate
from srcache.weights.checkpoint import Adopted as Adopted
from srcache.weights.checkpoint import adopt as adopt
from srcache.weights.checkpoint import adopted as adopted
from srcache.weights.checkpoint import check_of as check_of
from srcache.weights.checkpoint import find as find
from srcache.weights.checkpoint import is_digest as is_digest
from srcache.weights.checkpoint import load_tensors as load_tensors
from srcache.weights.checkpoint import matching as matching
from srcache.weights.checkpoint import weights_folder as weights_folder
from srcache.weights.download import fetch as fetch
from srcache.weights.resolve import require_weights as require_weights
from srcache.weights.resolve import resolve_weights as resolve_weights
from srcache.weights.status import EngineWeights as EngineWeights
from srcache.weights.status import engine_weights as engine_weights
from srcache.weights.status import of_engines as of_engines
