"""One prediction for a batch: in one piece and in windows, and what it keeps alive."""

import weakref

import pytest
import torch
from seesr_fixtures import drawn
from srcache_plugins.stable_diffusion.networks.denoiser import Conditioning
from srcache_plugins.stable_diffusion.one_call import OneCall
from srcache_plugins.stable_diffusion.windows import lay_windows

from srcache.engine.interface import Tiling


class Unet:
    """Noise is the latent times the text's mean, plus the time."""

    calls = 0

    def times(self, times):
        return torch.tensor(times, dtype=torch.float32)[:, None]

    def text(self, text):
        return text

    def __call__(self, latent, conditioning):
        assert isinstance(conditioning, Conditioning)
        assert conditioning.images is None
        self.calls += 1
        return latent * conditioning.text.mean((1, 2))[:, None, None, None] + conditioning.time


@pytest.mark.parametrize("tiling", [None, Tiling(size=4, overlap=1)])
def test_each_image_is_predicted_with_its_own_prompt(tiling):
    unet, latent, text = Unet(), drawn(3, 4, 6, 9), drawn(3, 77, 8, seed=1)
    windows = lay_windows(6, 9, tiling)
    found = OneCall(unet, 7).predicted(latent, text, windows)
    torch.testing.assert_close(found, latent * text.mean((1, 2))[:, None, None, None] + 7)
    assert unet.calls == (-(-3 * len(windows.places) // 4) if windows else 1)


def test_what_is_made_of_the_function_keeps_nothing_of_its_owner_alive():
    call = OneCall(Unet(), 1)
    predict, owner = call.predict, weakref.ref(call)
    call.run = lambda *given: predict(*given)
    del call
    assert owner() is None
