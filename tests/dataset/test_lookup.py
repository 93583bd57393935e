"""SR images by the key of a file, and by that of its pixels; what does not decode says whose it is."""

from contextlib import closing

import numpy as np
import pytest
from training_sets import PLAIN, built, files_of

from srcache.cache.manifest import open_cache
from srcache.dataset.lookup import SRImages
from srcache.errors import DamagedError, ImageError
from srcache.images import decode
from srcache.keys import entry_name, file_key, image_key, pixel_key
from srcache.stores import Entry


@pytest.fixture
def images(photos):
    return SRImages(open_cache(built(photos, PLAIN)).find())


def test_an_image_is_found_by_its_file_and_by_its_pixels(images, photos):
    for file in files_of(photos):
        key, pixels = file_key(file), pixel_key(decode(file.read_bytes()))
        with images.view() as view:
            name, payload = images.find(view, key, 0)
            assert (name, bytes(payload)) == (entry_name(key, 0), bytes(images.find(view, pixels, 0)[1]))
            assert images.find(view, pixels, 0)[0] == name
            assert images.find(view, key, 1) == (entry_name(key, 1), None)
            assert images.find(view, image_key(b"unknown"), 0)[1] is None
        assert images.file_key(pixels) == key
        assert images.file_key(key) == key


def test_it_is_decoded_where_it_shall_lie_if_it_fits(images, photos):
    key = file_key(files_of(photos)[0])
    with images.view() as view:
        name, payload = images.find(view, key, 0)
        pixels = images.decode(name, payload, "a photo")
        fits, other = np.empty_like(pixels), np.empty((1, 1, 3), np.uint8)
        assert images.lend(name, payload, str, fits) is fits
        assert images.lend(name, payload, str, other) is not other
        assert np.array_equal(fits, pixels)


def test_what_does_not_decode_says_whose_it_is(images, photos, monkeypatch):
    name = entry_name(image_key(b"damaged"), 0)
    with closing(images.folder.store(writable=True)) as store:
        store.put_many([Entry(name, b"qoif no image", {"checksum": image_key(b"qoif no image")})])
    with images.view() as view, pytest.raises(DamagedError, match=rf"{name} of a/photo.png in .* cannot be decoded"):
        images.decode(name, view.get(name), "a/photo.png")
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "10")
    with images.view() as view:
        found = images.find(view, file_key(files_of(photos)[0]), 0)
        with pytest.raises(ImageError, match="SRCACHE_MAX_PIXELS") as raised:
            images.decode(*found, "a photo")
    assert raised.value.reason == "too_large"
