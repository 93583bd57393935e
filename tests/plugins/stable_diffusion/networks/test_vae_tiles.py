"""The tiles of SeeSR's VAE: where they lie, the statistics that they share, and where they wait."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seesr_fixtures import case, cases
from seesr_vae import autoencoder, images, latents
from srcache_plugins.stable_diffusion.networks import vae, vae_tiles
from srcache_plugins.stable_diffusion.networks.vae import DECODER_PAD, ENCODER_PAD
from srcache_plugins.stable_diffusion.networks.vae_tiles import average, lay_out, measure_moments, normalise


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
    asks = autoencoder(64, 8, park=None)
    for free, wanted in ((0, True), (10**9, False)):
        monkeypatch.setattr(vae, "_free_bytes", lambda device, free=free: free)
        parked.clear()
        assert torch.equal(asks.decode(deep), expected[0])
        assert bool(parked) == wanted, "only where tiles do not fit"


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


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_the_room_that_waiting_tiles_take_is_known(half, monkeypatch):
    """What is compared with the free memory is what the largest state of all tiles takes, and hardly more."""
    states, park, compared = [], vae_tiles._TileState.park, []

    def noting(state):
        states.append(state.value.nbytes + (0 if state.branch is None else state.branch.nbytes))
        park(state)

    monkeypatch.setattr(vae_tiles._TileState, "park", noting)

    class Free(int):
        def __lt__(self, needed):
            compared.append(needed)
            return True

    monkeypatch.setattr(vae, "_free_bytes", lambda device: Free(0))
    model = autoencoder(64, 8, park=None)
    given = images(1, 200, 72) if half == "encode" else latents(1, 38, 12)
    getattr(model, half)(given)
    tiles = len(lay_out(*given.shape[-2:], *((64, ENCODER_PAD) if half == "encode" else (8, DECODER_PAD))))
    at_most = [sum(states[start : start + tiles]) for start in range(0, len(states), tiles)]
    (needed,) = compared
    share = tiles / (tiles + vae._AT_WORK)
    assert 0.7 <= max(at_most) / (share * needed) <= 1.15
