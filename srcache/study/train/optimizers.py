"""Steps towards a smaller loss: optimisers, Keras' RMSprop among them, and learning rates as functions of the step."""

import math
from typing import TYPE_CHECKING, Any

from srcache.study.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

RISE, START, END = 0.3, 1 / 25, 1e-4
"""Of `onecycle`: the share of steps that it rises for; where it starts, of the highest; where it ends, of the start."""


def make_optimizer(network: "nn.Module", settings: TrainSettings) -> "Optimizer":
    """The optimiser of a network's weights."""
    import torch

    weights, rate = list(network.parameters()), settings.learning_rate
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(weights, rate, weight_decay=settings.weight_decay)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(weights, rate, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return rmsprop(weights, rate, rho=settings.rho, epsilon=settings.epsilon, momentum=settings.momentum)


def rmsprop(
    weights: "list[nn.Parameter]", rate: float, *, rho: float = 0.9, epsilon: float = 1e-7, momentum: float = 0.0
) -> "Optimizer":
    """Keras' RMSprop: gradient / √(mean of squares + epsilon).

    torch's own takes the root first and adds epsilon afterwards, so that with Keras' 1e-7 its first steps differ.
    """
    import torch

    class KerasRMSprop(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, weight.grad, group["lr"])

        def _move(self, weight: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
            state = self.state[weight]
            if not state:
                state["squares"] = torch.zeros_like(weight)
                if momentum:
                    state["momentum"] = torch.zeros_like(weight)
            squares = state["squares"].mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
            move = rate * gradient / (squares + epsilon).sqrt_()
            if momentum:
                move = state["momentum"].mul_(momentum).add_(move)
            weight.sub_(move)

    return KerasRMSprop(weights, {"lr": rate})


def rate_at(settings: TrainSettings, step: int, steps: int) -> float:
    """The learning rate of a step, from 0, of so many; `onecycle` is torch's OneCycleLR without its other cycle."""
    highest = settings.learning_rate
    if settings.schedule == "constant":
        return highest
    if settings.schedule == "cosine":
        return _between(highest, 0.0, step / steps)
    top = RISE * steps - 1
    if step <= top:
        return _between(highest * START, highest, step / top)
    return _between(highest, highest * START * END, (step - top) / (steps - 1 - top))


def set_rate(optimizer: "Optimizer", rate: float) -> None:
    """Let the next step be made at this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _between(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
