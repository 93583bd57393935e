"""SeeSR's VAE, in one piece and in tiles: the reference program's numbers, and what must not matter."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seesr_fixtures import GOLDEN, case, cases, weights
from srcache_plugins.seesr.networks import vae_tiles
from srcache_plugins.seesr.networks.vae import DECODER_PAD, ENCODER_PAD, load_autoencoder
from srcache_plugins.seesr.networks.vae_steps import decoder_steps, encoder_steps
from srcache_plugins.seesr.networks.vae_tiles import average, lay_out, measure_moments, normalise

from srcache.errors import EngineError, WeightsError

pytest.importorskip("diffusers")

CONFIG, TENSORS = weights("vae_A")
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def autoencoder(encoder_tile=1024, decoder_tile=224, **options):
    return load_autoencoder(CONFIG, TENSORS, encoder_tile=encoder_tile, decoder_tile=decoder_tile, **options)


def images(count=1, height=64, width=64, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def latents(count=1, height=8, width=8, seed=0):
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("name", cases("e_vae_tiled"))
def test_tiles_lie_where_the_references_do(name, half):
    meta, tensors = case(name)
    height, width = tensors["in.image_uint8"].shape[:2] if half == "encoder" else tensors["in.latents"].shape[2:]
    tile, pad = (
        (meta["encoder_tile_px"], ENCODER_PAD) if half == "encoder" else (meta["decoder_tile_latent"], DECODER_PAD)
    )
    tiles = lay_out(height, width, tile, pad)
    scaled = (lambda edge: edge // 8) if half == "encoder" else (lambda edge: edge * 8)
    boxes = meta["tile_boxes"][half]
    assert [[*tile.seen[1], *tile.seen[0]] for tile in tiles] == boxes["in_boxes_x1x2y1y2"]
    assert [[scaled(edge) for edge in (*tile.kept[1], *tile.kept[0])] for tile in tiles] == boxes["out_boxes_x1x2y1y2"]


SIDES = st.one_of(st.integers(8, 200), st.integers(8, 4000))


@settings(max_examples=200)
@given(SIDES, SIDES, st.integers(32, 2048), st.sampled_from([ENCODER_PAD, DECODER_PAD]))
def test_what_is_kept_covers_an_image_once(height, width, tile, pad):
    tiles = lay_out(height, width, tile, pad)
    for axis, side in enumerate((height, width)):
        spans = sorted({(each.kept[axis], each.seen[axis]) for each in tiles})
        edges = [0, *(kept[1] for kept, _ in spans)]
        assert edges[-1] == side
        assert all(kept == (start, stop) for (kept, _), start, stop in zip(spans, edges[:-1], edges[1:], strict=True))
        for kept, seen in spans:
            assert 0 <= seen[0] <= kept[0] < kept[1] <= seen[1] <= side
            assert kept[0] == 0 or kept[0] - seen[0] == pad
            assert kept[1] == side or seen[1] - kept[1] == pad
            assert seen[1] - seen[0] <= tile + 2 * pad
    assert len(tiles) == len({each.kept for each in tiles})
    assert tiles == sorted(tiles, key=lambda each: (each.kept[0], each.kept[1]))


@given(st.integers(1, 500), st.integers(4, 256))
def test_an_encoders_tiles_lie_on_cells(cells, tiles_of_8):
    edges = [edge for tile in lay_out(8 * cells, 8 * cells, 8 * tiles_of_8, ENCODER_PAD) for edge in tile.seen[0]]
    assert all(edge % 8 == 0 for edge in edges)


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
        "srcache_plugins.seesr.networks.vae.lay_out", lambda *rest: made.append(rest[:2]) or lay_out(*rest)
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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels-last"])
def test_one_tile_alone_is_the_network_itself(layout):
    model, image, deep = autoencoder().to("cpu", torch.float32, layout), images(1, 72, 96), latents(1, 9, 12)
    ways = (encoder_steps(model._encoder), image), (decoder_steps(model._decoder), model._before(deep))
    encoded, decoded = (
        vae_tiles.run_tiles(steps, [one.contiguous(memory_format=layout)], park=False)[0] for steps, one in ways
    )
    torch.testing.assert_close(model._after(encoded), model.encode(image), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded, model.decode(deep), atol=2e-5, rtol=1e-4)


def test_waiting_tiles_may_lie_elsewhere(monkeypatch):
    parked = []

    def elsewhere(tensor):
        parked.append(tensor.shape)
        copied = tensor.clone()
        tensor.fill_(math.nan)  # whoever still looks at the tensor on the device will show it
        return copied

    monkeypatch.setattr(vae_tiles, "_to_host", elsewhere)
    deep, image = latents(1, 31, 12), images(1, 136, 72)
    stays, parks = autoencoder(64, 8), autoencoder(64, 8, park=True)
    expected = stays.decode(deep), stays.encode(image)
    assert parked == []
    assert torch.equal(parks.decode(deep), expected[0])
    assert torch.equal(parks.encode(image), expected[1])
    assert parked


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


def test_shared_moments_are_averages_by_cells():
    few, many = torch.randn(1, 64, 3, 4), torch.randn(1, 64, 6, 6) * 2 + 5
    found = [measure_moments(tile, 32) for tile in (few, many)]
    shared = average(found)
    parts = [tile.reshape(32, -1) for tile in (few, many)]
    for name, moment in (("mean", lambda part: part.mean(1)), ("variance", lambda part: part.var(1, correction=0))):
        wanted = moment(parts[0]) * 12 / 48 + moment(parts[1]) * 36 / 48
        torch.testing.assert_close(getattr(shared, name), wanted)
    assert shared.cells == 48


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalising_one_tile_is_group_norm(dtype):
    norm = torch.nn.GroupNorm(32, 64, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    norm.requires_grad_(False)
    tile = (torch.randn(1, 64, 9, 7) * 3 + 1).to(dtype)
    wanted = norm(tile.float())
    found = normalise(tile, norm.to(dtype), measure_moments(tile, 32))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), wanted, atol=4 * torch.finfo(dtype).eps, rtol=8 * torch.finfo(dtype).eps)


def test_float16_does_not_overflow():
    norm = torch.nn.GroupNorm(32, 32, eps=1e-6).requires_grad_(False).half()
    wide = torch.full((1, 32, 8, 8), 60000.0).half()
    wide[..., ::2] = -60000.0  # its variance is far beyond float16
    flat = torch.full((1, 32, 8, 8), 100.0).half()  # times 1 / sqrt(variance + epsilon) it is beyond float16
    assert normalise(wide, norm, measure_moments(wide, 32)).abs().max() == 1
    assert normalise(flat, norm, measure_moments(flat, 32)).abs().max() < 0.01


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
