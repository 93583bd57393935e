"""Which decoder reads: what is in use is named, and can be refused."""

import pytest
from image_files import saved
from odd_files import agree, waves

from srcache.errors import ConfigError
from srcache.images import decode, decoders_in_use, jpeg_files
from srcache.images.decoders import obstacle


def test_every_kind_has_a_decoder_and_pillow_stands_in() -> None:
    found = {one.kind: one for one in decoders_in_use()}
    assert list(found) == ["JPEG", "PNG", "QOI", "AVIF", "HEIC"]
    for kind, package in (("JPEG", "simplejpeg"), ("PNG", "imagecodecs")):
        assert found[kind].name.startswith("pillow " if found[kind].reason else f"{package} ")
        assert found[kind].reason == obstacle(kind)
    assert found["QOI"].name.startswith("qoi ")


def test_all_can_be_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_DECODERS", "pillow")
    found = {one.kind: one for one in decoders_in_use()}
    assert found["JPEG"].name.startswith("pillow ")
    assert found["JPEG"].reason == "SRCACHE_DECODERS is pillow"
    monkeypatch.setattr(jpeg_files, "plain_frame", None)
    assert agree(saved(waves(9, 9), "JPEG"))


def test_a_choice_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_DECODERS", "quick")
    with pytest.raises(ConfigError, match="must be one of fast, pillow, but is 'quick'"):
        decode(saved(waves(9, 9), "JPEG"))
