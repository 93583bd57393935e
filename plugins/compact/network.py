"""The network of `compact`: EDSR's residual blocks, a sub-pixel head, and a bicubic enlargement that it corrects.

Published parts, in a small size: residual blocks without batch normalisation and the long skip around them (Lim et
al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", 2017, arXiv:1707.02921); all convolutions at
low resolution and one pixel shuffle at the end (Shi et al., 2016, arXiv:1609.05158); only the difference to the bicubic
enlargement is learned (Kim et al., VDSR, 2016, arXiv:1511.04587). Needs torch; `compact` itself imports it late.
"""

from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

WIDTH = 48
BLOCKS = 6


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, a ReLU between them, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, H, W) → the same shape."""
        corrected: Tensor = features + self.second(relu(self.first(features), inplace=True))
        return corrected


class CompactNet(nn.Module):
    """RGB in [0, 1] of any size from 1×1 → `scale` times the size; not clamped."""

    def __init__(self, scale: int, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 3 * scale * scale, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 3, H * scale, W * scale), float32."""
        features = self.head((images - 0.5).to(self.head.weight.dtype))
        features = features + self.tail(self.body(features))
        residual: Tensor = self.shuffle(self.out(features))
        return enlarged(images.float(), self.scale) + residual.float()


def enlarged(images: Tensor, scale: int) -> Tensor:
    """Bicubic with Pillow's kernel (a = -0.5), which torch has only in its antialiased form."""
    return interpolate(images, scale_factor=float(scale), mode="bicubic", antialias=True)


def load_network(file: Path | Traversable, scale: int) -> CompactNet:
    """A network of one scale from its safetensors file (fp16), in float32 and for inference.

    Raises:
        RuntimeError: the file holds another network.
    """
    tensors = {name: tensor.float() for name, tensor in load_tensors(file.read_bytes()).items()}
    network = CompactNet(scale)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
