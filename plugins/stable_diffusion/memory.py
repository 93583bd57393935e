"""How much of a device's memory a batch takes, found by running the batch on tensors without data.

The engine's own code runs once, with one sampling step, on PyTorch's meta device; whatever it allocates is entered in
a ledger until nothing refers to it any more. So the figure follows the code. It costs some tenths of a second for a
shape, because networks repeat themselves: the shape of a result is worked out once for all operations that are alike,
and what a network takes once for all its calls on inputs that are alike, of whatever image.

What such a run cannot see is stated here and added: the libraries' workspaces, the gaps between blocks of memory, and
what recorded calls keep aside (the largest peak of one, and copies of the inputs of each). Two things are set as they
are on a GPU, because the meta device does them otherwise: attention runs in a kernel that keeps no table of all pairs,
and a convolution with channels last copies an input that is not. Not in it: the driver's own context (about 0.5 GB),
recordings of other shapes, and the second decoder that is made if half precision overflows.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .geometry import resize_steps
from .ledger import Ledger
from .networks.vae import Act, Autoencoder
from .networks.vae_tiles import Moments, measure_moments

if TYPE_CHECKING:
    from .networks.tagger import Tagger
    from .networks.text import TextEncoder
    from .pipeline import Pipeline, Settings

LIBRARIES = 512 * 2**20
"""Bytes for workspaces of cuBLAS (32 MiB for each stream on Hopper) and cuDNN."""

GAPS = 0.1
"""What is lost between blocks, as a share of all that is no weight."""

_PLUGINS = __name__.partition(".")[0] + "."
"""How the modules of all plug-ins are called."""

_KEPT = 4096
"""Sizes of images and batches whose memory is remembered."""

_PLAIN_HEADS = 128
"""The widest attention head whose sum needs no float32 copy beside an output in half precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that a batch takes.

    Attributes:
        weights: of all networks.
        tensors: the most that is alive at once, weights included; what `torch.cuda.max_memory_allocated` reports.
        recorded: what recordings keep aside while something else runs.
        reserved: the most that is taken at once, recordings included.
        allowance: what is added for what cannot be seen.
    """

    weights: int
    tensors: int
    recorded: int
    reserved: int
    allowance: int

    @property
    def total(self) -> int:
        """What the device must have free."""
        return self.reserved + self.allowance


class MemoryPredictor:
    """What batches take on the device that networks are on, or would take if they are on the meta device.

    Each size and batch is worked out once.

    Args:
        kind: of the pipeline.
        networks: loaded; they are not touched.
        settings: as the pipeline has them.
        in_graphs: whether the inner call and the VAE are run from CUDA graphs, see `cuda_graphs`.
    """

    def __init__(self, kind: "type[Pipeline]", networks: Any, settings: "Settings", *, in_graphs: bool) -> None:
        self._settings, self._in_graphs = settings.shortest(), in_graphs
        self._known, self._ledger = dict[tuple[int, int, int], Memory](), Ledger()
        with torch.inference_mode(False):
            twin = _on_meta(networks)
        with _walk(self._ledger):
            for tensor in _all_tensors(twin):
                self._ledger.enter(tensor)
            self._weights = self._ledger.live
            twin = _stand_ins(twin, self._ledger)
            if in_graphs:
                twin.vae.run_by(self._ledger.recorded_call)
            self._pipeline = kind(twin, self._settings, torch.device("meta"), "meta")
        self._opening = self._ledger.peak

    def predicted(self, height: int, width: int, batch: int) -> Memory:
        """What a call on `batch` LR images of this size takes."""
        asked = height, width, batch
        if asked not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[asked] = self._worked_out(*asked)
        return self._known[asked]

    def _worked_out(self, height: int, width: int, batch: int) -> Memory:
        from .pipeline import Prepared

        ledger, pipeline, weights = self._ledger, self._pipeline, self._weights
        sides = resize_steps(height, width, self._settings.scale, self._settings.process_size)[-1]
        images, control = (
            torch.zeros(1, dtype=dtype).expand(batch, 3, *size)
            for size, dtype in (((height, width), torch.float32), (sides, torch.uint8))
        )
        with _walk(ledger):
            predict = ledger.repeated(pipeline.inner.predict)
            pipeline.inner.run = ledger.recorded_call(predict) if self._in_graphs else predict
            pipeline.compute(Prepared(images, control), [0] * batch)
        inner, kept, peak = ledger.inner, ledger.inputs, max(ledger.peak, self._opening)
        reserved = peak + inner + kept
        tensors = max(peak, ledger.peak_inner) + kept
        spare = int(LIBRARIES + GAPS * (reserved - weights))
        return Memory(weights=weights, tensors=tensors, recorded=inner + kept, reserved=reserved, allowance=spare)


@contextmanager
def _walk(ledger: "Ledger") -> Iterator[None]:
    """Enter in a ledger what is allocated within, as a GPU's kernels would."""
    ledger.restart()
    plain = torch.inference_mode(False)  # in inference mode, calls would come in coarser pieces
    with plain, torch.no_grad(), _GPUAttention(ledger), ledger:
        yield


