"""Requests: their names, seeds, sizes and aliases follow from the source image and the recipe alone."""

import numpy as np
from services import RECIPE

from srcache.images import Decoded
from srcache.keys import dropped_key, image_key, noise_seed, pixel_key
from srcache.recipe.reading import resolve
from srcache.service.requests import make_request, make_requests


def test_requests_are_named_and_seeded_by_the_key_and_the_sample_alone(make_image):
    recipe = resolve({"name": "t", "engine": "test-noise", "scale": 4, "seed": 7})
    key, rgb = image_key(b"file"), make_image(10, 14)
    requests = make_requests(key, Decoded(rgb, rgb), recipe, [0, 2])
    assert [request.name for request in requests] == [f"{key}-000", f"{key}-002"]
    assert [request.seed for request in requests] == [noise_seed(7, key, 0), noise_seed(7, key, 2)]
    assert all(request.lr is rgb and request.size == (40, 56) for request in requests)
    assert make_request(key, Decoded(rgb, rgb), recipe, 2).seed == requests[1].seed


def test_a_degradation_is_applied_and_the_size_follows_the_recipe(make_image):
    plain = {"name": "t", "engine": "test-noise", "scale": 4, "degradation": "box/4"}
    rgb = make_image(30, 43)
    for size, expected in (("scale", (32, 44)), ("source", (30, 43))):
        recipe = resolve({**plain, "size": size})
        request = make_request(image_key(b"x"), Decoded(rgb, rgb), recipe, 0)
        np.testing.assert_array_equal(request.lr, recipe.degradation.apply(rgb))
        assert request.shape == (8, 11)
        assert request.size == expected
        assert request.record["source"] == [30, 43]


def test_aliases_are_the_pixel_keys_that_are_not_the_key(make_image):
    rgb, plain = make_image(5, 6, 1), make_image(5, 6, 2)
    both = {pixel_key(rgb), dropped_key(pixel_key(plain))}
    assert set(make_request(image_key(b"x"), Decoded(rgb, plain), RECIPE, 0).aliases) == both
    assert make_request(image_key(b"x"), Decoded(rgb, rgb), RECIPE, 0).aliases == (pixel_key(rgb),)
    assert make_request(pixel_key(rgb), Decoded(rgb, rgb), RECIPE, 0).aliases == ()
