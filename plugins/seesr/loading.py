"""From files to networks: every tensor of a checkpoint has its place, or there is an error that says which has not."""

import re
from collections.abc import Sequence

from torch import Tensor, nn

from srcache.errors import WeightsError

_SHOWN = 8


def fit(model: nn.Module, tensors: dict[str, Tensor], what: str, surplus: Sequence[str] = ()) -> None:
    """Put a checkpoint's tensors into a model, which takes them over as they are.

    Args:
        model: may be on the meta device.
        tensors: by the model's own names.
        what: names the checkpoint in errors.
        surplus: patterns of names that may be in the checkpoint without a place in the model.

    Raises:
        WeightsError: tensors are missing, have another shape, or have no place and are not expected as surplus.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    strange = [name for name in tensors if name not in wanted and not any(re.fullmatch(each, name) for each in surplus)]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} (expected {tuple(place.shape)})"
        for name, place in wanted.items()
        if name in tensors and tensors[name].shape != place.shape
    ]
    wrong = [
        f"{len(names)} {words}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        for words, names in (("missing", missing), ("without a place", strange), ("of another shape", shapes))
        if names
    ]
    if wrong:
        raise WeightsError(f"{what} does not fit its network; tensors " + "; ".join(wrong))
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=True, assign=True)
