"""SeeSR's cases for any machine: operations saved, memory predicted, pixels moved by rounding, one step's time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from srcache_plugins.seesr.loading import Networks
from srcache_plugins.seesr.networks.controlnet import ControlNet
from srcache_plugins.seesr.networks.stock import load_controlnet, load_unet
from srcache_plugins.seesr.pipeline import Pipeline
from srcache_plugins.seesr.sampling.sampler import Prompts, Sampler
from srcache_plugins.seesr.sampling.schedule import make_schedule
from srcache_plugins.stable_diffusion.memory import MemoryPredictor
from srcache_plugins.stable_diffusion.networks.denoiser import UNet
from srcache_plugins.stable_diffusion.networks.tagger import load_tagger
from srcache_plugins.stable_diffusion.networks.text import load_text_encoder
from srcache_plugins.stable_diffusion.networks.vae import load_autoencoder
from torch import Tensor

from benchmarks import seesr_full as full
from benchmarks import seesr_measure as measure
from benchmarks import seesr_reference as reference
from benchmarks.record import Bar, bar_of, interleaved
from benchmarks.seesr_gpu import GB, RunSettings
from srcache.engine.interface import Failure, Tiling

GOLDEN = full.FULL.parent
RECIPE_TILES = Tiling(size=96, overlap=32)
WAY = "the reference way"
KNOWN = {64: 3.27, 96: 9.26}
"""TFLOP of a guided step of the reference way by the latent's side, as they were given."""


def savings(run: RunSettings, name: str) -> list[Bar]:
    """Operations of the real networks in both ways, counted without computing anything."""
    bars = []
    for side in (8,) if run.tiny else (64, 96):
        counted = measure.OperationCounter(run.sizes, side)
        once, step = counted.ours()
        reference_step = counted.reference()
        shown = f"{name}: {side}x{side} latent, guided"
        parts = {
            "keys and values made once": counted.keys_and_values(),
            "the control picture embedded once": counted.control(),
            "times embedded once": counted.rows * counted.times(),
        }
        parts["one row until the prompts differ"] = reference_step - step - sum(parts.values())
        bars.append(_work(f"{shown}, one step", step, reference_step))
        bars.append(_work(f"{shown}, 50 steps", once + 50 * step, 50 * reference_step))
        shares = {part: 100 * tflop / reference_step for part, tflop in parts.items()}
        bars += [Bar(case=f"{shown}, one step less: {part}", value=share, unit="%") for part, share in shares.items()]
        if not run.tiny:
            away = 100 * abs(reference_step / KNOWN[side] - 1)
            known = f"{shown}: {WAY}, away from the known {KNOWN[side]} TFLOP"
            bars.append(Bar(case=known, value=away, unit="%", bar=0.5))
    return bars


def _work(case: str, ours: float, reference_way: float) -> Bar:
    return Bar(case=case, value=ours, unit="TFLOP", peer=WAY, peer_value=reference_way)


def predicted(run: RunSettings, name: str) -> list[Bar]:
    """What batches would take on a GPU, recorded calls included."""
    networks = full.networks(run.sizes, full.placement("meta", "fp16"))
    shapes: list[tuple[str, tuple[int, int], int, Tiling | None, float | None]] = [
        ("128→512, batch 1", (128, 128), 1, None, 10),
        ("128→512, batch 8", (128, 128), 8, None, None),
        ("128→512, batch 16", (128, 128), 16, None, None),
        ("256→1024, tiles 96/32, batch 1", (256, 256), 1, RECIPE_TILES, None),
        ("622x716→2488x2864, tiles 96/32, batch 1", (622, 716), 1, RECIPE_TILES, 12),
    ]
    bars = []
    for text, size, batch, tiling, most in shapes[:1] if run.tiny else shapes:
        settings = replace(measure.SETTINGS, tiling=tiling)
        found = MemoryPredictor(Pipeline, networks, settings, in_graphs=True).predicted(*size, batch)
        shown = f"{name}: {text}, fp16 in CUDA graphs"
        bars.append(Bar(case=shown, value=found.total / GB, unit="GB", bar=most))
        bars.append(Bar(case=f"{shown}: tensors alive at once", value=found.tensors / GB, unit="GB"))
        bars.append(Bar(case=f"{shown}: kept by recordings", value=found.recorded / GB, unit="GB"))
    weights = Bar(case=f"{name}: weights, fp16 and the tagger fp32", value=found.weights / GB, unit="GB")
    return [weights, *bars]


def precision(run: RunSettings, name: str) -> list[Bar]:
    """Which share of the values (8 bits) stays within 1/255 in another precision, or in a batch of two."""
    kinds = ["fp32", "bf16", "fp16"]
    bars = _shares(f"{name}: golden networks, 32→128, 4 steps", golden, 4, [run.placement_in(kind) for kind in kinds])
    if run.tiny:
        return bars
    if run.device.type == "cpu":
        kinds.remove("fp16")  # a CPU's convolutions take hours in it

    def real(where: full.Placement) -> Networks:
        torch.manual_seed(0)
        return full.networks(full.full(), where)

    shown = f"{name}: real size, random weights, 32→128, 2 steps"
    return bars + _shares(shown, real, 2, [run.placement_in(kind) for kind in kinds])


