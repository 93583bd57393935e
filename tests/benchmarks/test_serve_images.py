"""What the service's benchmark asks for: files that all differ, and the answer that is right for each."""

from io import BytesIO

import pytest
from PIL import Image
from xxhash import xxh3_64_hexdigest

from benchmarks import bench_serve
from benchmarks.serve_images import make_images, with_comment
from benchmarks.sleeper import Sleeper
from srcache.engine.interface import Setup
from srcache.images import decode, encode, from_tensor, to_batch
from srcache.keys import image_key
from srcache.recipe.recipe import Recipe


@pytest.fixture
def recipe(monkeypatch):
    setup = Setup(scale=4, options={"seconds": 0.0, "grain": bench_serve.GRAIN})
    monkeypatch.setattr("benchmarks.serve_images.open_engine", lambda *_: Sleeper(setup))
    return Recipe(name="sleeps", engine="bench-sleeper", options=dict(setup.options))


def test_no_two_files_are_the_same_and_each_has_its_answer(recipe):
    images = make_images(recipe, 16, 130)
    assert len({image_key(one.data) for one in images}) == 130
    assert len({one.checksum for one in images}) == 64
    later = make_images(recipe, 16, 10, first=130)
    assert {image_key(one.data) for one in later} & {image_key(one.data) for one in images} == set()
    (outcome,) = recipe_engine(recipe).upscale(to_batch([decode(images[70].data)]), [0])
    assert xxh3_64_hexdigest(encode(from_tensor(outcome.image), "qoi")) == images[70].checksum == images[6].checksum


def recipe_engine(recipe):
    return Sleeper(Setup(scale=4, options=dict(recipe.options)))


def test_the_answer_has_the_bytes_that_the_benchmark_says(recipe):
    (image,) = make_images(recipe, bench_serve.SIDE, 1)
    (outcome,) = recipe_engine(recipe).upscale(to_batch([decode(image.data)]), [0])
    assert 95_000 < len(encode(from_tensor(outcome.image), "qoi")) < 105_000


def test_a_comment_changes_a_file_but_no_pixel(make_image):
    plain = encode(make_image(5, 7), "png")
    noted = with_comment(plain, "12")
    assert (decode(noted) == decode(plain)).all()
    with Image.open(BytesIO(noted)) as image:
        assert image.text == {"Comment": "12"}
