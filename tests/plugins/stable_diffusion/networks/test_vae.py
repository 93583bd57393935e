"""SeeSR's VAE, in one piece and in tiles: the reference program's numbers, and what must not matter."""

import copy
import json
from functools import partial

import pytest
import torch
from fake_graphs import FakeGraphs
from seesr_fixtures import GOLDEN, case, cases
from seesr_vae import CONFIG, TENSORS, autoencoder, images, latents
from srcache_plugins.stable_diffusion.cuda_graphs import GraphedCallable, GraphMemory, compiled
from srcache_plugins.stable_diffusion.networks.vae import load_autoencoder
from srcache_plugins.stable_diffusion.networks.vae_tiles import lay_out

from srcache.errors import EngineError, WeightsError

pytest.importorskip("diffusers")

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def distance(left, right):
    return (left.float() - right.float()).abs().max().item()


@pytest.mark.parametrize("name", cases("e_vae_"))
def test_moments_and_images_are_the_references(name):
    meta, tensors = case(name)
    tiled = autoencoder(meta["encoder_tile_px"], meta["decoder_tile_latent"])
    image = tensors["in.image_uint8"].permute(2, 0, 1)[None].float() / 255 * 2 - 1
    assert distance(tiled.encode(image), tensors["expect.moments_tiled"]) < 5e-5
    assert distance(autoencoder().encode(image), tensors["expect.moments_untiled"]) < 5e-6
    decoded = tiled.decode(tensors["in.latents"])
    assert distance(decoded, tensors["expect.decoded_tiled"]) < 1.1e-3  # stored as float16, values up to 3


