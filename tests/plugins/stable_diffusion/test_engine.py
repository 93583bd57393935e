"""What engines over Stable Diffusion are as engines, whatever their pipeline is."""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from srcache_plugins.stable_diffusion import cuda_graphs
from srcache_plugins.stable_diffusion.engine import DECODER_TILE, ENCODER_TILE, PROCESS_SIZE, DiffusionEngine
from srcache_plugins.stable_diffusion.engine import way_of_running as way

from srcache.engine.interface import EngineInfo, Setup
from srcache.errors import EngineError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@dataclass
class Counted:
    """A pipeline that notes its calls."""

    calls: list
    mode: str = "counted"

    def width(self, height, width):
        return height * width


class Engine(DiffusionEngine):
    info = EngineInfo(
        name="test-diffusion",
        summary="for tests",
        scales=(2, 4),
        options={"process_size": PROCESS_SIZE, "encoder_tile": ENCODER_TILE, "decoder_tile": DECODER_TILE},
        loads=True,
    )

    def open_pipeline(self, setup):
        assert setup.options["process_size"] == 512, "defaults are filled in"
        return Counted([])


def test_an_engine_opens_its_pipeline_and_hands_it_its_mode():
    engine = Engine(Setup(scale=4))
    assert engine.mode == "counted"
    assert engine.batch_width(3, 5) == 1, "one by one on a CPU"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"process_size": 31}, "options of test-diffusion: process_size must be at least 32, but is 31"),
        ({"process_size": 10**11}, "process_size must be at most 16384, but is 100000000000"),
        ({"encoder_tile": 8, "decoder_tile": 1}, r"encoder_tile must be at least 64, but is 8; decoder_tile must"),
    ],
)
def test_options_out_of_their_range_are_refused_together(options, words):
    with pytest.raises(EngineError, match=words):
        Engine(Setup(scale=4, options=options))


@pytest.mark.parametrize(
    ("device", "compiled", "mode"),
    [
        (CPU, False, "eager"),
        (CPU, True, "compiled"),
        (CUDA, False, "CUDA graphs"),
        (CUDA, True, "compiled, in CUDA graphs"),
    ],
)
def test_the_way_of_running_follows_from_the_device(device, compiled, mode, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "compiled", partial(lambda name, act: (name, act), "compiled"))
    found, wrap = way(compiled, device)
    assert found == mode
    assert (wrap is None) == (mode == "eager")
    if device == CUDA:
        assert isinstance(wrap(abs), cuda_graphs.GraphedCallable)


def test_reading_what_an_engine_is_loads_nothing_heavy():
    code = "import srcache_plugins.osediff, srcache_plugins.seesr, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
