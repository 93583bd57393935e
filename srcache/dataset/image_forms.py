"""An image as a training loop holds it (Pillow image, array, tensor), found in a sample, and given back in its form."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from srcache.errors import ConfigError
from srcache.images import AS_EVER, Colors, Decoded, Pixels, decode_pillow, refuse_in_memory


def swap_image(sample: Any, change: Callable[[Any], Any]) -> Any:
    """The same sample with its image changed; everything else is as it was, and `sample` itself too.

    Args:
        sample: an image, or tuples, lists and dicts that hold one. Of several the first is taken, and Pillow's images
            and torchvision's go before plain arrays and tensors, which may be masks.
        change: makes the image that takes the place.

    Raises:
        ConfigError: there is no image.
    """
    parts = list(_parts(sample))
    images = [part for part in parts if _is_image(part)] or [part for part in parts if _is_array(part)]
    if not images:
        raise ConfigError(
            "expected a Pillow image, an array (H, W, 3) or a tensor (3, H, W), both uint8, but got "
            f"{', '.join(map(_described, parts)) or 'nothing'}; SRAugment must be the first transform"
        )
    return _replaced(sample, images[0], change(images[0]))


def decoded_of(image: Any, colors: Colors = AS_EVER) -> Decoded:
    """The pixels of an image in any form.

    Raises:
        ImageError: they cannot be used; see `images.to_pixels`.
        ConfigError: colours are to be made by the ICC profile, which only a Pillow image may have.
    """
    if not isinstance(image, Image.Image):
        refuse_in_memory(colors)
        array = image if isinstance(image, np.ndarray) else image.detach().cpu().permute(1, 2, 0).numpy()
        image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[-1] == 1 else array))
    return decode_pillow(image, colors)


def as_form_of(image: Any, pixels: Pixels) -> Any:
    """Pixels in the form of an image: of a tensor's class and on its device, an array, or a Pillow image."""
    if isinstance(image, Image.Image):
        return Image.fromarray(pixels)
    own = pixels if pixels.flags.writeable else pixels.copy()
    if isinstance(image, np.ndarray):
        return own
    import torch

    tensor = torch.from_numpy(own).permute(2, 0, 1).contiguous().to(image.device)
    if type(image) is torch.Tensor:
        return tensor
    from torchvision import tv_tensors

    return tv_tensors.wrap(tensor, like=image)


def _parts(sample: Any) -> Any:
    """Everything in a sample, in order."""
    if isinstance(sample, dict | list | tuple):
        for part in sample.values() if isinstance(sample, dict) else sample:
            yield from _parts(part)
    else:
        yield sample


def _replaced(sample: Any, old: Any, new: Any) -> Any:
    """A sample of the same containers, with `new` where `old` was."""
    if sample is old:
        return new
    if isinstance(sample, dict):
        changed = sample.copy()
        changed.update({name: _replaced(part, old, new) for name, part in sample.items()})
        return changed
    if isinstance(sample, list | tuple):
        parts = [_replaced(part, old, new) for part in sample]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return sample


def _is_image(part: Any) -> bool:
    """Whether this is an image by its class: Pillow's, or torchvision's tensor of that name."""
    kind = type(part)
    is_theirs = kind.__module__.startswith("torchvision.") and kind.__name__ == "Image"
    return isinstance(part, Image.Image) or (is_theirs and _is_uint8(part, 0))


def _is_array(part: Any) -> bool:
    """Whether this is an array or a plain tensor that may be an image."""
    kind = type(part)
    if kind is np.ndarray:
        return _is_uint8(part, -1)
    return kind.__module__ == "torch" and kind.__name__ == "Tensor" and _is_uint8(part, 0)


def _is_uint8(part: Any, channels: int) -> bool:
    return part.ndim == 3 and part.shape[channels] in (1, 3, 4) and str(part.dtype).endswith("uint8")


def _described(part: Any) -> str:
    """What kind of thing this is, for a message."""
    shape = f" {tuple(part.shape)} of {part.dtype}" if hasattr(part, "shape") and hasattr(part, "dtype") else ""
    return f"{type(part).__name__}{shape}"
