"""Pillow's warnings and its limit of pixels are set aside for a thread that reads images here, and for no other."""

import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from exif_data import exif, long, short
from image_files import saved
from PIL import Image, TiffImagePlugin

from srcache.errors import ImageError
from srcache.images import decode, told_of
from srcache.images.apart import apart

CUT = exif(short(0x0112, 6), long(0x9C9C, 0x7FFFFFF0, kind=2))
"""EXIF data with a text that lies outside of it: Pillow warns and goes on."""


def warn(text: str) -> None:
    TiffImagePlugin.warnings.warn(text)


@pytest.mark.parametrize("action", ["error", "always", "ignore"])
def test_a_warning_is_neither_damage_nor_printed_but_counted_once_for_each_image(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told_of()
    data = saved(Image.new("RGB", (6, 4)), "JPEG", exif=CUT)
    with warnings.catch_warnings(record=action == "always") as caught:
        warnings.simplefilter(action)
        assert decode(data).shape == decode(data).shape == (6, 4, 3)
    assert not caught
    assert capsys.readouterr() == ("", "")
    assert told_of() == {"Tag data larger than file. Skipping tag N": 2}
    assert told_of() == {}


def test_other_threads_and_other_times_warn_as_ever() -> None:
    told_of()
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with apart():
            inside.set()
            done.wait(10)
            warn("set aside")

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with pytest.warns(UserWarning, match="of this thread") as caught:
        warn("of this thread")
    done.set()
    thread.join()
    assert [one.filename for one in caught] == [__file__], "it is told where it was, not in srcache"
    assert told_of() == {"set aside": 1}
    with pytest.warns(Image.DecompressionBombWarning):
        Image._decompression_bomb_check((10_000, 10_000))


def test_threads_do_not_disturb_each_other_or_the_filters_of_the_program() -> None:
    told_of()
    data = saved(Image.new("RGB", (6, 4)), "PNG", exif=CUT)
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("error")
        before = list(warnings.filters)
        found = [pool.submit(decode, data) for _ in range(200)]
        for _ in range(50):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
        assert all(future.result().shape == (6, 4, 3) for future in found)
        assert warnings.filters == before
    assert told_of() == {"Tag data larger than file. Skipping tag N": 200}


def test_one_within_another_adds_to_it_and_a_failure_counts_nothing() -> None:
    told_of()
    with apart(counted=False) as texts:
        with apart():
            warn("inner")
        assert texts == ["inner"]
    with pytest.raises(ImageError):
        decode(saved(Image.new("RGB", (6, 4)), "JPEG", exif=CUT)[:-4])
    assert told_of() == {}


def test_what_pillow_logs_is_set_aside_like_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    told_of()
    with apart():
        logging.getLogger("PIL.TiffImagePlugin").error("more samples than %s", 64)
    assert not caplog.records
    assert told_of() == {"more samples than N": 1}
    logging.getLogger("PIL.TiffImagePlugin").error("as ever")
    assert [record.message for record in caplog.records] == ["as ever"]


def test_the_number_of_texts_has_an_end() -> None:
    told_of()
    for letter in range(500):
        with apart():
            warn("x" * letter)
    assert 50 < len(told_of()) < 200


@pytest.mark.parametrize(("theirs", "ours"), [(1, "4000"), (None, "4000"), (10**9, "4000"), (89478485, "400000000")])
@pytest.mark.parametrize("kind", ["WEBP", "GIF", "ICO", "TIFF", "PNG"])
def test_the_limit_of_whoever_uses_pillow_is_neither_asked_nor_changed(
    kind: str, theirs: int | None, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", theirs)
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", ours)
    assert decode(saved(Image.new("RGB", (32, 32)), kind)).shape[:2] == (32, 32)
    assert theirs == Image.MAX_IMAGE_PIXELS
