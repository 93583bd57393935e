"""Presets: metrics and a convention by the name of where they come from."""

import pytest

from srcache.study import quality
from srcache.study.quality.presets import PRESETS
from srcache.study.quality.psnr_ssim import Convention


def test_the_presets_are_what_they_are_called():
    paper = quality.PRESETS["seesr-paper"]
    assert (paper.channel, paper.crop_border) == ("y", 0)
    assert paper.metrics == ("psnr", "ssim", "lpips", "dists", "fid", "niqe", "musiq", "maniqa-pipal", "clipiqa")
    assert quality.PRESETS["thesis-as-published"].metrics[:2] == ("pyiqa:psnry", "pyiqa:ssim")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_measured_and_says_what_it_is(name):
    preset = PRESETS[name]
    assert Convention(channel=preset.channel, crop_border=preset.crop_border).channel == preset.channel
    assert len(set(preset.metrics)) == len(preset.metrics)
    assert 20 < len(preset.about) < 120


def test_presets_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        PRESETS["mine"] = PRESETS["seesr-paper"]