class _GPUAttention(TorchFunctionMode):
    """Attention as a GPU's kernels use memory: an output, its heads behind each other, and nothing between.

    Also, numbers that the host reads from the device are zeros.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist and args[0].device.type == "meta":
            return torch.zeros(args[0].shape, dtype=args[0].dtype).tolist()
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        named = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
        query, value = named["query"], named["value"]
        *rows, heads, length = query.shape[:-1]
        found = query.new_empty((*rows, length, heads, value.shape[-1])).transpose(-2, -3)
        if value.shape[-1] > _PLAIN_HEADS and value.dtype != torch.float32:
            self._ledger.count_workspace(4 * found.numel())
        return found


class _MetaTagger:
    """A tagger that finds no tags: `Tagger` itself asks for autocast, which the meta device does not have."""

    def __init__(self, tagger: "Tagger", ledger: Ledger) -> None:
        self._prepared = tagger.prepared
        self._embeds, self._logits = ledger.repeated(tagger.network.embeds), ledger.repeated(tagger.network.logits)

    def __call__(self, images: Tensor) -> tuple[list[str], Tensor]:
        embeds = self._embeds(self._prepared(images))
        self._logits(embeds).sigmoid()
        return [""] * len(images), embeds


class _MetaTextEncoder:
    """A text encoder that reads no words: `TextEncoder` itself asks for autocast, which the meta device lacks."""

    def __init__(self, text: "TextEncoder", ledger: Ledger) -> None:
        self._width, self._length = text.width, text.model.config.max_position_embeddings
        self._states = ledger.repeated(lambda tokens: text.model(input_ids=tokens).last_hidden_state)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        tokens = torch.zeros((self._width, self._length), dtype=torch.int64, device="meta")
        calls = [self._states(tokens) for _ in range(0, len(prompts), self._width)]
        return torch.cat(calls)[: len(prompts)].clone()


class _MetaAutoencoder(Autoencoder):
    """A VAE of which the first call for a batch stands for all: they are alike, and only their results remain."""

    ledger: Ledger

    def _in_calls(self, ready: list[Tensor], act: Act) -> Tensor:
        first, needed = self.ledger.measured(act, ready[0])
        found = [first]
        for _ in ready[1:]:
            self.ledger.count_workspace(needed)
            found.append(torch.empty_like(first))
        return torch.cat(found)


def _moments(tile: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    found = measure_moments(tile, groups)
    return found.mean, found.variance


def _repeated_moments(moments: Callable[..., Any], tile: Tensor, groups: int) -> Moments:
    mean, variance = moments(tile, groups)
    return Moments(mean, variance, tile.shape[-2] * tile.shape[-1])


def _stand_ins(twin: Any, ledger: Ledger) -> Any:
    """Networks on the meta device that can be run there."""
    twin.vae.__class__, moments = _MetaAutoencoder, ledger.repeated(_moments)
    assert isinstance(twin.vae, _MetaAutoencoder)
    twin.vae.ledger, twin.vae.measure = ledger, partial(_repeated_moments, moments)
    text, tagger = _MetaTextEncoder(twin.text, ledger), _MetaTagger(twin.tagger, ledger)
    return replace(twin, tagger=tagger, text=text)


def _on_meta(networks: Any) -> Any:
    """A copy of all networks on the meta device, laid out as they are."""
    memo: dict[int, Any] = {}
    for tensor in _all_tensors(networks):
        twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        memo[id(tensor)] = nn.Parameter(twin, requires_grad=False) if isinstance(tensor, nn.Parameter) else twin
    return copy.deepcopy(networks, memo)


def _all_tensors(thing: Any) -> Iterator[Tensor]:
    """All tensors that an object of a plug-in, or of a class derived from one, holds, however deep."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, nn.Module):
        yield from (*thing.parameters(), *thing.buffers())
    elif isinstance(thing, Mapping | list | tuple):
        for each in thing.values() if isinstance(thing, Mapping) else thing:
            yield from _all_tensors(each)
    elif any(kind.__module__.startswith(_PLUGINS) for kind in type(thing).__mro__):
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())] or vars(thing)
        for name in names:
            yield from _all_tensors(getattr(thing, name))
