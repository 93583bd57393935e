"""What is allocated on PyTorch's meta device, counted: a ledger of storages that are alive, and of the most so far."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_IN_PLACE = {
    *(torch.ops.aten.add_.Tensor, torch.ops.aten.mul_.Tensor, torch.ops.aten.div_.Tensor, torch.ops.aten.sub_.Tensor),
    *(torch.ops.aten.copy_.default, torch.ops.aten.silu_.default, torch.ops.aten.fill_.Scalar),
}
"""Operations that give back their first argument, whose shape they leave as it is."""


class _Shapes:
    """The shapes of operations' results by those of their arguments: on the meta device torch is slow to find them."""

    def __init__(self) -> None:
        self._found: dict[Any, list[tuple[Any, ...]]] = {}
        self._pure: dict[Any, bool] = {}

    def result(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What `func` gives of tensors on the meta device; new tensors, if it changes and returns none of its own."""
        if func not in self._pure:
            returned, given = func._schema.returns, func._schema.arguments
            self._pure[func] = all(each.alias_info is None for each in (*returned, *given))
        if not self._pure[func]:
            return args[0] if func in _IN_PLACE else func(*args, **kwargs)
        key = func, _described(args), _described(kwargs)
        if key not in self._found:
            found = _called(func, args, kwargs)
            if not _is_on_meta(found):
                return found
            several = found if isinstance(found, tuple | list) else [found]
            self._found[key] = [(each.shape, each.stride(), each.dtype) for each in several]
            return found
        made = [torch.empty_strided(*each[:2], dtype=each[2], device="meta") for each in self._found[key]]
        return made[0] if len(func._schema.returns) == 1 else tuple(made)


def _called(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation gives; torch 2.11 has the convolution with settings of its own not for the meta device."""
    if func is torch.ops.aten._convolution.default and args[0].is_meta:
        return torch.ops.aten.convolution.default(*args[:9])
    return func(*args, **kwargs)


def _described(value: Any) -> Any:
    """What of an argument decides on the shape of a result, hashable."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device.type
    if isinstance(value, list | tuple):
        return tuple(map(_described, value))
    if isinstance(value, dict):
        return tuple((name, _described(each)) for name, each in value.items())
    return type(value), value


def _is_on_meta(found: Any) -> bool:
    several = found if isinstance(found, tuple | list) else [found]
    return all(isinstance(each, Tensor) and each.device.type == "meta" for each in several)


class Ledger(TorchDispatchMode):
    """Bytes of all storages on the meta device that are alive while the mode is on.

    What goes from there to the CPU arrives as zeros; what comes back has the layout that it had.

    Attributes:
        live: now.
        peak: the most so far, less what was alive within a recorded call only.
        inner: the most that a recorded call needed beyond what was alive when it began.
        peak_inner: the most that was alive within one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shapes = _Shapes()
        self._repeats: dict[Any, tuple[int, list[Any]]] = {}
        self.live = self.peak = self.inner = self.peak_inner = 0
        self._inputs = dict[Any, int]()
        self._known: set[int] = set()
        self._layouts: Any = WeakIdKeyDictionary()

    def restart(self) -> None:
        """Forget the most so far, but not what is alive."""
        self.peak, self.inner, self.peak_inner = self.live, 0, 0
        self._inputs.clear()

    @property
    def inputs(self) -> int:
        """Bytes of the inputs of recorded calls, of each function the most."""
        return sum(self._inputs.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            found = self._copy(func, args[0], kwargs)
        elif func in (torch.ops.aten.convolution.default, torch.ops.aten._convolution.default):
            found = self._convolution(self._shapes.result(func, args, kwargs), *args[:2])
        else:
            found = self._shapes.result(func, args, kwargs)
        for leaf in found if isinstance(found, tuple | list) else (found,):
            if isinstance(leaf, Tensor):
                self.enter(leaf)
        return found

    def enter(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is gone."""
        storage = tensor.untyped_storage()
        if tensor.device.type != "meta" or storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, storage._cdata, storage.nbytes()).atexit = False

    def count_workspace(self, size: int) -> None:
        """Count bytes that one operation needs while it runs."""
        self.peak = max(self.peak, self.live + size)

    def recorded_call(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """`function` as a recorded call: what it needs within, and copies of its inputs, are counted apart."""

        def run(*tensors: Tensor) -> Tensor:
            before, peak = self.live, self.peak
            self.peak = before
            found = function(*tensors)
            self.inner, self.peak_inner = max(self.inner, self.peak - before), max(self.peak_inner, self.peak)
            given = sum(tensor.nbytes for tensor in tensors)
            self._inputs[function] = max(self._inputs.get(function, 0), given)
            self.peak = max(peak, self.live)
            return found

        return run

    def repeated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` run once for all calls on arguments that are alike; of the others, only the bytes are counted.

        It gives a tensor or a tuple of them, each with a storage of its own, and keeps nothing else alive.
        """

        def run(*given: Any) -> Any:
            key = function, _described(given)
            if key in self._repeats:
                needed, layouts = self._repeats[key]
                self.count_workspace(needed)
                made = [torch.empty_strided(*each[:2], dtype=each[2], device="meta") for each in layouts]
                return made[0] if len(made) == 1 else tuple(made)
            found, needed = self.measured(function, *given)
            several = found if isinstance(found, tuple) else (found,)
            if all(each.untyped_storage().nbytes() == each.nbytes for each in several):
                self._repeats[key] = needed, [(each.shape, each.stride(), each.dtype) for each in several]
            return found

        return run

    def measured(self, function: Callable[..., Any], *given: Any) -> tuple[Any, int]:
        """The result of a function, and the most bytes that it needs beyond what is alive when it begins."""
        before, peak = self.live, self.peak
        self.peak = before
        found = function(*given)
        needed, self.peak = self.peak - before, max(peak, self.peak)
        return found, needed

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def _copy(self, func: Any, tensor: Tensor, kwargs: dict[str, Any]) -> Tensor:
        target = torch.device(kwargs.get("device") or tensor.device)
        if tensor.device.type == "meta" and target.type == "cpu":
            there = torch.zeros(1, dtype=kwargs.get("dtype") or tensor.dtype).expand(tensor.shape)
            self._layouts[there] = tensor.stride()
            return there
        if target.type == "meta" and tensor in self._layouts:
            return torch.empty_strided(tensor.shape, self._layouts[tensor], dtype=tensor.dtype, device=target)
        return func(tensor, **kwargs)  # type: ignore[no-any-return]

    def _convolution(self, found: Tensor, image: Tensor, weight: Tensor) -> Tensor:
        """The result of a convolution in the layout that a GPU gives it."""
        last = torch.channels_last
        if weight.ndim != 4 or not weight.is_contiguous(memory_format=last) or weight.is_contiguous():
            return found
        if not image.is_contiguous(memory_format=last):
            self.count_workspace(image.nbytes + found.nbytes)
        return torch.empty_like(found, memory_format=last)
