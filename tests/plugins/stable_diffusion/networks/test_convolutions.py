"""Convolutions that say their own cuDNN settings: the same bits as stock ones on a CPU, whatever the process says."""

import pytest
import torch
from srcache_plugins.seesr.sampling.sampler import Prompts
from srcache_plugins.stable_diffusion.networks.convolutions import ExactConv2d, exact_convolutions, make_exact
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Seen(TorchDispatchMode):
    """Notes the convolutions that are asked for, and with which settings."""

    def __init__(self):
        super().__init__()
        self.stock, self.settings = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.stock += func is torch.ops.aten.convolution.default
        if func is torch.ops.aten._convolution.default:
            self.settings.add(args[-4:])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("how", [{"padding": 1}, {"stride": 2}, {"groups": 2, "bias": False}, {"dilation": 2}])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_computes_what_the_stock_one_computes(how, layout):
    torch.manual_seed(0)
    stock = nn.Conv2d(4, 6, 3, **how).to(memory_format=layout)
    images = torch.randn(2, 4, 9, 11).to(memory_format=layout)
    with torch.inference_mode():
        wanted = stock(images)
        exact = make_exact(nn.Sequential(stock))
        found = exact(images)
    assert type(stock) is ExactConv2d
    assert torch.equal(found, wanted)
    assert found.stride() == wanted.stride()


@pytest.mark.parametrize("how", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}])
def test_what_it_cannot_do_is_left_as_it_is(how):
    assert type(make_exact(nn.Conv2d(2, 2, 3, **how))) is nn.Conv2d


def test_no_convolution_of_the_engine_asks_the_process(tiny_networks):
    networks = tiny_networks
    with torch.no_grad(), Seen() as seen:
        tags, embeds = networks.tagger(torch.rand(1, 3, 16, 16))
        networks.vae.decode(networks.vae.encode(torch.rand(1, 3, 64, 64) * 2 - 1)[:, :4])
        Prompts(networks.text.encode(tags), embeds)
        control = networks.controlnet.embedding(torch.rand(1, 3, 64, 64))
        networks.unet.conv_in(torch.rand(1, 4, 8, 8))
    assert control.shape[-1] == 8
    modules = [networks.unet, networks.controlnet, networks.vae._encoder, networks.vae._decoder, networks.vae._before]
    modules += [networks.vae._after, networks.tagger.network]
    assert {type(each) for one in modules for each in one.modules() if isinstance(each, nn.Conv2d)} == {ExactConv2d}
    assert (seen.stock, seen.settings) == (0, {(False, True, True, False)})


def test_the_same_settings_can_be_set_for_what_cannot_say_them():
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    with exact_convolutions():
        assert (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (False, True, False)
    assert (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before
