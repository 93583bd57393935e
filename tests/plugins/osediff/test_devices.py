"""The engine on a device: what holds on a CPU holds on a GPU. `pytest -m gpu` runs it there, `-m slow` on a CPU."""

import pytest
import torch
from osediff_fixtures import case, cases, parts
from seesr_fixtures import RecordedNoise
from srcache_plugins.osediff.loading import load_networks
from srcache_plugins.osediff.pipeline import Pipeline, Settings
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable
from srcache_plugins.stable_diffusion.loading import Loading

from srcache.conformance import check_engine
from srcache.engine.interface import Tiling
from srcache.recipe.reading import load_recipe

QUICK = {"options.process_size": 32, "options.decoder_tile": 8, "options.encoder_tile": 64}

on_devices = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)


@on_devices
@pytest.mark.parametrize(("tiling", "precision"), [(None, "fp32"), ("8/2", "bf16")])
def test_it_keeps_the_promises_of_an_engine(device, tiling, precision):
    setup = load_recipe("osediff-tiny", {**QUICK, "tiling": tiling, "precision": precision}).setup(device)
    assert len(check_engine("osediff", setup, batch=2, size=(17, 22))) >= 19


@on_devices
@pytest.mark.parametrize("name", cases("f_e2e"))
def test_an_image_becomes_the_references(name, device, tmp_path, monkeypatch):
    (meta, tensors), place = case(name), torch.device(device)
    given, seen = meta["args"], []
    tiles = {"encoder_tile": given["vae_encoder_tiled_size"], "decoder_tile": given["vae_decoder_tiled_size"]}
    networks = load_networks(parts(tmp_path), Loading(device=place, dtype=torch.float32, antialias=False, **tiles))
    chosen = Settings(
        scale=given["upscale"],
        process_size=given["process_size"],
        prompt=given["prompt"],
        parity=True,
        precision="fp32",
        tiling=Tiling(size=given["latent_tiled_size"], overlap=given["latent_tiled_overlap"]),
        color_fix=None,
    )
    noise = RecordedNoise([], tensors["rand.posterior"].to(place))
    wrap = GraphedCallable if device == "cuda" else None
    with torch.inference_mode():
        pipeline = Pipeline(networks, chosen, place, "tried", wrap, lambda *_: noise)
        decode = pipeline.decode
        monkeypatch.setattr(pipeline, "decode", lambda latents: seen.extend(decode(latents)) or seen)
        (made,) = pipeline.upscale(tensors["in.image_uint8"].permute(2, 0, 1)[None].float() / 255, [1])
    away = (seen[0][0].cpu().permute(1, 2, 0).int() - tensors["expect.raw_uint8"].int()).abs()
    assert made.notes["prompt"] == meta["prompt"]
    assert away.max() <= meta["tolerance"]["raw_uint8_max"]
    assert (away > 0).float().mean() <= meta["tolerance"]["raw_fraction_differing_max"]
