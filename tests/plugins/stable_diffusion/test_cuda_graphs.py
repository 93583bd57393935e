"""Faster ways to run a call of networks: what is kept of them, and that they change nothing."""

import gc
import os
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from fake_graphs import FakeGraphs
from seesr_fixtures import SETTINGS, RecordedNoise, case, drawn, parts, weights
from srcache_plugins.seesr.loading import Loading, load_networks
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet, with_image_transformers
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.stable_diffusion import cuda_graphs as module
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable, GraphMemory, compiled
from srcache_plugins.stable_diffusion.networks.convolutions import make_exact
from srcache_plugins.stable_diffusion.networks.denoiser import UNet
from srcache_plugins.stable_diffusion.windows import lay_windows

from srcache.engine.interface import Tiling
from srcache.errors import EngineError
from srcache.weights.checkpoint import weights_folder

CONFIG = case("d_loop_4steps_g5.5_lr")[0]["scheduler"]


def sampler(device="cpu", guidance=5.5, steps=2):
    unet, controlnet = UNet(load_unet(*weights("unet_B"))), ControlNet(load_controlnet(*weights("controlnet_B")), 0.7)
    schedule, both = make_schedule(CONFIG, steps), [make_exact(each).to(device) for each in (unet, controlnet)]
    return Sampler(*both, schedule, guidance, drawn(1, 77, 20).to(device))


