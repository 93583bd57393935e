"""From an answer to an entry: formats, sizes, records; what is no such image is refused before it is decoded."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from training_sets import NOISY

from srcache.errors import ServiceError
from srcache.images import Decoded, decode, encode
from srcache.keys import ImageKey, image_key, noise_seed, pixel_key
from srcache.service.protocol import checksum_of
from srcache.service.remote_answers import Answer, entry_of, wanted_of
from srcache.service.requests import make_request

LOSSY = replace(NOISY, codec="jpeg:90")


@pytest.fixture
def request_(make_image):
    source = make_image(8, 12, 1)
    return make_request(ImageKey("a" * 32), Decoded(source, source), NOISY, 3)


def answer(request, payload, record=None):
    return Answer(key=request.name.partition("-")[0], payload=payload, record=record, is_hit=False)


def test_the_bound_is_above_any_honest_image(request_):
    wanted = wanted_of(request_, "f" * 16)
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    assert (wanted.key, wanted.sample, wanted.fingerprint) == ("a" * 32, 3, "f" * 16)
    assert wanted.most < 70_000
    assert all(len(encode(noise, codec)) < wanted.most for codec in ("qoi", "png", "ppm", "jpeg:100", "webp:100"))


@pytest.mark.parametrize("came", ["qoi", "png", "png:9", "ppm"])
@pytest.mark.parametrize("kept", ["qoi", "png:1"])
def test_an_image_is_kept_as_the_store_keeps_it(request_, make_image, came, kept):
    pixels = make_image(16, 24, 2)
    entry = entry_of(answer(request_, encode(pixels, came)), request_, NOISY, kept)
    assert (decode(entry.payload) == pixels).all()
    assert entry.payload[:4] == encode(pixels, kept)[:4]
    assert entry.payload == encode(pixels, came if came.partition(":")[0] == kept.partition(":")[0] else kept)
    assert entry.aliases == request_.aliases
    assert entry.record["checksum"] == image_key(entry.payload)
    assert entry.record["xxh3"] == checksum_of(entry.payload)
    assert entry.record["size"] == [16, 24]


def test_a_lossy_recipes_images_stay_byte_for_byte(request_, make_image):
    payload = encode(make_image(16, 24, 2), "jpeg:90")
    assert entry_of(answer(request_, payload), request_, LOSSY, "qoi").payload == payload
    for codec in ("qoi", "png", "ppm", "webp:90"):
        with pytest.raises(ServiceError, match=r"no image as recipe noisy-\w+ stores them \(jpeg\)"):
            entry_of(answer(request_, encode(make_image(16, 24, 2), codec)), request_, LOSSY, "qoi")


def gif(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize("codec", ["jpeg:90", "webp:90", "gif", "html", "empty"])
def test_a_format_that_is_not_stored_is_refused(request_, make_image, codec):
    other = {"gif": gif, "html": lambda _: b"<html>", "empty": lambda _: b""}
    payload = other.get(codec, lambda pixels: encode(pixels, codec))(make_image(16, 24, 2))
    with pytest.raises(ServiceError, match=r"no image as recipe noisy-\w+ stores them \(qoi, png, ppm\)"):
        entry_of(answer(request_, payload), request_, NOISY, "qoi")


@pytest.mark.parametrize("shape", [(24, 16), (8, 12), (17, 24), (1, 1)])
@pytest.mark.parametrize("codec", ["qoi", "png", "ppm"])
def test_another_size_is_refused(request_, make_image, shape, codec):
    with pytest.raises(ServiceError, match=rf"has {shape[1]}×{shape[0]} pixels, but by recipe noisy-.* it has 24×16"):
        entry_of(answer(request_, encode(make_image(*shape, 2), codec)), request_, NOISY, "qoi")


def png(width, height, packed):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_bombs_are_refused_by_their_header_or_read_no_further_than_they_should_be(request_, monkeypatch):
    bomb = zlib.compress(bytes(1 << 27))
    with pytest.raises(ServiceError, match=r"has 30000×3000 pixels, but by recipe .* it has 24×16"):
        entry_of(answer(request_, png(30_000, 3_000, bomb)), request_, NOISY, "qoi")
    with pytest.raises(ServiceError, match="does not decode"):
        entry_of(answer(request_, png(1 << 30, 1 << 30, bomb)), request_, NOISY, "qoi")
    for payload in (b"qoif" + struct.pack(">II", 1 << 31, 1 << 31) + bytes(30), b"P6 999999999 999999999 255\n"):
        with pytest.raises(ServiceError, match=r"does not decode|has .* pixels"):
            entry_of(answer(request_, payload), request_, NOISY, "qoi")


def test_a_damaged_image_is_refused(request_, make_image):
    payload = encode(make_image(16, 24, 2), "png")
    for cut in (payload[:60], payload[:-300], payload[:50] + b"x" * 20 + payload[70:]):
        with pytest.raises(ServiceError, match=r"the image that came back for a{32}-003 does not decode"):
            entry_of(answer(request_, cut), request_, NOISY, "qoi")


def test_a_record_is_kept_if_it_is_about_this_image(request_, make_image):
    payload = encode(make_image(16, 24, 2), "png")
    own = {"key": "a" * 32, "sample": 3, "seed": noise_seed(0, ImageKey("a" * 32), 3), "source": [8, 12]}
    record = {
        **own,
        "lr": [8, 12],
        "size": [16, 24],
        "notes": {"x": 1},
        "device": "gpu",
        "checksum": image_key(payload),
    }
    entry = entry_of(answer(request_, payload, record), request_, NOISY, "qoi")
    assert entry.record["notes"] == {"x": 1}
    assert entry.record["device"] == "gpu"
    assert entry.record["checksum"] == image_key(entry.payload) != image_key(payload)
    assert next(iter(entry.record)) == "xxh3"
    for name, wrong in (("key", "b" * 32), ("seed", 1), ("size", [16, 25]), ("sample", 0), ("checksum", "0" * 32)):
        with pytest.raises(ServiceError, match=f"record that came with a{{32}}-003 is about another image: {name}"):
            entry_of(answer(request_, payload, {**record, name: wrong}), request_, NOISY, "qoi")
    bare = entry_of(answer(request_, payload), request_, NOISY, "qoi")
    assert {name: bare.record[name] for name in own} == own
    assert bare.record["notes"] == {}


def test_a_request_by_pixels_has_their_key(make_image):
    source = make_image(8, 12, 1)
    wanted = wanted_of(make_request(pixel_key(source), Decoded(source, source), NOISY, 0), "f" * 16, by_pixels=True)
    assert (wanted.key, wanted.by_pixels) == (pixel_key(source), True)
