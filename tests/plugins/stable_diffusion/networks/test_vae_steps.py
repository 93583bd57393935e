"""The steps of SeeSR's VAE: together they are the network, and they stop wherever it normalises."""

import pytest
import torch
from seesr_vae import autoencoder, images, latents
from srcache_plugins.stable_diffusion.networks import vae_tiles
from srcache_plugins.stable_diffusion.networks.vae_steps import JoinedSteps, Shared, decoder_steps, encoder_steps


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels-last"])
def test_one_tile_alone_is_the_network_itself(layout):
    model, image, deep = autoencoder().to("cpu", torch.float32, layout), images(1, 72, 96), latents(1, 9, 12)
    ways = (encoder_steps(model._encoder), image), (decoder_steps(model._decoder), model._before(deep))
    encoded, decoded = (
        vae_tiles.run_tiles(steps, [one.contiguous(memory_format=layout)], park=False)[0] for steps, one in ways
    )
    torch.testing.assert_close(model._after(encoded), model.encode(image), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(decoded, model.decode(deep), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_every_normalisation_stops_all_tiles_and_every_residual_path_has_two_ends(half):
    model = autoencoder()
    network, steps = (
        (model._encoder, encoder_steps(model._encoder))
        if half == "encoder"
        else (model._decoder, decoder_steps(model._decoder))
    )
    norms, branched = [], 0
    for step in steps:
        if isinstance(step, Shared):
            norms.append(step.norm)
            assert not (branched and step.branch), "a path branches off within another"
            branched += step.branch is not None
        elif isinstance(step, JoinedSteps):
            branched -= 1
            assert branched == 0
    modules = [module for module in network.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert branched == 0
    assert len(norms) == len(modules)
    assert {id(norm) for norm in norms} == {id(module) for module in modules}


def test_activations_work_in_place_on_what_was_normalised_and_not_on_the_input():
    model, image = autoencoder(), images(1, 16, 16)
    before = image.clone()
    vae_tiles.run_tiles(encoder_steps(model._encoder), [image], park=False)
    assert torch.equal(image, before)