def smallest():
    """A sampler over networks of two levels, of which one attends, with weights of no meaning."""
    shared = {"block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1, "cross_attention_dim": 20}
    shared |= {"attention_head_dim": 2, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"]}
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**shared, up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"])
    controlnet = ControlNetModel(**shared, conditioning_embedding_out_channels=[4, 4, 4, 4])
    models = [with_image_transformers(model).eval().requires_grad_(False) for model in (unet, controlnet)]
    schedule = make_schedule(CONFIG, 2)
    return Sampler(UNet(models[0]), ControlNet(models[1], 0.7), schedule, 5.5, drawn(1, 77, 20))


def sampled(chosen, size=(8, 9), tiling=None, seed=0, count=2):
    like, steps = chosen._negative[0], len(chosen.schedule.steps)
    images, start = torch.sigmoid(drawn(count, 3, 8 * size[0], 8 * size[1], seed=seed)), drawn(count, 4, *size)
    prompts = Prompts(drawn(count, 77, 20, seed=seed + 1), drawn(count, 6, 512, seed=seed + 2))
    noise = RecordedNoise(drawn(steps, count, 4, *size, seed=seed + 3).to(like.device))
    with torch.inference_mode():
        windows = lay_windows(*size, tiling)
        return chosen.sample(images.to(like.device), prompts, start.to(like.device), noise, windows)


@pytest.fixture
def graphs(monkeypatch):
    """CUDA graphs, made up on the CPU."""
    made = FakeGraphs()
    made.put_in(monkeypatch)
    return made


def test_there_is_one_recording_for_each_shape_and_the_last_used_are_kept(graphs):
    act, most = GraphedCallable(lambda left, right: left.sum() + right.sum()), module.RECORDED
    shapes = [(number, 1) for number in range(1, most + 1)]
    for shape in shapes * 2:
        assert act(torch.ones(shape), torch.ones(1)) == shape[0] + 1
    assert len(graphs.pools) == most
    act(torch.ones(shapes[0]), torch.ones(1))
    act(torch.ones(99, 9), torch.ones(1))
    assert len(graphs.pools) == most + 1
    act(torch.ones(shapes[0]), torch.ones(1))
    assert len(graphs.pools) == most + 1, "the one used last was kept"
    act(torch.ones(shapes[1]), torch.ones(1))
    assert len(graphs.pools) == most + 2, "the one not used for longest was not"
    assert len(act.memory) == most
    assert len(set(map(id, graphs.pools))) == len(set(map(id, graphs.streams))) == 1, "all of them share"


def test_a_recording_computes_anew_and_its_results_stay_as_they_are(graphs):
    act = GraphedCallable(lambda left, right: (2 * left + right).relu())
    one, other = torch.ones(3), torch.tensor([1.0, -5.0, 2.0])
    first = act(one, one)
    second = act(other, one)
    assert first.tolist() == [3, 3, 3]
    assert second.tolist() == [3, 0, 5]
    assert act(one, other).tolist() == [3, 0, 4]
    assert len(graphs.pools) == 1


def test_inputs_that_are_gone_are_not_kept_alive_nor_mistaken_for_others(graphs):
    act = GraphedCallable(lambda given: given + 1)
    given = torch.zeros(4)
    gone = weakref.ref(given)
    act(given)
    del given
    assert gone() is None
    for value in range(5):
        assert act(torch.full((4,), float(value))).tolist() == [value + 1.0] * 4


def test_a_recording_of_nothing_is_an_error(graphs):
    graphs.records = False
    with pytest.raises(EngineError, match="recorded on cpu computes nothing"):
        GraphedCallable(lambda given: given + 1)(torch.ones(2))
    assert torch.isnan(GraphedCallable(lambda given: given / 0)(torch.zeros(2))).all(), "no numbers may be the result"


def test_another_current_device_than_that_of_the_tensors_is_an_error(graphs):
    graphs.device = 0
    with pytest.raises(EngineError, match="was to be recorded on cpu, but cuda:0 is this thread's current device"):
        GraphedCallable(lambda given: given + 1)(torch.ones(2))


def test_without_memory_the_other_recordings_are_given_up(graphs):
    act = GraphedCallable(lambda given: given + 1)
    act(torch.ones(2))
    graphs.out_of_memory = 1
    assert act(torch.ones(3)).tolist() == [2, 2, 2]
    assert len(act.memory) == 1
    graphs.out_of_memory = 1
    with pytest.raises(torch.OutOfMemoryError):
        GraphedCallable(lambda given: given + 1)(torch.ones(4))


def test_functions_that_share_a_memory_share_the_pool_and_give_up_what_others_recorded(graphs):
    memory = GraphMemory()
    one, other = GraphedCallable(lambda given: given + 1, memory), GraphedCallable(lambda given: given * 5, memory)
    given = torch.ones(2)
    assert (one(given).tolist(), other(given).tolist()) == ([2, 2], [5, 5])
    assert len(memory) == 2
    assert (one(given).tolist(), other(given).tolist()) == ([2, 2], [5, 5])
    assert len(graphs.pools) == 2
    assert len(set(map(id, graphs.pools))) == len(set(map(id, graphs.streams))) == 1
    graphs.out_of_memory = 1
    assert other(torch.ones(3)).tolist() == [5, 5, 5]
    assert len(memory) == 1


@pytest.mark.parametrize("tiling", [None, Tiling(size=8, overlap=4)])
def test_a_complete_run_needs_one_recording(graphs, tiling):
    plain, chosen = sampler(), sampler()
    chosen.run = GraphedCallable(chosen.predict)
    size = (8, 20) if tiling else (8, 9)
    assert torch.equal(sampled(chosen, size, tiling), sampled(plain, size, tiling))
    assert torch.equal(sampled(chosen, size, tiling, seed=9), sampled(plain, size, tiling, seed=9))
    assert len(graphs.pools) == 1


def test_what_is_recorded_goes_at_once_with_its_sampler(graphs):
    chosen = sampler()
    chosen.run = GraphedCallable(chosen.predict)
    sampled(chosen)
    weight = weakref.ref(chosen.networks[0].conv_in.weight)
    gc.disable()
    try:
        del chosen
        assert weight() is None, "nothing goes round in a circle"
    finally:
        gc.enable()


@pytest.mark.slow
def test_the_prediction_is_compiled_in_one_piece(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, chosen = smallest(), smallest()
    chosen.run = compiled(chosen.predict)
    assert torch.equal(sampled(chosen), sampled(plain))
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)


def test_what_is_compiled_is_kept_beside_the_weights(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    compiled(torch.sin)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(weights_folder().parent / "compiled")


@pytest.mark.gpu
@pytest.mark.parametrize("tiling", [None, Tiling(size=8, overlap=4)])
@pytest.mark.parametrize("guidance", [1.0, 5.5])
def test_a_recording_gives_the_same_bits(guidance, tiling, monkeypatch):
    plain, chosen = sampler("cuda", guidance, 8), sampler("cuda", guidance, 8)
    chosen.run = GraphedCallable(chosen.predict)
    monkeypatch.setattr(module, "RECORDED", 3)  # so that one is given up, and recorded anew
    for size in ((8, 20), (9, 24), (16, 16), (8, 32), (9, 24), (8, 20)):
        for seed in (1, 2):
            assert torch.equal(sampled(chosen, size, tiling, seed), sampled(plain, size, tiling, seed))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("tiling", [None, Tiling(size=8, overlap=4)])
def test_the_loop_never_waits_for_the_gpu(tiling):
    chosen, size = sampler("cuda", steps=3), (8, 20)
    sampled(chosen, size, tiling)
    predict, calls = chosen.run, []

    def run(*tensors):
        torch.cuda.set_sync_debug_mode("error")  # from the first prediction on
        calls.append(1)
        return predict(*tensors)

    chosen.run = run
    try:
        sampled(chosen, size, tiling)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(calls) >= 3


@pytest.mark.gpu
@pytest.mark.parametrize("tiling", [None, Tiling(size=12, overlap=4)])
def test_images_of_a_gpu_are_those_of_the_cpu(tiling, tmp_path):
    files, made = parts(tmp_path, CONFIG), {}
    coarse = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    some = torch.nn.functional.interpolate(coarse, size=(32, 40), mode="bilinear")
    for device, wrap in (("cpu", None), ("cuda", GraphedCallable)):
        how = Loading(
            device=torch.device(device),
            dtype=torch.float32,
            conditioning_scale=1.0,
            encoder_tile=1024,
            decoder_tile=224,
            antialias=False,
        )
        with torch.inference_mode():
            pipeline = Pipeline(load_networks(files, how), replace(SETTINGS, tiling=tiling), how.device, wrap=wrap)
            made[device] = pipeline.upscale(some, [1, 2])
    for here, there in zip(made["cpu"], made["cuda"], strict=True):
        assert there.notes["tags"] == here.notes["tags"]
        far = (there.image.cpu() - here.image).abs() * 255
        assert (far < 1.5).float().mean() > 0.99
        assert far.max() < 8
