"""The networks that are trained: the thesis's two CNNs, a small one, and torchvision's by name.

Each takes images (N, 3, H, W) in [0, 1] and gives logits (N, classes); the softmax is in the loss.

    thesis-lr            eight 3×3 convolutions, each with ReLU and 2×2 max-pooling that rounds up, then dense layers of
                         512, 200 and the classes; for 340×340 pixels: 1,806,234 weights for two classes
    thesis-sr            ten of them, for 1360×1360 pixels: 2,396,442 weights; the thesis uses it for HR and SR
    small, small:WIDTH   four blocks with batch normalisation, for quick runs on a CPU; 12 channels wide by default
    torchvision:NAME     a classification network of torchvision, such as torchvision:resnet18

The thesis's networks start as Keras starts them: Glorot-uniform weights, zero biases. torchvision's are preceded by
the normalisation that its own training used. First weights come from torch's global generator, so seed that.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from srcache.errors import ConfigError, WeightsError, listed

if TYPE_CHECKING:
    from torch import Tensor, nn

SMALLEST = 16
"""The least height and width that `small` takes, in pixels: it halves them four times."""

CHANNELS = {
    "thesis-lr": (64, 64, 128, 128, 256, 128, 256, 128),
    "thesis-sr": (64, 64, 128, 128, 256, 128, 256, 128, 256, 128),
}
"""Outputs of the thesis's convolutions, from the image on."""

DENSE = (512, 200)
WIDTH = 12
_SIZES = {"thesis-lr": 340, "thesis-sr": 1360, "small": 64, "torchvision:inception_v3": 299}
_OTHERS = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def require_name(name: str) -> None:
    """Refuse what is no network's name, as far as can be checked without torchvision.

    Raises:
        ConfigError: it is none.
    """
    kind, colon, rest = name.partition(":")
    width = kind == "small" and colon and rest.isdecimal() and int(rest) > 0
    if name not in (*CHANNELS, "small") and not width and not (kind == "torchvision" and rest):
        raise ConfigError(
            f"network must be thesis-lr, thesis-sr, small, small:WIDTH or torchvision:NAME, but is {name!r}"
        )


def default_size(name: str) -> tuple[int, int]:
    """The (height, width) that a network is meant for."""
    side = _SIZES.get(name) or _SIZES.get(name.partition(":")[0], _OTHERS)
    return side, side


def build_network(
    name: str, classes: int, size: tuple[int, int], weights: "Mapping[str, Tensor] | None" = None
) -> "nn.Module":
    """A network with fresh weights, in training mode, on the CPU.

    Args:
        name: thesis-lr, thesis-sr, small, small:WIDTH or torchvision:NAME.
        classes: how many.
        size: (height, width) of the images, in pixels; the sizes of the thesis's dense layers depend on it.
        weights: of a torchvision network trained on something else; its last layer is replaced by a fresh one.

    Raises:
        ConfigError: no such network, or the images are too small for it.
        WeightsError: the weights are not of this network.
    """
    require_name(name)
    kind, _, rest = name.partition(":")
    if weights is not None and kind != "torchvision":
        raise ConfigError(f"weights of another training can be given for torchvision:NAME only, but network is {name}")
    if kind == "torchvision":
        return _torchvision(rest, classes, size, weights)
    if kind == "small":
        if min(size) < SMALLEST:
            raise ConfigError(f"network small takes at least {SMALLEST}×{SMALLEST} pixels, but size is {size}")
        return small_cnn(classes, int(rest or WIDTH))
    return thesis_cnn(CHANNELS[name], classes, size)


def thesis_cnn(channels: tuple[int, ...], classes: int, size: tuple[int, int]) -> "nn.Module":
    """Convolutions, each followed by ReLU and pooling, then dense layers; Keras' initial weights."""
    from torch import nn

    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((3, *channels)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
    height, width = (_halve(side, len(channels)) for side in size)
    layers.append(nn.Flatten())
    for inputs, outputs in pairwise((channels[-1] * height * width, *DENSE)):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers.append(nn.Linear(DENSE[-1], classes))
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def small_cnn(classes: int, width: int) -> "nn.Module":
    """Four blocks that halve the image, then a mean over what is left.

    The first block halves by stepping over pixels; to compute them all and pool would take as long as all else
    together. Takes any H and W of at least 16 pixels.
    """
    from torch import nn

    class SmallCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(
                _block(3, width, stride=2),
                *(_block(a, b) for a, b in pairwise((width, 2 * width, 4 * width, 4 * width))),
            )
            self.head = nn.Linear(4 * width, classes)

        def forward(self, images: "Tensor") -> "Tensor":
            answers: Tensor = self.head(self.blocks(images - 0.5).mean((-2, -1)))
            return answers

    return SmallCNN()


def uses_batch_statistics(network: "nn.Module") -> bool:
    """Whether a network normalises by the batch, so that a very short batch would mislead it."""
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    return any(isinstance(layer, kinds) for layer in network.modules())


def last_layer(network: "nn.Module") -> "nn.Module":
    """The layer that gives the logits; what goes into it are the features that the decision rests on."""
    from torch import nn

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]


def _halve(side: int, times: int) -> int:
    return -(-side >> times)  # rounded up, as by halving and rounding up so many times


def _block(inputs: int, outputs: int, stride: int = 1) -> "nn.Module":
    from torch import nn

    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    halving = nn.MaxPool2d(2) if stride == 1 else nn.Identity()
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), halving)


def _torchvision(name: str, classes: int, size: tuple[int, int], weights: "Mapping[str, Tensor] | None") -> "nn.Module":
    from torch import nn
    from torchvision import models
    from torchvision.transforms.v2 import Normalize

    known = models.list_models(module=models)
    if name not in known:
        near = get_close_matches(name, known, 5) or known
        raise ConfigError(f"torchvision has no classification network {name!r}; it has {listed(near)}")
    network = models.get_model(name, weights=None, num_classes=classes, **_options(name, size))
    if weights is not None:
        import torch

        with torch.device("meta"):
            other = models.get_model(name, weights=None, num_classes=classes + 1, **_options(name, size))
        _adopt(network, other, weights, name)
    return nn.Sequential(Normalize(_MEAN, _DEVIATION), network)


def _options(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Further arguments of some of torchvision's builders: the size, and no side outputs."""
    if name.startswith("vit_"):
        if size[0] != size[1]:
            raise ConfigError(f"torchvision:{name} takes square images, but size is {size}")
        return {"image_size": size[0]}
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _adopt(network: "nn.Module", other: "nn.Module", weights: "Mapping[str, Tensor]", name: str) -> None:
    """Load all but the last layer, which is what changes its shape with the number of classes."""
    own, varied = network.state_dict(), other.state_dict()
    body = {key for key, value in own.items() if value.shape == varied[key].shape}
    missing = sorted(key for key in body if key not in weights and not key.endswith("num_batches_tracked"))
    wrong = sorted(key for key in body & set(weights) if weights[key].shape != own[key].shape)
    surplus = sorted(key for key in weights if key not in own and not key.startswith(("aux", "AuxLogits")))
    found = {"lack": missing, "have another shape of": wrong, "have besides": surplus}
    wrongs = [f"{what} {len(keys)} ({listed(keys, 3)})" for what, keys in found.items() if keys]
    if wrongs:
        raise WeightsError(f"these are no weights of torchvision:{name}: they {', '.join(wrongs)}")
    network.load_state_dict({**own, **{key: weights[key] for key in body if key in weights}})
