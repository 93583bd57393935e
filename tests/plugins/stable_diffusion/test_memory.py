import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from seesr_fixtures import SETTINGS
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.stable_diffusion import memory
from srcache_plugins.stable_diffusion.ledger import Ledger
from srcache_plugins.stable_diffusion.memory import MemoryPredictor
from srcache_plugins.stable_diffusion.networks.vae import Autoencoder
from srcache_plugins.stable_diffusion.windows import _weights_on

from srcache.engine.interface import Tiling

SMALL = replace(SETTINGS, process_size=64, steps=3)


def predicted(networks, size=(16, 16), batch=1, in_graphs=False, **changes):
    return MemoryPredictor(Pipeline, networks, replace(SMALL, **changes), in_graphs=in_graphs).predicted(*size, batch)


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


WALKS: dict[str, tuple[dict[str, Any], bool, list[tuple[tuple[int, int], int]]]] = {
    "a batch": ({}, False, [((16, 16), 3), ((16, 16), 1)]),
    "recorded, in windows": ({"tiling": Tiling(size=8, overlap=2)}, True, [((16, 20), 2)]),
    "tiles of the VAE": ({"color_fix": None}, False, [((16, 100), 2)]),
}


@pytest.mark.parametrize(
    ("name", "together"),
    [
        ("a batch", 0),
        ("recorded, in windows", 0),
        pytest.param("tiles of the VAE", 0, marks=pytest.mark.slow),
        pytest.param("a batch", 130, marks=pytest.mark.slow),
    ],
)
def test_what_is_counted_once_is_what_a_walk_through_everything_counts(name, together, tiny_networks, monkeypatch):
    changes, in_graphs, asked = WALKS[name]
    monkeypatch.setattr(tiny_networks.vae, "together", together)

    def found():
        predictor = MemoryPredictor(Pipeline, tiny_networks, replace(SMALL, **changes), in_graphs=in_graphs)
        _weights_on.cache_clear()
        return [predictor.predicted(*size, batch) for size, batch in asked]

    quick = found()
    monkeypatch.setattr(Ledger, "repeated", lambda self, function: function)
    monkeypatch.setattr(memory._MetaAutoencoder, "_in_calls", Autoencoder._in_calls)
    assert found() == quick


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
def test_a_recorded_vae_keeps_its_peak_and_its_inputs_aside(tiny_networks, monkeypatch):
    recorded = predicted(tiny_networks, steps=1, in_graphs=True)
    monkeypatch.setattr(memory._MetaAutoencoder, "run_by", lambda self, wrap: None)
    without = predicted(tiny_networks, steps=1, in_graphs=True)
    assert without.recorded < recorded.recorded
    assert recorded.tensors == pytest.approx(without.tensors, rel=0.2)


@pytest.mark.slow
def test_it_is_the_same_in_inference_mode(tiny_networks):
    plain = predicted(tiny_networks, in_graphs=True)
    with torch.inference_mode():
        assert predicted(tiny_networks, in_graphs=True) == plain
