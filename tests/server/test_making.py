"""Images on their way: one task for each name, memory given back, and errors that reach whoever asked."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from service_client import png, running

from srcache.errors import ImageError
from srcache.server.answers import Refusal
from srcache.server.making import decode_within


@pytest.fixture
def recipe(service):
    return service.site.recipes[0]


def test_memory_is_counted_before_an_image_is_decoded_and_less_of_it_is_kept(service, recipe):
    loaded = decode_within(png(40, 50), 10_000, service.site.budget, recipe)
    assert loaded.decoded.rgb.shape == (40, 50, 3)
    assert 0 < loaded.hold.count == service.site.budget.used
    loaded.hold.release()
    assert service.site.budget.used == 0


@pytest.mark.parametrize("data", [b"", b"junk", png()[:40], png()[:-200], b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_bytes_that_cannot_be_decoded_leave_nothing_behind(service, recipe, data):
    with pytest.raises(ImageError):
        decode_within(data, 10_000, service.site.budget, recipe)
    assert service.site.budget.used == 0


def test_an_image_above_the_limit_is_not_decoded(service, recipe, monkeypatch):
    monkeypatch.setattr("srcache.server.making.decode_both", lambda data: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="more than 1999"):
        decode_within(png(40, 50), 1999, service.site.budget, recipe)
    with service.site.budget.take(service.site.budget.most), pytest.raises(Refusal):
        decode_within(png(40, 50), 2000, service.site.budget, recipe)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyError("y"), MemoryError()])
def test_whatever_a_decoder_does_is_the_images_fault(service, recipe, monkeypatch, error):
    def trip(data):
        raise error

    monkeypatch.setattr("srcache.server.making.decode_both", trip)
    with pytest.raises(ImageError) as caught:
        decode_within(png(), 10_000, service.site.budget, recipe)
    assert caught.value.reason in ("unreadable", "out_of_memory")
    assert service.ask(png()).status_code in (415, 413)
    assert service.site.budget.used == 0


def test_an_engine_that_stops_is_said_to_all_and_to_the_server(service, recipe, monkeypatch):
    from srcache.errors import DeviceError

    def lost(images, seeds):
        raise DeviceError("the device stopped working")

    monkeypatch.setattr(recipe.service.calls._engine, "upscale", lost)
    answer = service.ask(png())
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "stopped")
    assert isinstance(service.site.error, DeviceError)
    again = service.ask(png(seed=1))
    assert (again.status_code, again.json()["error"]["reason"]) == (503, "stopped")
    monkeypatch.setattr(recipe, "end", lambda cancel: recipe.service.close(cancel=True))


def test_clients_that_ask_for_a_broken_image_together_are_all_told(tmp_path, recipe_file):
    with running(tmp_path / "c", [recipe_file("test-faulty")]) as service, ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(service.ask, [png()[:60]] * 12))
        assert {one.status_code for one in answers} == {415}
        assert service.site.budget.used == 0
        assert service.site.is_idle


def test_nothing_is_left_when_all_is_made(service, recipe):
    maker = service.site.makers[recipe.fingerprint]
    for seed in range(5):
        service.ask(png(seed=seed))
    assert maker.is_idle
    assert maker.waiting == 0
    assert maker.error is None
    assert not maker.is_asked("x")