def _shares(shown: str, build: Any, steps: int, places: list[full.Placement]) -> list[Bar]:
    """The bars of `precision` for one set of networks: two images of smooth noise, guided; the first place is exact."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, 8, 8, generator=rng)
    images = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1).mul(255).round() / 255
    exact: Tensor | None = None
    bars = []
    for where in places:
        networks, kind = build(where), where.precision
        settings = replace(measure.SETTINGS, process_size=128, steps=steps, precision=kind)
        with torch.inference_mode():
            pipeline = Pipeline(networks, settings, where.device)
            alone = torch.stack([_levels(pipeline, images[each : each + 1], [each])[0] for each in (0, 1)])
            together = torch.stack(_levels(pipeline, images, [0, 1]))
        exact = alone if exact is None else exact
        if kind != "fp32":
            bars.append(_share(f"{shown}, {kind} against fp32", alone, exact))
        bars.append(_share(f"{shown}, {kind}: alone against in a batch of two", alone, together))
        del networks, pipeline
    return bars


def _levels(pipeline: Pipeline, images: Tensor, seeds: list[int]) -> list[Tensor]:
    outcomes = pipeline.upscale(images, seeds)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    if failed:
        raise RuntimeError(f"an image failed: {failed}")
    return [(outcome.image * 255).round().int() for outcome in outcomes if not isinstance(outcome, Failure)]


def _share(case: str, one: Tensor, other: Tensor) -> Bar:
    away = (one - other).abs()
    return Bar(case=f"{case}: values within 1/255", value=100 * float((away <= 1).float().mean()), unit="%")


def golden(where: full.Placement) -> Networks:
    """The small networks A of tests/golden/seesr."""

    def part(file: str, dtype: torch.dtype | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = json.loads((GOLDEN / f"weights_{file}.json").read_text(encoding="utf-8")).get("config", {})
        tensors = load_file(GOLDEN / f"weights_{file}.safetensors")
        return config, {name: tensor.to(dtype or where.dtype) for name, tensor in tensors.items()}

    vae_config, vae = part("vae_A", torch.float32)
    ram_config, ram = part("ram_A_base", torch.float32)
    tags = json.loads((GOLDEN / "ram_A_tags.json").read_text(encoding="utf-8"))
    files: tuple[Path, Path] = (GOLDEN / "tokenizer_A/vocab.json", GOLDEN / "tokenizer_A/merges.txt")
    dape = part("ram_A_dape", torch.float32)[1]
    unet, controlnet = UNet(load_unet(*part("unet_A"))), ControlNet(load_controlnet(*part("controlnet_A")), 1.0)
    autoencoder = load_autoencoder(vae_config, vae, encoder_tile=1024, decoder_tile=224)
    return Networks(
        unet=unet.to(where.device, memory_format=where.layout).eval(),
        controlnet=controlnet.to(where.device, memory_format=where.layout).eval(),
        vae=autoencoder.to(where.device, where.dtype, where.layout),
        text=load_text_encoder(*part("text_A"), *files, where.dtype, 1).to(where.device),
        tagger=load_tagger(ram, dape, ram_config, (tags["tags"], tags["thresholds"])).to(where.device),
        scheduler=full.full().scheduler,
    )


def step(run: RunSettings, name: str) -> list[Bar]:
    """Seconds of one guided step beside the reference way, weights in common, in turns; and that they agree."""
    side = 8 if run.tiny else 16
    where = full.placement("cpu", "fp32")
    torch.manual_seed(0)
    stock = full.denoisers(run.sizes, where)
    own = full.own_networks(stock, where)
    reference.chain_transformers(stock)
    width = int(run.sizes.text["hidden_size"])
    latent, control_image = torch.randn(1, 4, side, side), torch.rand(1, 3, 8 * side, 8 * side)
    text, images = torch.randn(2, 77, width), torch.randn(1, measure.TOKENS, 512)
    schedule = make_schedule(run.sizes.scheduler, 1)
    with torch.inference_mode():
        sampler = Sampler(*own, schedule, 5.5, text[:1])
        part = sampler._parts(control_image, None)[0]
        tables = sampler._keys_and_values(Prompts(text[1:], images))
        rows = [table[each] for table, each in zip(tables, [part.text, part.images] * 2, strict=True)]
        time = torch.tensor(schedule.steps[0].timestep)

        def ours() -> Tensor:
            return sampler._predict_part(latent, part, rows, 0)

        def theirs() -> Tensor:
            return reference.predict(stock, latent, control_image, (text, images), time, 5.5)

        away = float((ours() - theirs()).abs().max() / theirs().abs().max())
        acts = [lambda act=act: measure.seconds(act, where.device) for act in (ours, theirs)]
        spent = interleaved(run.repeats, *acts)
    shown = f"{name}: {side}x{side} latent, guided, fp32, {torch.get_num_threads()} threads"
    return [
        bar_of(f"{shown}: one step", spent[0], "s", None, WAY, spent[1]),
        Bar(case=f"{shown}: largest difference over the largest value", value=away, unit="", bar=1e-4),
    ]
