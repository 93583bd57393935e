"""Taking the image transform off a data set of anybody's, so that it can be applied after a variant is chosen.

The transform stands in an attribute of the data set, `transform` or `transforms`. In a shallow copy something else
stands there that gives each image back as it is. When the copy is asked for its first item, that shows how the data
set calls its transform: with a Pillow image, an array or a tensor, by position or, as albumentations wants it, by name.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from srcache.errors import CatalogError

Transform = Callable[[Any], Any]


class InForm:
    """A transform of images in another form than Pillow's, as a function of a Pillow image; picklable if it is.

    Attributes:
        inner: the transform as the data set has it.
        form: what it is given: "array" (H, W, 3) or "tensor" (3, H, W), both uint8, or "pillow".
        keyword: the name that the image is given under, and its result found under; None for by position.
    """

    def __init__(self, inner: Transform, form: str, keyword: str | None) -> None:
        self.inner: Callable[..., Any] = inner
        self.form, self.keyword = form, keyword

    def __call__(self, image: Image.Image) -> Any:
        """What the data set would make of the image."""
        given: Any = image
        if self.form != "pillow":
            given = np.array(image)
        if self.form == "tensor":
            import torch

            given = torch.from_numpy(given).permute(2, 0, 1).contiguous()
        if self.keyword is None:
            return self.inner(given)
        return self.inner(**{self.keyword: given})[self.keyword]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r}, {self.form}, {self.keyword})"


class TakenOff:
    """A shallow copy of a data set without its image transform, and that transform.

    Attributes:
        bare: the copy, in which each image comes out as it would go into the transform.

    Raises:
        CatalogError: the transform changes image and target together, or cannot be replaced.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._stand_in = dataset, _StandIn()
        self.bare, self._transform = _bare(dataset, self._stand_in)

    def transform(self) -> Transform | None:
        """The transform as a function of a Pillow image; None if there is none, or the data set does not call it.

        To be asked after the first item of `bare` was.

        Raises:
            CatalogError: the data set gives it more than an image.
        """
        if self._transform is None or (seen := self._stand_in.seen) is None:
            return None
        form, keyword, alone = seen
        if not alone:
            raise CatalogError(_joint(self._dataset))
        plain = form == "pillow" and keyword is None
        return self._transform if plain else InForm(self._transform, form, keyword)

    @property
    def unused(self) -> bool:
        """Whether there is a transform that was not called so far."""
        return self._transform is not None and self._stand_in.seen is None


class _StandIn:
    """Stands where a transform was: gives back what it is given, and keeps how it was called first.

    Attributes:
        seen: (form, keyword, whether an image is all that was given).
    """

    seen: tuple[str, str | None, bool] | None = None

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.seen is None:
            first = (*given, *named.values())[:1]
            keyword = next(iter(named)) if named and not given else None
            self.seen = _form(first[0]) if first else "pillow", keyword, len(given) + len(named) == 1
        if named and not given:
            return named
        return given[0] if len(given) == 1 else given


def _form(image: Any) -> str:
    if isinstance(image, np.ndarray):
        return "array"
    return "tensor" if type(image).__module__.startswith("torch") and hasattr(image, "shape") else "pillow"


def _bare(dataset: Any, stand_in: _StandIn) -> tuple[Any, Transform | None]:
    """A shallow copy with `stand_in` for the image transform, and the transform.

    torchvision keeps `transform` and `target_transform` once more as a pair in `transforms`; of that pair only the
    image's half is replaced. `stand_in` goes in rather than None, for data sets that call without asking.
    """
    bare, transform = copy.copy(dataset), getattr(dataset, "transform", None)
    pair = getattr(dataset, "transforms", None)
    if pair is not None and hasattr(pair, "transform") and hasattr(pair, "target_transform"):
        pair = copy.copy(pair)
        pair.transform = stand_in if pair.transform is not None else None
        _replace(bare, "transforms", pair)
    elif pair is not None:
        if hasattr(dataset, "transform") or hasattr(dataset, "target_transform"):
            raise CatalogError(_joint(dataset))
        transform = pair
        _replace(bare, "transforms", stand_in)
    if getattr(dataset, "transform", None) is not None:
        _replace(bare, "transform", stand_in)
    return bare, transform


def _replace(dataset: Any, name: str, value: Any) -> None:
    try:
        setattr(dataset, name, value)
    except AttributeError as error:
        raise CatalogError(
            f"the {name} of {type(dataset).__name__} cannot be taken off ({error}); pass the data set without it"
        ) from error


def _joint(dataset: Any) -> str:
    return (
        f"{type(dataset).__name__} has `transforms` that change image and target together; there is no way to "
        "apply them after a variant is chosen. Pass the data set without, or with `transform` instead"
    )
