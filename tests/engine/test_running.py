"""An engine's calls run on its device and compile any number of shapes, in whatever thread they are made."""

import threading
from contextlib import contextmanager

import pytest
import torch

from srcache.engine.running import COMPILED_SHAPES, allow_many_shapes, on_device


@pytest.fixture
def current(monkeypatch):
    """The numbers of the devices that were made current, one within the other."""
    entered = []

    @contextmanager
    def device_index(number):
        entered.append(number)
        yield
        entered.append(-1)

    monkeypatch.setattr(torch.accelerator, "device_index", device_index)
    return entered


def test_a_numbered_accelerator_becomes_the_current_device(current):
    with on_device("cuda:1"):
        assert current == [1]
    assert current == [1, -1]


@pytest.mark.parametrize("device", ["cpu", "cpu:0", "cuda", "mps", "meta"])
def test_any_other_device_stays_as_it_is(device, current):
    with on_device(device):
        assert current == []


def test_limits_are_raised_in_the_thread_that_calls():
    """torch keeps them by thread since 2.14; a function of ten shapes, opened here and called there."""
    act = torch.compile(lambda values: values.sin() + 1, backend="eager", fullgraph=True, dynamic=False)
    found = []

    def call():
        allow_many_shapes()
        assert torch._dynamo.config.recompile_limit >= COMPILED_SHAPES
        found.extend(act(torch.zeros(side, 2)).sum().item() for side in range(1, 11))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == [2.0 * side for side in range(1, 11)]
