"""Random networks for the benchmarks of SeeSR: the same numbers in every precision, at their published sizes."""

import torch

from benchmarks import seesr_full


def test_random_weights_are_the_same_numbers_in_every_precision():
    torch.manual_seed(3)
    exact = seesr_full.denoisers(seesr_full.tiny(), seesr_full.placement("cpu", "fp32")).unet.state_dict()
    torch.manual_seed(3)
    half = seesr_full.denoisers(seesr_full.tiny(), seesr_full.placement("cpu", "fp16")).unet.state_dict()
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in exact.items())


def test_the_networks_have_the_published_sizes():
    networks = seesr_full.networks(seesr_full.full(), seesr_full.placement("meta", "fp16"))
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in (("vae", networks.vae._encoder), ("text", networks.text.model))
    }
    assert counts["text"] == 340_387_840, "OpenCLIP's text model, as Stable Diffusion 2 uses it"
    assert counts["vae"] == 34_163_592, "the VAE's encoder"
    assert networks.unet.conv_in.weight.dtype == torch.float16
    assert networks.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert next(networks.tagger.network.parameters()).dtype == torch.float32
