"""JPEG: the fast decoder gives Pillow's pixels bit for bit, and every odd or damaged file has Pillow's outcome."""

import io
import random
import sys
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from image_files import saved
from odd_files import ORIENTATION, SIZES, agree, changed, exif, jpegs, waves
from PIL import Image

from srcache.images import Pixels, decode, decode_both, decode_into, jpeg_files
from srcache.images.jpeg_files import Frame, decode_jpeg, difference, plain_frame

simplejpeg = pytest.importorskip("simplejpeg")


@pytest.fixture(autouse=True)
def as_pillow_warns() -> Iterator[None]:
    """Pillow warns of odd EXIF data, and reads on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_fast_decoder_is_in_use() -> None:
    assert difference() is None


@pytest.mark.parametrize("quality", [1, 10, 35, 50, 75, 90, 95, 98, 100])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_photos_are_read_fast_and_as_by_pillow(quality: int, sampling: str, progressive: bool) -> None:
    for size in SIZES:
        for restart in (0, 2):
            options = {"quality": quality, "subsampling": sampling, "progressive": progressive}
            data = saved(waves(*size), "JPEG", restart_marker_blocks=restart, **options)
            assert decode_jpeg(data) is not None
            assert agree(data)


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
def test_rare_subsamplings_are_read_as_by_pillow(sampling: str) -> None:
    for size in SIZES:
        data = simplejpeg.encode_jpeg(np.asarray(waves(*size)), 85, "RGB", sampling)
        assert decode_jpeg(data) is not None
        assert agree(data)


def test_grey_is_read_fast_and_has_three_equal_channels() -> None:
    for size in SIZES:
        data = saved(waves(*size).convert("L"), "JPEG", quality=80)
        found = decode_jpeg(data)
        assert found is not None
        assert (found == found[..., :1]).all()
        assert agree(data)


def test_cmyk_and_rgb_that_is_kept_are_read_as_by_pillow() -> None:
    assert decode_jpeg(saved(waves(9, 9).convert("CMYK"), "JPEG")) is None
    for size in SIZES:
        assert agree(saved(waves(*size).convert("CMYK"), "JPEG"))
        assert agree(saved(waves(*size), "JPEG", keep_rgb=True))


@pytest.mark.parametrize("orientation", range(10))
def test_only_an_upright_image_is_read_fast(orientation: int) -> None:
    data = saved(waves(13, 17), "JPEG", exif=exif(orientation))
    assert (decode_jpeg(data) is not None) == (orientation not in range(2, 9))
    assert agree(data)


def test_notes_are_looked_at_by_pillow() -> None:
    other = Image.Exif()
    other[0x010F] = "a maker of cameras"
    assert ORIENTATION not in other
    turned = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    for options, fast in (
        ({"exif": other}, True),
        ({"xmp": turned}, False),
        ({"icc_profile": b"p" * 70_000}, True),
        ({"comment": b"a comment"}, True),
    ):
        data = saved(waves(13, 17), "JPEG", **options)
        assert (decode_jpeg(data) is not None) == fast
        assert agree(data)


def test_of_several_images_the_first_is_pillows() -> None:
    data = saved(waves(13, 17), "MPO", save_all=True, append_images=[waves(9, 9)])
    assert decode_jpeg(data) is None
    assert agree(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
def test_a_file_that_is_cut_anywhere_ends_as_with_pillow(options: dict[str, object]) -> None:
    data = saved(waves(16, 16), "JPEG", quality=60, **options)
    for end in range(1, len(data)):
        assert agree(data[:end])
        assert agree(data[:end] + b"\xff\xd9")


def test_what_follows_the_image_changes_nothing() -> None:
    data = saved(waves(16, 16), "JPEG")
    for more in (b"\0", b"more", b"\xff", b"\xff\xd9", b"\xff\xd8\xff", data, bytes(1000)):
        assert agree(data + more)


def test_a_progressive_image_without_its_last_scans_is_as_by_pillow() -> None:
    data = saved(waves(40, 40), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    assert len(scans) > 3
    for place in scans:
        assert agree(data[:place] + b"\xff\xd9")


def _compare_changed(seed: int, count: int) -> None:
    rng, files = random.Random(seed), jpegs()
    fast = 0
    for _ in range(count):
        data = rng.choice(files)
        data = changed(data, rng, data.find(b"\xff\xda") + 12)
        fast += data.startswith(b"\xff\xd8\xff") and decode_jpeg(data) is not None
        assert agree(data), data.hex()
    assert fast > count / 20


def test_files_with_changed_bytes_end_as_with_pillow() -> None:
    _compare_changed(1, 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_tens_of_thousands_of_files_with_changed_bytes_end_as_with_pillow(seed: int) -> None:
    _compare_changed(seed, 15_000)


@pytest.mark.parametrize(
    ("place", "value"), [(2, 0x00), (20, 0xFE), (4, 0xFF)], ids=["no marker", "a table", "a long segment"]
)
def test_a_header_that_is_odd_is_left_to_pillow(place: int, value: int) -> None:
    data = bytearray(saved(waves(9, 9), "JPEG"))
    assert plain_frame(bytes(data)) == Frame(9, 9, False)
    data[place] = value
    assert agree(bytes(data))


def test_an_image_above_the_limit_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(waves(9, 9), "JPEG")
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "80")
    assert decode_jpeg(data) is None
    assert agree(data)


def test_pixels_go_straight_into_memory_of_their_shape() -> None:
    data, out = saved(waves(9, 15), "JPEG"), np.zeros((9, 15, 3), np.uint8)
    assert decode_jpeg(memoryview(data), out) is out
    np.testing.assert_array_equal(out, decode(data))
    other = decode_jpeg(data, np.zeros((15, 9, 3), np.uint8))
    assert other is not None
    np.testing.assert_array_equal(other, out)


def test_pillows_plain_conversion_is_the_same_array() -> None:
    both = decode_both(saved(waves(9, 15), "JPEG"))
    assert both.rgb is both.plain


def test_threads_do_not_disturb_each_other() -> None:
    files = [saved(waves(40, 40 + number), "JPEG", quality=50 + number) for number in range(8)]
    expected = [decode(data) for data in files]
    wrong: list[int] = []

    def read(number: int) -> None:
        out: Pixels = np.empty_like(expected[number])
        for _ in range(50):
            if not np.array_equal(decode_into(files[number], out), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture
def fresh_difference(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """`difference` looks again, and forgets what it saw."""
    difference.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    difference.cache_clear()


def test_without_simplejpeg_pillow_reads(fresh_difference: pytest.MonkeyPatch) -> None:
    fresh_difference.setitem(sys.modules, "simplejpeg", None)
    assert difference() == "simplejpeg is not installed"
    assert decode(saved(waves(9, 15), "JPEG")).shape == (9, 15, 3)


def test_a_simplejpeg_that_does_not_load_is_not_used(fresh_difference: pytest.MonkeyPatch) -> None:
    class Unloadable:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "simplejpeg":
                raise ValueError("numpy.dtype size changed")

    fresh_difference.delitem(sys.modules, "simplejpeg")
    fresh_difference.setattr(sys, "meta_path", [Unloadable(), *sys.meta_path])
    assert difference() == "simplejpeg does not load (numpy.dtype size changed)"


def test_a_simplejpeg_that_gives_other_pixels_is_not_used(fresh_difference: pytest.MonkeyPatch) -> None:
    right = simplejpeg.decode_jpeg

    def brighter(*words: object, **named: object) -> Pixels:
        found: Pixels = right(*words, **named)
        found[0, 0, 0] ^= 1
        return found

    fresh_difference.setattr(simplejpeg, "decode_jpeg", brighter)
    assert "gives other pixels than Pillow" in str(difference())
    assert agree(saved(waves(9, 15), "JPEG"))


def test_a_simplejpeg_that_does_not_know_its_options_is_not_used(fresh_difference: pytest.MonkeyPatch) -> None:
    fresh_difference.setattr(simplejpeg, "decode_jpeg", lambda data, colorspace: None)
    assert "is too old" in str(difference())


def test_the_trials_are_small_and_of_many_makes() -> None:
    trials = list(jpeg_files._trials())
    assert len(trials) > 9
    assert sum(map(len, trials)) < 40_000


def test_a_header_that_is_known_is_not_taken_for_another():
    plain, turned = io.BytesIO(), io.BytesIO()
    image = Image.new("RGB", (16, 8), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(plain, "JPEG")
    image.save(turned, "JPEG", exif=exif)
    for _ in range(3):
        assert jpeg_files.plain_frame(plain.getvalue()) == Frame(8, 16, False)
        assert jpeg_files.plain_frame(turned.getvalue()) == Frame(8, 16, True)
    cut = plain.getvalue().find(b"\xff\xda")
    for mark in (b"\xff\xda\x00\x0c", b"\xff\xda"):
        comment = b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark
        hidden = plain.getvalue()[:2] + comment + plain.getvalue()[2:]
        assert jpeg_files.plain_frame(hidden) == Frame(8, 16, False), "the mark of a scan inside a comment"
    assert jpeg_files.plain_frame(plain.getvalue()[:cut]) is None
