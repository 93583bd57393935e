"""Networks that engines share, from files: what an engine may change on the way, and what is refused."""

import json

import pytest
import torch
from osediff_fixtures import parts
from srcache_plugins.stable_diffusion.loading import (
    NEEDED,
    Loading,
    check_shared,
    load_scheduler,
    load_text,
    load_vae,
    read_settings,
    require_parts,
)

from srcache.errors import WeightsError

HOW = Loading(device=torch.device("cpu"), dtype=torch.float32, encoder_tile=1024, decoder_tile=224, antialias=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return parts(tmp_path_factory.mktemp("parts"))


def test_all_that_a_bundle_lacks_is_named(files):
    require_parts(files, NEEDED, "this engine")
    with pytest.raises(WeightsError, match=r"this engine needs a bundle with all its parts, .* lacks mine, yours$"):
        require_parts(files, ("mine", *NEEDED, "yours"), "this engine")


def test_settings_that_are_cut_short_are_refused(files, tmp_path):
    path = tmp_path / "unet.json"
    path.write_text(json.dumps({"sample_size": 64}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"unet\.json does not say block_out_channels, .* or another file"):
        read_settings({"unet.config": path}, "unet.config")
    assert read_settings(files, "unet.config")["cross_attention_dim"] == 24


def test_a_change_gets_the_vae_s_tensors_in_newer_names_and_gives_those_that_are_loaded(files):
    def louder(tensors):
        assert "encoder.mid_block.attentions.0.to_q.weight" in tensors
        return tensors | {"quant_conv.bias": tensors["quant_conv.bias"] + 1}

    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        plain, changed = load_vae(files, HOW).encode(image), load_vae(files, HOW, louder).encode(image)
    torch.testing.assert_close(changed, plain + 1, atol=1e-5, rtol=1e-5)


def test_shapes_are_compared_without_reading_a_tensor(files):
    check_shared(files)
    for part, other, words in (
        ("vae", "unet", "VAE's checkpoint does not fit"),
        ("text", "vae", "text encoder does not fit"),
        ("ram", "dape", "DAPE does not fit RAM"),
        ("scheduler.config", "vae.config", "scheduler's settings do not say"),
    ):
        with pytest.raises(WeightsError, match=words):
            check_shared({**files, part: files[other]})


def test_the_schedule_and_the_text_encoder_are_read(files):
    assert load_scheduler(files)["num_train_timesteps"] == 1000
    assert load_text(files, HOW).encode(["a cat"]).shape == (1, 77, 24)
