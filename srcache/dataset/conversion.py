"""From pixels to what a transform makes of them, without the way through Pillow where it changes nothing.

torchvision's transforms begin with one that makes a tensor of a Pillow image. Where that is the first, the tensor is
made of the pixels themselves. Where those that follow treat every pixel by itself, they give the same for a whole batch
as for its images one by one, so a loader may apply them to batches.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from srcache.catalog.base_transform import InForm
from srcache.images import Pixels

if TYPE_CHECKING:
    from torch import Tensor

Transform = Callable[[Any], Any]

_COMPOSED = ("Compose", "Sequential")
_TO_TENSOR = ("ToTensor", "PILToTensor", "ToImage")
_BY_PIXEL = ("ToDtype", "ConvertImageDtype", "Normalize", "ToPureTensor", "Identity")
_HOMES = ("torchvision.transforms", "torch.nn")


def from_pixels(transform: Transform | None) -> Callable[[Pixels], Any]:
    """A function from pixels to an item: what `transform` gives for the Pillow image of them, or that image itself."""
    steps = _steps(transform) if transform is not None else []
    if steps and (first := _first_step(steps[0])) is not None:
        return _Pipeline((first, *steps[1:]))
    return _ThroughPillow(transform)


def on_batches(transform: Transform | None) -> "Callable[[Tensor], Tensor] | None":
    """What `transform` does to Pillow images, as a function of a batch, uint8 (N, 3, H, W); None if it is no such one.

    It is one if it makes a tensor first, and then only changes types and normalises.
    """
    steps = _steps(transform) if transform is not None else []
    if not steps or _name(steps[0]) not in _TO_TENSOR or not all(map(_is_by_pixel, steps[1:])):
        return None
    return _Pipeline((*((_scaled,) if _name(steps[0]) == "ToTensor" else ()), *steps[1:]))


class _Pipeline:
    """Functions one after another; picklable if they are."""

    def __init__(self, steps: Sequence[Transform]) -> None:
        self._steps = tuple(steps)

    def __call__(self, value: Any) -> Any:
        for step in self._steps:
            value = step(value)
        return value


class _ThroughPillow:
    """A transform of Pillow images; None for these themselves."""

    def __init__(self, transform: Transform | None) -> None:
        self._transform = transform

    def __call__(self, pixels: Pixels) -> Any:
        image = Image.fromarray(pixels)
        return image if self._transform is None else self._transform(image)


def _steps(transform: Any) -> list[Any]:
    """A transform's parts, in order: of torchvision's Compose and torch's Sequential, those in them."""
    if isinstance(transform, InForm):  # those that make tensors of arrays make the same of Pillow images
        inner = _steps(transform.inner) if (transform.form, transform.keyword) == ("array", None) else [None]
        return inner if inner and _name(inner[0]) in ("ToTensor", "ToImage") else [transform]
    name = _name(transform)
    if name not in _COMPOSED:
        return [transform]
    parts = transform.transforms if name == "Compose" else transform.children()
    return [step for part in parts for step in _steps(part)]


def _name(transform: Any) -> str:
    """The class's name of one of torch's or torchvision's own transforms; empty for any other, subclasses too."""
    kind = type(transform)
    return kind.__name__ if kind.__module__.startswith(_HOMES) else ""


def _is_by_pixel(step: Any) -> bool:
    return _name(step) in _BY_PIXEL and not isinstance(getattr(step, "dtype", None), dict)


def _first_step(step: Any) -> Callable[[Pixels], Any] | None:
    """What makes a tensor of pixels as this transform does of a Pillow image; None if it is none that does."""
    return {"ToTensor": _to_scaled, "PILToTensor": _to_tensor, "ToImage": _to_image}.get(_name(step))


def _to_tensor(pixels: Pixels) -> "Tensor":
    """uint8 (3, H, W), of pixels that are nobody else's."""
    import torch

    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)


def _to_image(pixels: Pixels) -> Any:
    from torchvision import tv_tensors

    return tv_tensors.Image(_to_tensor(pixels))


def _to_scaled(pixels: Pixels) -> "Tensor":
    return _scaled(_to_tensor(pixels).contiguous())


def _scaled(images: "Tensor") -> "Tensor":
    """Numbers from 0 to 1 of torch's default type, as `ToTensor` computes them."""
    import torch

    return images.to(dtype=torch.get_default_dtype()).div(255)
