"""From an engine's output to an entry: what must not be stored, and what an entry and its record hold."""

import numpy as np
import pytest
import torch
from engines import enlarged
from PIL import Image
from services import RECIPE
from xxhash import xxh3_64_hexdigest

from srcache.engine.interface import Failure, Unfinished, Upscaled
from srcache.errors import DeviceError
from srcache.images import decode, encode
from srcache.keys import image_key
from srcache.recipe.reading import resolve
from srcache.service.encoding import ResultEncoder, unusable
from srcache.service.requests import Request


def _outcome(image, source=None, scale=2):
    failure = unusable(image, torch.rand(3, 4, 5) if source is None else source, scale)
    return failure if failure is None else failure.reason


def test_a_good_output_is_usable():
    assert _outcome(torch.rand(3, 8, 10)) is None
    assert _outcome(torch.rand(3, 8, 10) * 1.0008) is None
    assert _outcome(torch.rand(3, 8, 10).half()) is None


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 4, 5), (1, 8, 10), (8, 10, 3), (1, 3, 8, 10), (8, 10)])
def test_an_output_of_another_shape_is_unusable(shape):
    failure = unusable(torch.rand(shape), torch.rand(3, 4, 5), 2)
    assert failure == Failure("wrong_shape", f"expected an output of shape (3, 8, 10), but got {shape}")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not_finite"),
        (float("inf"), "not_finite"),
        (float("-inf"), "not_finite"),
        (1.01, "out_of_range"),
        (-0.01, "out_of_range"),
    ],
)
def test_one_bad_value_anywhere_makes_an_output_unusable(value, reason):
    image = torch.rand(3, 8, 10)
    image[2, 7, 9] = value
    assert _outcome(image) == reason


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_one_flat_colour_is_unusable_unless_the_source_was_flat(level):
    flat = torch.tensor([level, 0.25, 0.75]).reshape(3, 1, 1).expand(3, 8, 10)
    assert _outcome(flat) == "blank"
    assert _outcome(flat, source=torch.full((3, 4, 5), 0.3)) is None
    assert _outcome(flat, source=torch.rand(3, 8, 10), scale=1) == "blank"
    assert _outcome(flat[:, :4, :5], source=torch.rand(3, 8, 10), scale=0.5) is None
    barely = flat.clone()
    barely[1, 0, 0] += 1 / 255
    assert _outcome(barely) is None


# --- entries ---


def request_for(rgb, **fields):
    height, width = rgb.shape[:2]
    return Request(**{"name": "n", "lr": rgb, "seed": 5, "size": (2 * height, 2 * width), **fields})


def output_for(rgb):
    return enlarged(torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255, 2)


@pytest.mark.parametrize("codec", ["qoi", "png", "ppm"])
def test_an_entry_holds_the_output_s_pixels_and_says_how_they_came_about(make_image, codec):
    rgb = make_image(6, 9)
    request = request_for(rgb, record={"key": "k", "sample": 3}, aliases=("a", "b"))
    entry = ResultEncoder(RECIPE, codec, "cuda (a card)").entry(request, Upscaled(output_for(rgb), {"n": 1}), 2.5)
    assert (entry.name, entry.aliases) == ("n", ("a", "b"))
    np.testing.assert_array_equal(decode(entry.payload), rgb.repeat(2, 0).repeat(2, 1))
    assert entry.payload == encode(decode(entry.payload), codec)
    assert entry.record.pop("xxh3") == xxh3_64_hexdigest(entry.payload)
    assert entry.record == {
        "key": "k",
        "sample": 3,
        "lr": [6, 9],
        "size": [12, 18],
        "notes": {"n": 1},
        "milliseconds": 2.5,
        "device": "cuda (a card)",
        "checksum": image_key(entry.payload),
    }


def test_a_result_is_finished_where_it_is_encoded_and_a_failure_there_is_its_own(make_image):
    rgb, encoder = make_image(6, 9), ResultEncoder(RECIPE, "qoi", "cpu")
    whole = Upscaled(output_for(rgb), {"n": 1})
    assert encoder.entry(request_for(rgb), Unfinished(lambda: whole), 1) == encoder.entry(request_for(rgb), whole, 1)
    failure = Failure("blank", "of one colour")
    assert encoder.entry(request_for(rgb), Unfinished(lambda: failure), 1) is failure
    wrong = encoder.entry(request_for(rgb), Unfinished(lambda: [].pop()), 1)
    assert wrong == Failure("engine_error", "IndexError: pop from empty list")


def test_an_output_is_brought_to_the_stored_size_by_lanczos(make_image):
    rgb = make_image(6, 9)
    entry = ResultEncoder(RECIPE, "qoi", "cpu").entry(request_for(rgb, size=(11, 17)), Upscaled(output_for(rgb)), 1)
    expected = Image.fromarray(rgb.repeat(2, 0).repeat(2, 1)).resize((17, 11), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(decode(entry.payload), np.asarray(expected))


def test_a_lossy_codec_of_the_recipe_goes_before_the_service_s(make_image):
    recipe = resolve({"name": "t", "engine": "test-faulty", "scale": 2, "codec": "jpeg:90"})
    rgb = make_image(6, 9)
    entry = ResultEncoder(recipe, "qoi", "cpu").entry(request_for(rgb), Upscaled(output_for(rgb)), 1)
    assert entry.payload[:3] == b"\xff\xd8\xff"


def test_what_concerns_one_image_is_a_failure_and_what_does_not_is_raised(make_image, monkeypatch):
    rgb, encoder = make_image(6, 9), ResultEncoder(RECIPE, "qoi", "cpu")
    failure = Failure("marked", "by the engine")
    assert encoder.entry(request_for(rgb), failure, 1) is failure
    assert encoder.entry(request_for(rgb), Upscaled(output_for(rgb) + 1), 1).reason == "out_of_range"
    assert encoder.entry(request_for(rgb), Upscaled(output_for(rgb), {"odd": object()}), 1).reason == "engine_error"

    def gone(*_):
        raise DeviceError("the device is gone")

    monkeypatch.setattr("srcache.service.encoding.from_tensor", gone)
    with pytest.raises(DeviceError):
        encoder.entry(request_for(rgb), Upscaled(output_for(rgb)), 1)
