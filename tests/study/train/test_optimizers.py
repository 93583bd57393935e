"""Optimisers against Keras and torch, learning rates against torch's schedulers."""

import os
from itertools import pairwise

import pytest
import torch
from torch import nn

from srcache.study.train.optimizers import make_optimizer, rate_at, rmsprop, set_rate
from srcache.study.train.settings import TrainSettings

STARTS, GRADIENTS = torch.tensor([0.3, -2.0, 1e-4]), ([0.1, -0.5, 1e-6], [0.2, 0.5, 0.0], [-3.0, 1e-4, 1e-8])


@pytest.fixture
def keras():
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("epsilon", [1e-7, 1e-3])
def test_rmsprop_takes_the_steps_of_keras(keras, momentum, epsilon):
    """Tiny gradients too, where it matters that epsilon stands under the root."""
    theirs = keras.Variable(STARTS.clone())
    other = keras.optimizers.RMSprop(1e-3, rho=0.9, momentum=momentum, epsilon=epsilon)
    ours = nn.Parameter(STARTS.clone())
    optimizer = rmsprop([ours], 1e-3, rho=0.9, epsilon=epsilon, momentum=momentum)
    for gradient in map(torch.tensor, GRADIENTS):
        other.apply([gradient], [theirs])
        ours.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(ours.detach(), theirs.value.detach(), rtol=1e-6, atol=1e-9)


def test_torch_would_take_other_steps():
    ours, theirs = nn.Parameter(STARTS.clone()), nn.Parameter(STARTS.clone())
    ours.grad = theirs.grad = torch.tensor(GRADIENTS[0])
    rmsprop([ours], 1e-3).step()
    torch.optim.RMSprop([theirs], 1e-3, alpha=0.9, eps=1e-7).step()
    assert (ours - theirs)[2].abs() > 1e-5


def test_a_weight_without_a_gradient_stays():
    weight = nn.Parameter(STARTS.clone())
    rmsprop([weight], 1e-3).step()
    assert torch.equal(weight, STARTS)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10, 100])
def test_onecycle_is_that_of_torch(steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        assert rate_at(TrainSettings(), step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


def test_cosine_is_that_of_torch_and_constant_is_constant():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 3e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    rates = []
    for step in range(20):
        rates.append(rate_at(TrainSettings(schedule="cosine"), step, 20))
        assert rates[-1] == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert all(one > other for one, other in pairwise(rates))
    assert {rate_at(TrainSettings(schedule="constant"), step, 20) for step in range(20)} == {3e-3}


def test_settings_become_the_optimiser_they_name():
    network = nn.Linear(2, 2)
    adamw = make_optimizer(network, TrainSettings(optimizer="adamw", weight_decay=0.25))
    sgd = make_optimizer(network, TrainSettings(optimizer="sgd", momentum=0.5, weight_decay=0.125))
    keras = make_optimizer(network, TrainSettings(optimizer="rmsprop", learning_rate=0.5))
    assert (type(adamw), adamw.defaults["weight_decay"]) == (torch.optim.AdamW, 0.25)
    assert (type(sgd), sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (torch.optim.SGD, 0.5, 0.125)
    set_rate(keras, 0.25)
    assert [group["lr"] for group in keras.param_groups] == [0.25]
