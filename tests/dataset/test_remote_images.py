"""Images asked of a service one by one: what is sent of a file and of pixels, and what the answer is kept as."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_service import FakeService, fake_service
from training_sets import NOISY

from srcache.dataset.missing import Missing
from srcache.dataset.remote_images import RemoteImages
from srcache.errors import ImageError, ServiceError
from srcache.images import Decoded, decode_both, encode
from srcache.keys import entry_name, image_key, pixel_key
from srcache.service import protocol
from srcache.service.remote import RemoteService
from srcache.service.remote_client import RemoteClient


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY) as fake:
        yield fake


@pytest.fixture
def images(service: FakeService) -> Iterator[RemoteImages]:
    client = RemoteClient(RemoteService(service.url))
    yield RemoteImages(client, NOISY, "qoi")
    client.close()


def file(data: bytes, key: str | None = None, sample: int = 0) -> Missing:
    return Missing(entry_name(key or image_key(data), sample), "one.jpg", lambda: data, lambda: decode_both(data))


def memory(pixels: Any, key: str | None = None, sample: int = 0) -> Missing:
    name = entry_name(key or pixel_key(pixels), sample)
    return Missing(name, "item 3", lambda: None, lambda: Decoded(pixels, pixels))


def test_of_a_file_its_own_bytes_are_sent(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    bodies = list[Any]()
    service.act = lambda handler, asked: bool(bodies.append(asked))
    data = encode(make_image(8, 12, 1), "jpeg:80")
    entry = images.take(images.ask(file(data, sample=2)))
    assert bodies == [
        {"recipe": NOISY.fingerprint, "sample": "2", "method": "POST", "path": protocol.SR, "body": data},
    ]
    assert service.headers[0]["Content-Type"] == "application/octet-stream"
    stored = service.entry(NOISY, image_key(data), 2)
    assert stored == (entry.name, entry.payload, entry.record)
    assert entry.aliases == (pixel_key(decode_both(data).rgb),)


def test_of_an_image_in_memory_a_png_is_sent(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    bodies = list[Any]()
    service.act = lambda handler, asked: bool(bodies.append(asked))
    pixels = make_image(8, 12, 1)
    entry = images.take(images.ask(memory(pixels)))
    assert bodies[0]["as"] == "pixels"
    assert service.headers[0]["Content-Type"] == "image/png"
    assert (decode_both(bodies[0]["body"]).rgb == pixels).all()
    assert (entry.name, entry.aliases) == (entry_name(pixel_key(pixels), 0), ())


def test_a_service_that_knows_the_file_of_pixels_answers_with_its_image(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    pixels = make_image(8, 12, 1)
    data = encode(pixels, "png:9")
    service.made(NOISY, image_key(data), 0, data)
    for missing in (memory(pixels), memory(pixels, image_key(data))):
        entry = images.take(images.ask(missing))
        assert (entry.name, entry.aliases) == (entry_name(image_key(data), 0), (pixel_key(pixels),))
        assert entry.record["key"] == image_key(data)


def test_another_key_for_pixels_needs_a_record_that_agrees(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    def change(answer: dict[str, Any]) -> None:
        answer["headers"][protocol.KEY_HEADER] = "0" * 32

    service.change = change
    with pytest.raises(ServiceError, match="is about another image: key, seed"):
        images.take(images.ask(memory(make_image(8, 12, 1))))

    def bare(answer: dict[str, Any]) -> None:
        change(answer)
        del answer["headers"][protocol.RECORD_HEADER]

    service.change = bare
    with pytest.raises(ServiceError, match=r"is an image of 0{32}, not of .*, and no record says why"):
        images.take(images.ask(memory(make_image(8, 12, 1))))


def test_a_source_that_cannot_be_used_is_not_sent(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    data = encode(make_image(8, 12, 1), "png")
    for wrong, reason in ((file(data, "0" * 32), "changed"), (file(data[:60]), "truncated"), (file(b""), "empty")):
        with pytest.raises(ImageError, match=r"^one.jpg: ") as error:
            images.ask(wrong)
        assert error.value.reason == reason
    assert service.asked == []


def test_what_may_be_there_is_asked_for_first_and_images_may_be_handed_over(
    service: FakeService, images: RemoteImages, make_image: Callable[..., Any]
) -> None:
    data = encode(make_image(8, 12, 1), "png")
    assert images.hand_over(file(data))["stored"] == 1
    images.take(images.ask(file(data), may_be_there=True))
    assert service.counts == {"POST /v1/prefetch": 1, "GET /v1/sr/KEY": 1}
