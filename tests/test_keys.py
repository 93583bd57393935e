"""Names: frozen for ever, checkable with b2sum, different for different images."""

import shutil
import subprocess
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from srcache.keys import (
    dropped_key,
    entry_name,
    file_key,
    image_key,
    is_key,
    noise_seed,
    pixel_key,
    recolored_key,
    split_name,
)

ORPHANS = "this change orphans every cache in the field"
KEY = "acd23e1018cd219a59a9e1e9a9572bb8"
PIXELS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6).map(lambda size: (*size, 3)))


def test_keys_are_frozen():
    assert image_key(b"") == "cae66941d9efbd404e4d88758ea67670", ORPHANS
    assert image_key(b"srcache") == KEY, ORPHANS


def test_pixel_keys_are_frozen():
    ramp = np.arange(18, dtype=np.uint8)
    assert pixel_key(ramp.reshape(2, 3, 3)) == "0f7363d78e23fe82e6f92f343c0914d2", ORPHANS
    assert pixel_key(ramp.reshape(3, 2, 3)) == "7ff2467747fc0e128a75dd6333e363dd", ORPHANS


def test_keys_of_pixels_in_a_recipes_colours_are_frozen_and_of_equal_ones_their_own():
    one, other = (pixel_key(np.full((1, 1, 3), value, np.uint8)) for value in (0, 255))
    assert recolored_key(one, one) == one
    assert recolored_key(one, other) == "8820ad9fe6fd75410931e3c1d1b56589", ORPHANS


def test_keys_of_dropped_pixels_are_frozen():
    assert dropped_key("0f7363d78e23fe82e6f92f343c0914d2") == "ff1fee7bbe84337d5436f26667948f0e", ORPHANS


def test_entry_names_are_frozen():
    assert entry_name(KEY, 0) == f"{KEY}-000", ORPHANS
    assert entry_name(KEY, 7) == f"{KEY}-007", ORPHANS
    assert entry_name(KEY, 1234) == f"{KEY}-1234", ORPHANS


def test_noise_seeds_are_frozen():
    assert noise_seed(0, KEY, 0) == 1938091726192871221, ORPHANS
    assert noise_seed(0, KEY, 1) == 2339796404735700281, ORPHANS
    assert noise_seed(7, KEY, 12) == 15303241371512216407, ORPHANS


@pytest.mark.skipif(not shutil.which("b2sum"), reason="b2sum is not on this machine")
def test_b2sum_prints_a_files_key(tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(bytes(range(256)) * 5000)
    printed = subprocess.run(["b2sum", "-l", "128", path], capture_output=True, text=True, check=True).stdout
    assert file_key(path) == printed.split()[0]


@given(st.binary(max_size=64), st.integers(0, 2))
def test_a_file_is_read_to_its_end_in_pieces(tmp_path_factory, data, pieces):
    path = tmp_path_factory.getbasetemp() / "pieces.bin"
    complete = data + bytes(pieces << 20)
    path.write_bytes(complete)
    assert file_key(path) == image_key(complete)


def test_a_file_that_is_not_there_raises_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_key(tmp_path / "none.png")


@given(PIXELS, PIXELS)
def test_pixel_keys_differ_for_images_and_shapes_that_differ(one, other):
    assert (pixel_key(one) == pixel_key(other)) == (one.shape == other.shape and bool((one == other).all()))


@given(PIXELS)
def test_a_pixel_key_does_not_depend_on_the_memory_layout(rgb):
    assert pixel_key(np.asfortranarray(rgb)) == pixel_key(rgb) == pixel_key(np.stack([rgb, rgb], 2)[:, :, 0])


@given(PIXELS)
def test_a_pixel_key_is_never_the_key_of_a_file_with_these_bytes(rgb):
    assert pixel_key(rgb) != image_key(rgb.tobytes())


@given(st.binary(min_size=16, max_size=16), st.integers(0, 10**6))
def test_entry_names_are_read_back(digest, sample):
    assert split_name(entry_name(digest.hex(), sample)) == (digest.hex(), sample)


@pytest.mark.parametrize(
    "name",
    [
        "",
        KEY,
        f"{KEY}-00",
        f"{KEY}-0001",
        f"{KEY}-00x",
        f"{KEY}_000",
        f"{KEY[:-1]}-000",
        f"{KEY.upper()}-000",
        f"{KEY}-٠٠١",
    ],
)
def test_what_is_not_an_entrys_name_is_refused(name):
    with pytest.raises(ValueError, match="expected an entry's name"):
        split_name(name)


@given(st.text("0123456789abcdefAg-٣", min_size=30, max_size=33))
def test_a_text_is_a_key_exactly_if_it_is_32_lower_case_hexadecimal_digits(text):
    assert is_key(text) == (len(text) == 32 and set(text) <= set("0123456789abcdef"))
    assert is_key(blake2b(text.encode(errors="replace"), digest_size=16).hexdigest())


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 999), st.integers(0, 999))
def test_seeds_fit_64_bits_and_differ_with_every_part(seed, other, sample, another):
    assert 0 <= noise_seed(seed, KEY, sample) < 2**64
    assert (noise_seed(seed, KEY, sample) == noise_seed(other, KEY, another)) == ((seed, sample) == (other, another))
    assert noise_seed(seed, KEY, sample) != noise_seed(seed, KEY[::-1], sample)
