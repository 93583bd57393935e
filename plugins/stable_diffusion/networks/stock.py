"""diffusers' stock models with a checkpoint's tensors.

How they are run is in `denoiser`, which takes them apart; here they are only built and given their weights.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from srcache.errors import WeightsError

from ..checkpoints import fit

_IGNORED = {"use_image_cross_attention"}
"""What settings of SeeSR's say, and diffusers' classes do not know."""


def load_stock(
    kind: type,
    config: Mapping[str, Any],
    tensors: dict[str, Tensor],
    what: str,
    changed: Callable[[Any], Any] = lambda model: model,
) -> Any:
    """A model of diffusers with a checkpoint's tensors.

    Args:
        kind: its class.
        config: as in the checkpoint's config.json.
        tensors: by diffusers' names.
        what: names the checkpoint in errors.
        changed: makes another network of the model before it is given its tensors.

    Raises:
        WeightsError: the checkpoint does not fit.
    """
    with torch.device("meta"):
        model = changed(kind(**known_settings(kind, config)))
    fit(model, tensors, what)
    return model.eval().requires_grad_(False)


def known_settings(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json's settings, less those that mean nothing to the class.

    Raises:
        WeightsError: settings that are switched on, and that the class does not know: it would be another network.
    """
    accepted = inspect.signature(kind).parameters
    settings = {name: value for name, value in config.items() if not name.startswith("_") and name not in _IGNORED}
    unknown = [f"{name}: {value!r}" for name, value in settings.items() if name not in accepted and value]
    if unknown:
        raise WeightsError(f"a config.json for {kind.__name__} has settings that are not known: {', '.join(unknown)}")
    return {name: value for name, value in settings.items() if name in accepted}
