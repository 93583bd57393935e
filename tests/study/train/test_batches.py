"""Images as batches and answers as numbers: torch as oracle, order kept, the caller's settings of torch left alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_study import QUICK

from srcache.errors import ConfigError, DeviceError, MachineError
from srcache.images import to_batch
from srcache.study.arms.augment import apply, draw_change, fit_to_size
from srcache.study.train.batches import (
    Examples,
    autocast_dtype,
    compute_logits,
    cross_entropy,
    deterministic,
    make_loader,
    out_of_memory_errors,
    seed_from,
    softmax,
    worker_ends,
)

SEED = 8171178104164272104
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 12, 20, 3), np.uint8)


def test_probabilities_and_losses_are_those_of_torch():
    values = np.random.default_rng(0).normal(0, 30, (7, 4))
    labels = np.array([0, 3, 1, 2, 2, 0, 1])
    tensor = torch.from_numpy(values)
    np.testing.assert_allclose(softmax(values), tensor.softmax(1).numpy(), atol=1e-14)
    wanted = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels)).item()
    assert cross_entropy(values, labels) == pytest.approx(wanted, rel=1e-12)
    assert cross_entropy(np.array([[1e4, -1e4]]), np.array([1])) == pytest.approx(2e4)


def test_logits_come_in_the_order_of_the_batches():
    batches = [(torch.full((2, 1), float(n)), torch.tensor([n, n])) for n in range(3)]
    given, labels = compute_logits(torch.nn.Identity(), batches, "cpu")
    assert given[:, 0].tolist() == labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_examples_are_images_brought_to_size_and_changed_by_seed_epoch_and_index():
    examples = Examples(IMAGES, [4, 3, 2, 1, 0], QUICK)
    plain = [to_batch([fit_to_size(image, (16, 16), "pad")])[0] for image in IMAGES]
    assert [label for _, label in (examples[index] for index in range(len(examples)))] == [4, 3, 2, 1, 0]
    assert all(torch.equal(examples[index][0], plain[index]) for index in range(5))
    examples.epoch = 3
    wanted = apply(plain[2], draw_change("thesis", QUICK.seed, 3, 2))
    assert torch.equal(examples[2][0], wanted)
    assert not torch.equal(wanted, plain[2])


def test_a_loader_gives_batches_in_the_order_that_is_asked_for():
    examples = Examples(IMAGES, [0, 1, 2, 3, 4], QUICK)
    settings = type(QUICK)(**{**QUICK.plain(), "batch_size": 2})
    assert [labels.tolist() for _, labels in make_loader(examples, settings)] == [[0, 1], [2, 3], [4]]
    assert [labels.tolist() for _, labels in make_loader(examples, settings, [3, 1, 0])] == [[3, 1], [0]]


@pytest.mark.parametrize(
    ("device", "precision", "wanted"),
    [
        ("cpu", "fp32", None),
        ("cuda:1", "fp32", None),
        ("cpu", "bf16", torch.bfloat16),
        ("cuda", "bf16", torch.bfloat16),
        ("cuda", "fp16", torch.float16),
        ("cpu", "amp", torch.bfloat16),
        ("cuda", "amp", torch.float16),
    ],
)
def test_a_precision_means_a_type_by_the_device(device, precision, wanted):
    assert autocast_dtype(device, precision) is wanted


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match="fp16 is for CUDA devices, but the device is cpu; use bf16 or amp"):
        autocast_dtype("cpu", "fp16")


def test_memory_that_runs_out_is_a_device_error_with_advice_and_other_errors_stay():
    advice = r"does not fit into the device's memory \(too much\); lower batch_size"
    with pytest.raises(DeviceError, match=advice), out_of_memory_errors():
        raise torch.OutOfMemoryError("too much")
    with pytest.raises(RuntimeError, match="something else"), out_of_memory_errors():
        raise RuntimeError("something else")


def test_a_deterministic_stretch_is_repeatable_and_leaves_torch_as_it_was():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    drawn = []
    for seed in (1, 1, 2):
        with deterministic(threads + 1, "cpu", seed):
            assert torch.get_num_threads() == threads + 1
            assert torch.are_deterministic_algorithms_enabled()
            drawn.append(torch.rand(3))
    with pytest.raises(ZeroDivisionError), deterministic(threads + 1, "cpu", 0):
        1 / 0  # noqa: B018
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_seeds_are_what_torch_takes_and_differ_by_every_word(seed, epoch):
    found = {seed_from(seed, what, number) for what in ("epoch", "order") for number in (epoch, epoch + 1)}
    assert len(found) == 4
    assert all(0 <= one < 2**63 for one in found)


def test_seeds_are_frozen():
    assert seed_from(0, "first weights") == SEED, "another seed: trainings cannot be repeated"


def test_a_worker_that_ended_is_told_in_words_and_no_other_error_is():
    killed = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that workers are out of memory."
    with pytest.raises(MachineError, match=r"ended.*\(DataLoader .* Bus error\.\); the same command"), worker_ends():
        raise RuntimeError(killed)
    with pytest.raises(RuntimeError, match="of another kind"), worker_ends():
        raise RuntimeError("of another kind")