@pytest.mark.parametrize(("height", "width"), [(48, 200), (200, 48), (136, 136), (8, 168)])
def test_sizes_that_need_tiles_in_one_direction_or_both(height, width):
    tiled = autoencoder(64, 8)
    moments = tiled.encode(images(1, height, width))
    assert moments.shape == (1, 8, height // 8, width // 8)
    decoded = tiled.decode(latents(1, height // 4, width // 4))
    assert decoded.shape == (1, 3, 2 * height, 2 * width)
    assert moments.isfinite().all()
    assert decoded.isfinite().all()


def test_tiles_begin_one_cell_above_the_limit(monkeypatch):
    made = []
    monkeypatch.setattr(
        "srcache_plugins.stable_diffusion.networks.vae.lay_out", lambda *rest: made.append(rest[:2]) or lay_out(*rest)
    )
    tiled = autoencoder(64, 8)
    tiled.encode(images(1, 128, 32))
    tiled.decode(latents(1, 8, 30))
    assert made == []
    tiled.encode(images(1, 136, 32))
    tiled.decode(latents(1, 8, 31))
    assert made == [(136, 32), (8, 31)]


@pytest.mark.parametrize(("tile", "size"), [((64, 8), 136), ((1024, 224), 64)], ids=["tiled", "in one piece"])
def test_an_image_does_not_depend_on_its_batch(tile, size):
    model, batch, deep = autoencoder(*tile), images(3, size, 64), latents(3, size // 4, 8)
    encoded, decoded = model.encode(batch), model.decode(deep)
    for index in range(3):
        assert torch.equal(model.encode(batch[index : index + 1])[0], encoded[index])
        assert torch.equal(model.decode(deep[index : index + 1])[0], decoded[index])


def test_images_together_move_by_rounding_and_stay_what_they_are_at_any_place():
    model, batch, deep, places = autoencoder(), images(5, 32, 40), latents(5, 4, 5), [3, 0, 4, 2, 1]
    alone = model.encode(batch), model.decode(deep)
    for together in (5 * 20, 2 * 20):  # in one call, and in three of two, of which the last is filled up
        model.together = together
        for act, some, wanted in ((model.encode, batch, alone[0]), (model.decode, deep, alone[1])):
            found = act(some)
            assert found.shape == wanted.shape
            assert distance(found, wanted) < 2e-5
            assert torch.equal(act(some[places]), found[places])


def test_together_are_as_many_as_their_size_allows_and_what_is_tiled_goes_alone(monkeypatch):
    model, sizes = autoencoder(64, 8), []
    model.together = 3 * 16
    monkeypatch.setattr(model, "_in_calls", lambda ready, act: sizes.append([len(each) for each in ready]) or ready[0])
    model.encode(images(5, 32, 32))
    model.decode(latents(4, 4, 4))
    model.decode(latents(2, 7, 7))
    model.encode(images(3, 136, 8))
    assert sizes == [[3, 3], [2, 2], [1, 1], [1, 1, 1]]


def test_what_is_not_tiled_is_run_by_something_faster_and_a_copy_is_not():
    model, plain, calls = autoencoder(64, 8), autoencoder(64, 8), []

    def wrap(act):
        return lambda some: calls.append(tuple(some.shape)) or act(some)

    model.run_by(wrap)
    for one in (model, copy.deepcopy(model)):
        assert torch.equal(one.encode(images(2, 32, 40)), plain.encode(images(2, 32, 40)))
        assert torch.equal(one.decode(latents(1, 4, 5)), plain.decode(latents(1, 4, 5)))
        assert torch.equal(one.encode(images(1, 136, 8)), plain.encode(images(1, 136, 8)))
        assert torch.equal(one.decode(latents(1, 31, 8)), plain.decode(latents(1, 31, 8)))
        assert calls == [(1, 3, 32, 40)] * 2 + [(1, 4, 4, 5)]
    model.to("cpu", torch.bfloat16)
    model.decode(latents(1, 4, 5))
    model.run_by(wrap)
    model.decode32(latents(1, 4, 5))
    assert len(calls) == 3


def test_recordings_of_both_halves_give_the_same_bits(monkeypatch):
    graphs = FakeGraphs()
    graphs.put_in(monkeypatch)
    model, plain, memory = autoencoder(), autoencoder(), GraphMemory()
    model.run_by(lambda act: GraphedCallable(act, memory))
    with torch.inference_mode():
        for seed in (1, 2):
            batch, deep = images(2, 32, 40, seed), latents(3, 4, 5, seed)
            assert torch.equal(model.encode(batch), plain.encode(batch))
            assert torch.equal(model.decode(deep), plain.decode(deep))
    assert len(memory) == len(graphs.pools) == 2


@pytest.mark.slow
def test_both_halves_are_compiled_in_one_piece(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model, plain = autoencoder(), autoencoder()
    model.run_by(compiled)
    with torch.inference_mode():
        assert torch.equal(model.encode(images(1, 32, 40)), plain.encode(images(1, 32, 40)))
        assert torch.equal(model.decode(latents(1, 4, 5)), plain.decode(latents(1, 4, 5)))


@pytest.mark.gpu
def test_parking_changes_nothing_and_frees_memory_on_a_gpu():
    deep, results, peaks = latents(1, 60, 60).cuda(), [], []
    for park in (False, True):
        model = autoencoder(64, 8, park=park).to("cuda")
        torch.cuda.reset_peak_memory_stats()
        results.append(model.decode(deep))
        peaks.append(torch.cuda.max_memory_allocated())
    assert torch.equal(*results)
    assert peaks[1] < peaks[0]


@pytest.mark.parametrize(
    ("dtype", "precision", "layout"),
    [(torch.bfloat16, "bf16", torch.contiguous_format), (torch.float16, "fp16", torch.channels_last)],
    ids=["bf16", "fp16-channels-last"],
)
def test_half_precision_is_near_and_has_a_way_back(dtype, precision, layout):
    deep, image = latents(1, 31, 8), images(1, 136, 32)
    exact, half = autoencoder(64, 8), autoencoder(64, 8).to("cpu", dtype, layout)
    decoded, encoded, wanted = half.decode(deep), half.encode(image), exact.decode(deep)
    assert (exact.precision, half.precision) == ("fp32", precision)
    assert decoded.dtype == encoded.dtype == torch.float32
    assert 0 < distance(decoded, wanted) < 0.1
    assert 0 < distance(encoded, exact.encode(image)) < 0.25
    assert distance(half.decode32(deep), wanted) < distance(decoded, wanted)
    assert torch.equal(exact.decode32(deep), wanted)


def test_decode32_follows_a_move():
    model = autoencoder().to("cpu", torch.float16)
    once = model.decode32(latents())
    assert torch.equal(model.decode32(latents()), once)
    assert distance(model.to("cpu", torch.bfloat16).decode32(latents()), once) > 0  # bfloat16 has rounded the weights


def test_old_names_and_shapes_of_the_attention():
    old = {}
    for name, tensor in TENSORS.items():
        for new, word in OLD.items():
            if f".attentions.0.{new}." in name:
                name, tensor = name.replace(f".{new}.", f".{word}."), tensor
                tensor = tensor[..., None, None] if name.endswith("weight") else tensor
        old[name] = tensor
    assert set(old) - set(TENSORS)
    model = load_autoencoder(CONFIG, old, encoder_tile=64, decoder_tile=8)
    assert torch.equal(model.decode(latents()), autoencoder().decode(latents()))


def test_what_a_configuration_may_say_beside():
    config = {"_class_name": "AutoencoderKL", "_diffusers_version": "0.8.0", "from_a_later_version": 1, **CONFIG}
    assert load_autoencoder(config, TENSORS, encoder_tile=64, decoder_tile=8).scaling_factor == 0.18215
    del config["scaling_factor"]
    assert load_autoencoder(config, TENSORS, encoder_tile=64, decoder_tile=8).scaling_factor == 0.18215
    config["scaling_factor"] = 0.5
    assert load_autoencoder(config, TENSORS, encoder_tile=64, decoder_tile=8).scaling_factor == 0.5


@pytest.mark.parametrize(
    "change", [{"latent_channels": 16}, {"shift_factor": 0.1}, {"down_block_types": ["AttnDownEncoderBlock2D"] * 4}]
)
def test_other_kinds_of_vae_are_refused(change):
    with pytest.raises(WeightsError, match=f"kind: {next(iter(change))}"):
        load_autoencoder({**CONFIG, **change}, TENSORS, encoder_tile=64, decoder_tile=8)


def test_missing_and_surplus_tensors_are_refused():
    some = {name: tensor for name, tensor in TENSORS.items() if name != "quant_conv.bias"}
    with pytest.raises(WeightsError, match=r"1 missing: quant_conv\.bias"):
        load_autoencoder(CONFIG, some, encoder_tile=64, decoder_tile=8)
    with pytest.raises(WeightsError, match="1 without a place: loss"):
        load_autoencoder(CONFIG, {**TENSORS, "loss": torch.zeros(1)}, encoder_tile=64, decoder_tile=8)


@pytest.mark.parametrize("tiles", [(100, 8), (0, 8), (64, 0)])
def test_tiles_that_cannot_be_are_refused(tiles):
    with pytest.raises(EngineError, match=r"multiples of 8 .* but are"):
        autoencoder(*tiles)


def test_images_of_broken_cells_are_refused():
    with pytest.raises(EngineError, match="multiples of 8, but got 64x60"):
        autoencoder().encode(images(1, 64, 60))


def test_the_full_sizes_names_and_shapes():
    rows = json.loads((GOLDEN / "full/vae_params.json").read_text(encoding="utf-8"))["rows"]
    config = json.loads((GOLDEN / "full/configs.json").read_text(encoding="utf-8"))["vae"]["config"]
    tensors = {name: torch.empty(shape, device="meta") for name, shape, _ in rows}
    model = load_autoencoder(config, tensors, encoder_tile=1024, decoder_tile=224)
    assert sum(tensor.numel() for tensor in tensors.values()) == 83_653_863
    assert model.scaling_factor == 0.18215
