import gc
from dataclasses import replace

import pytest
import torch
from seesr_fixtures import SETTINGS
from srcache_plugins.seesr.memory import Ledger, MemoryPredictor
from srcache_plugins.seesr.pipeline import Pipeline
from torch.nn import functional

SMALL = replace(SETTINGS, process_size=64, steps=3)


def predicted(networks, size=(16, 16), batch=1, in_graphs=False, **changes):
    return MemoryPredictor(networks, replace(SMALL, **changes), in_graphs=in_graphs).predicted(*size, batch)


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def test_the_ledger_counts_storages_once_and_until_nothing_refers_to_them():
    with Ledger() as ledger:
        first = empty(100)
        view = first.view(10, 10)[2:]
        assert (ledger.live, ledger.peak) == (400, 400)
        second = first + 1
        del first
        assert ledger.live == 800
        del view
        assert ledger.live == 400
        del second
        assert (ledger.live, ledger.peak) == (0, 800)
        torch.empty(1000)
        assert ledger.peak == 800, "only what is on the device"


def test_what_waits_on_the_host_takes_no_room_and_comes_back_as_it_was():
    with torch.no_grad(), Ledger() as ledger:
        there = empty(1, 4, 6, 6).to(memory_format=torch.channels_last)
        strides = there.stride()
        waiting = there.cpu()
        del there
        assert (ledger.live, waiting.device.type) == (0, "cpu")
        assert not waiting.any()
        back = waiting.to("meta")
        assert (ledger.live, back.stride()) == (4 * 6 * 6 * 4, strides)


def test_a_convolution_with_channels_last_copies_an_input_that_is_not():
    weight = torch.empty(8, 4, 3, 3, device="meta").to(memory_format=torch.channels_last)
    for layout, extra in ((torch.contiguous_format, 1600), (torch.channels_last, 0)):
        image = empty(1, 4, 10, 10).to(memory_format=layout)
        with torch.no_grad(), Ledger() as ledger:
            ledger.enter(image)
            found = functional.conv2d(image, weight, padding=1)
            assert found.is_contiguous(memory_format=torch.channels_last)
            assert ledger.peak == 1600 + 3200 + extra
            assert ledger.live == 1600 + 3200


def test_a_recorded_call_keeps_its_peak_and_its_inputs():
    def act(given):
        wide = given.repeat(10)
        return wide[: len(given)] + 1

    with Ledger() as ledger:
        given = empty(100)
        result = ledger.recorded_call(act)(given)
        assert (ledger.inner, ledger.inputs, ledger.peak_inner) == (4000 + 400, 400, 400 + 4400)
        del given
        assert ledger.live == 400, "the recording has copies of its inputs, and does not refer to them"
        assert ledger.peak == 800
        assert result.shape == (100,)


def test_weights_are_those_of_all_networks_which_stay_untouched(tiny_networks):
    networks = tiny_networks
    modules = [networks.unet, networks.controlnet, networks.vae._encoder, networks.vae._decoder, networks.text.model]
    modules += [networks.tagger.network, networks.vae._before, networks.vae._after]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    found = predicted(networks).weights
    assert 0 <= found - sum(tensor.nbytes for tensor in tensors) < 4096, "and thresholds, mean and spread"
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


def test_a_prediction_is_what_torch_allocates(tiny_networks):
    """On the CPU, whose kernels need a little beside; `Ledger` and the profiler have nothing in common."""
    size, batch = (64, 64), 1
    pipeline = Pipeline(tiny_networks, replace(SMALL, steps=1), torch.device("cpu"))
    images = torch.rand(batch, 3, *size)
    with torch.inference_mode():
        pipeline.upscale(images, [0])
        gc.collect()
        kinds = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=kinds, profile_memory=True, acc_events=True) as profiler:
            pipeline.upscale(images, [0])
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    found = predicted(tiny_networks, size)
    assert 0.9 <= (found.tensors - found.weights) / peak <= 1.1


@pytest.mark.slow
def test_more_images_and_larger_ones_take_more(tiny_networks):
    one, four, large = (predicted(tiny_networks, *each) for each in (((16, 16), 1), ((16, 16), 4), ((64, 64), 1)))
    assert one.tensors < four.tensors < 4 * one.tensors
    assert 8 * (one.tensors - one.weights) < large.tensors - large.weights
    assert one.recorded == 0
    assert one.total > one.reserved == one.tensors


@pytest.mark.slow
def test_steps_take_nothing_and_recordings_do(tiny_networks):
    plain, recorded = predicted(tiny_networks, steps=1), predicted(tiny_networks, steps=50, in_graphs=True)
    assert plain.tensors <= recorded.tensors < recorded.reserved
    assert recorded.recorded > 0


@pytest.mark.slow
def test_it_is_the_same_in_inference_mode(tiny_networks):
    plain = predicted(tiny_networks, in_graphs=True)
    with torch.inference_mode():
        assert predicted(tiny_networks, in_graphs=True) == plain
