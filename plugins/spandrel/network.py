"""A network that spandrel makes of a checkpoint's tensors: what it can do, and how it runs on images of any size."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from srcache.engine.interface import Failure, Setup, Upscaled
from srcache.engine.running import allow_many_shapes, on_device
from srcache.engine.tiles import upscale_tiled
from srcache.errors import EngineError, needs_extra

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PRECISIONS = ("fp32", "bf16", "fp16")
SMALLEST = 16
"""Sides in pixels below which an image is filled up by repeating its border before the network sees it: networks pad by
reflection, which an image of a few pixels does not allow."""

PREFIXES = ("_orig_mod.", "module.", "model.", "net_g.", "netG.", "generator.", "net.")
"""What frameworks put before the names of a network's tensors, which may share a file with others then: torch.compile,
data parallelism, Lightning, and trainers of GANs."""

TILES_AT_ONCE = 4
"""Tiles in one call of the network."""

FULL_PIXELS = 65536
"""Pixels of LR images in one call that just fill a GPU: four of 128x128, each of which gives a convolution as many
tiles of work as an H100 has processors. An estimate, not measured."""


class SpandrelNetwork:
    """A network that spandrel made of a checkpoint's tensors, ready to run on a device, in a precision, tiled or not.

    A network that draws noise (AuraSR does) is found out when it has drawn: torch's generators have moved. From then on
    images are run one by one, each with its generators set to the image's seed.

    Args:
        tensors: the checkpoint's.
        setup: what the engine is built with.

    Attributes:
        draws: whether the network was seen to draw noise.

    Raises:
        MissingExtraError: spandrel is not installed.
        EngineError: the tensors are no SR network for RGB, or it cannot do what the setup asks for.
    """

    def __init__(self, tensors: "dict[str, Tensor]", setup: Setup) -> None:
        import torch

        self._model = detect(tensors)
        _require_fit(self._model, setup)
        self._tiling, self._scale = setup.tiling, self._model.scale
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[setup.precision]
        self._device = torch.device(setup.device)
        self._model.to(self._device, self._dtype).eval()
        if self._device.type == "cuda":
            self._model.model.to(memory_format=torch.channels_last)
        self._place, self._compiled = setup.device, setup.compiled
        if setup.compiled:
            self._model.model.compile(dynamic=False)  # each shape by itself, whatever shapes came before it
        self.draws = False

    def upscale(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        """Float tensor (N, 3, H, W) in [0, 1] and a seed for each image → one outcome per image."""
        if self._compiled:
            allow_many_shapes()
        with on_device(self._place):
            return self._outcomes(images, seeds)

    def _outcomes(self, images: "Tensor", seeds: Sequence[int]) -> list[Upscaled | Failure]:
        if not self.draws:
            before = self._generators()
            outcomes = self._run(images)
            self.draws = not _equal(before, self._generators())
            if not self.draws:
                return outcomes
        return [self._seeded(image[None], seed) for image, seed in zip(images, seeds, strict=True)]

    def width(self, height: int, width: int, most: int) -> int:
        """How many images of a size one call should have; tiled ones go through the network one by one."""
        if self._device.type == "cpu":
            return most
        return 1 if self._tiling or self.draws else max(1, min(most, FULL_PIXELS // (height * width)))

    def _seeded(self, image: "Tensor", seed: int) -> Upscaled | Failure:
        """One image, with noise from its seed alone; the generators are left as they were."""
        import torch

        before = self._generators()
        torch.manual_seed(seed)
        try:
            return self._run(image)[0]
        finally:
            torch.random.set_rng_state(before[0])
            for state in before[1:]:
                torch.get_device_module(self._device.type).set_rng_state(state, *self._numbered())

    def _generators(self) -> "list[Tensor]":
        """The states of the generators that a network may draw from."""
        import torch

        states = [torch.random.get_rng_state()]
        if self._device.type != "cpu":
            states.append(torch.get_device_module(self._device.type).get_rng_state(*self._numbered()))
        return states

    def _numbered(self) -> "list[torch.device]":
        """The device, for functions of torch that take it where there may be several of a kind."""
        return [] if self._device.type == "mps" else [self._device]

    def _run(self, images: "Tensor") -> list[Upscaled | Failure]:
        ready = images.to(self._device, self._dtype)
        if self._tiling is None:
            parts = [image[None] for image in ready] if self._device.type == "cpu" else [ready]
            return [Upscaled(image.float()) for part in parts for image in self._call(part)]
        return [
            Upscaled(upscale_tiled(image, self._tiling, self._scale, self._tile, TILES_AT_ONCE).clamp(0, 1))
            for image in ready
        ]

    def _tile(self, tiles: "Tensor") -> "Tensor":
        return self._call(tiles).float()

    def _call(self, images: "Tensor") -> "Tensor":
        """Run the network on images of any size, which are filled up by repeating the border, and cut again.

        The network gets a copy, because some networks (RCAN) write into their input.
        """
        from torch.nn.functional import pad

        height, width = images.shape[-2:]
        tall, wide = _allowed_size(self._model.size_requirements, height, width)
        filled = pad(images.float(), (0, wide - width, 0, tall - height), mode="replicate")
        filled = filled.to(images.dtype, copy=True)
        upscaled: Tensor = self._model(filled)[..., : height * self._scale, : width * self._scale]
        return upscaled


def _equal(first: "Sequence[Tensor]", second: "Sequence[Tensor]") -> bool:
    import torch

    return all(map(torch.equal, first, second))


def detect(tensors: "dict[str, Tensor]") -> Any:
    """The network that spandrel recognises in a checkpoint, as it is or without what frameworks put before its names.

    Raises:
        MissingExtraError: spandrel is not installed.
        EngineError: it recognises none, or no SR network for RGB.
    """
    try:
        return _detect(tensors)
    except EngineError:
        for prefix in PREFIXES:
            inner = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            if inner:
                with suppress(EngineError):
                    return detect(inner)
        raise


def _detect(tensors: "dict[str, Tensor]") -> Any:
    """The network that spandrel recognises in tensors of just these names.

    Raises:
        MissingExtraError: spandrel is not installed.
        EngineError: it recognises none, or no SR network for RGB.
    """
    with needs_extra("spandrel", "spandrel", "running a checkpoint"):
        import spandrel
    names = ", ".join(sorted(tensors)[:5])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what torch will change in a later version
            model = spandrel.ModelLoader(device="cpu").load_from_state_dict(tensors)
    except spandrel.UnsupportedModelError as error:
        raise EngineError(f"spandrel knows no architecture with such tensors ({names} …)") from error
    except Exception as error:  # half a checkpoint can break its loaders in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise EngineError(f"spandrel cannot load these tensors ({names} …): {reason}") from error
    found = f"a {model.architecture.name} for {model.purpose}"
    if model.purpose != "SR":
        raise EngineError(f"expected a checkpoint for SR, but got {found}")
    if (model.input_channels, model.output_channels) != (3, 3):
        raise EngineError(
            f"expected a network from one RGB image to another, but got {found} with "
            f"{model.input_channels} channels in and {model.output_channels} out"
        )
    return model


def _require_fit(model: Any, setup: Setup) -> None:
    """Refuse a recipe that asks for what the checkpoint cannot do.

    Raises:
        EngineError: with what to change.
    """
    name = model.architecture.name
    if setup.scale != model.scale:
        raise EngineError(f"the checkpoint ({name}) enlarges by {model.scale}, but the recipe's scale is {setup.scale}")
    halves = {"fp16": model.supports_half, "bf16": model.supports_bfloat16}
    if not halves.get(setup.precision, True):
        raise EngineError(f"the checkpoint ({name}) does not run in {setup.precision}; use another precision")
    if setup.tiling and model.tiling.name != "SUPPORTED":
        raise EngineError(
            f"spandrel advises against tiles for the checkpoint ({name}: tiling {model.tiling.name.lower()}), because "
            "such networks look at the entire image; leave tiling out"
        )


def _allowed_size(rules: Any, height: int, width: int) -> tuple[int, int]:
    """The smallest (height, width), not below the given one, that a network takes."""
    least, step = max(rules.minimum, SMALLEST), max(1, rules.multiple_of)
    tall, wide = (-(-max(side, least) // step) * step for side in (height, width))
    return (max(tall, wide), max(tall, wide)) if rules.square else (tall, wide)
