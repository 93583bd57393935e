"""Convolutions that choose their own cuDNN settings, so that no setting of the process has to be changed for them.

The settings make an image's bits the same at each call and at every place of a batch: no algorithm is chosen by timing,
none adds up in an order of chance, and none rounds to TF32. torch has them for the whole process, and a training loop
beside the engine may want others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_BENCHMARK, _DETERMINISTIC, _ENABLED, _TF32 = False, True, True, False


class ExactConv2d(nn.Conv2d):
    """A Conv2d that computes the same bits each time, whatever torch.backends.cudnn says."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        found: Tensor = torch.ops.aten._convolution.default(
            *(input, weight, bias, self.stride, self.padding, self.dilation, False, [0, 0], self.groups),
            *(_BENCHMARK, _DETERMINISTIC, _ENABLED, _TF32),
        )
        return found


def make_exact(network: Any) -> Any:
    """Make all convolutions of a network, in two dimensions and filled up with zeros, exact; returns the network."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = ExactConv2d
    return network


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """The same settings for the whole process, for code that cannot say them itself."""
    with torch.backends.cudnn.flags(
        enabled=_ENABLED, benchmark=_BENCHMARK, deterministic=_DETERMINISTIC, allow_tf32=_TF32
    ):
        yield
