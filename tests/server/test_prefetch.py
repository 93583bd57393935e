"""Prefetching: keys of a source, or images; answered at once, made when the engine has time."""

import shutil

import pytest
from commands import until
from service_client import png, running

from srcache.catalog import scan
from srcache.keys import image_key


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(png(seed=number))
    (folder / "marked.png").write_bytes(png(16, 16, mark="nan"))
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def service(tmp_path, recipe_file, source):
    catalog = scan(source)
    with running(tmp_path / "cache", [recipe_file("test-faulty")], source=source, catalog=catalog) as found:
        yield found


def prefetch(service, keys, **fields):
    answer = service.client.post("/v1/prefetch", json={"keys": keys, **fields})
    assert answer.status_code == 202
    return answer.json()


def until_idle(service):
    until(lambda: service.site.is_idle)


def test_keys_of_the_source_are_made_and_unknown_ones_are_returned(service):
    keys, unknown = [image_key(png(seed=number)) for number in range(4)], ["0" * 32, "f" * 32]
    service.ask(png(seed=0))
    found = prefetch(service, [*keys, *unknown, *keys])
    assert found == {"stored": 1, "queued": 3, "failed": {}, "unknown": unknown}
    until_idle(service)
    assert prefetch(service, keys) == {"stored": 4, "queued": 0, "failed": {}, "unknown": []}
    assert service.client.get(f"/v1/sr/{keys[3]}").status_code == 200
    assert service.site.budget.used == 0
    assert service.site.recipes[0].service.calls.computed == 4


def test_failures_are_noted_with_the_files_name_and_known_from_then_on(service):
    marked, broken = image_key(png(16, 16, mark="nan")), image_key(b"no image")
    assert prefetch(service, [marked, broken])["queued"] == 2
    until_idle(service)
    assert prefetch(service, [marked, broken])["failed"] == {"not_finite": 1, "unreadable": 1}
    noted = {one.source: one.reason for one in service.site.recipes[0].folder.failures().values()}
    assert noted == {"marked.png": "not_finite", "broken.png": "unreadable"}


def test_a_file_that_changed_since_it_was_scanned_is_not_what_was_asked_for(service, source):
    (source / "1.png").write_bytes(png(seed=77))
    (source / "2.png").unlink()
    keys = [image_key(png(seed=number)) for number in (1, 2)]
    assert prefetch(service, keys)["queued"] == 2
    until_idle(service)
    assert prefetch(service, keys)["failed"] == {"changed": 1, "unreadable": 1}
    shutil.rmtree(source)
    assert service.client.get(f"/v1/sr/{image_key(png(seed=77))}").status_code == 404


def test_an_image_can_be_sent_ahead(service):
    answer = service.ask(png(seed=9), "/v1/prefetch")
    key = image_key(png(seed=9))
    assert (answer.status_code, answer.json()) == (
        202,
        {"stored": 0, "queued": 1, "failed": {}, "unknown": [], "key": key},
    )
    until_idle(service)
    assert service.ask(png(seed=9), "/v1/prefetch").json()["stored"] == 1
    assert service.client.get(f"/v1/sr/{key}").status_code == 200
    assert service.site.budget.used == 0


def test_pixels_can_be_sent_ahead(service):
    made = service.ask(png(seed=9), "/v1/prefetch?as=pixels").json()
    until_idle(service)
    assert service.client.get(f"/v1/sr/{made['key']}").status_code == 200
    assert service.site.budget.used == 0


def test_bytes_that_are_no_image_are_not_noted(service):
    assert service.ask(b"junk", "/v1/prefetch").status_code == 202
    until_idle(service)
    assert service.site.recipes[0].folder.failures() == {}
    assert service.ask(b"junk", "/v1/prefetch?as=pixels").status_code == 415


def test_who_asks_now_does_not_wait_for_what_can_wait(tmp_path, recipe_file, source):
    recipe = recipe_file("test-sleepy", options="{milliseconds: 150}")
    with running(tmp_path / "cache", [recipe], batch=1, catalog=scan(source)) as service:
        for number in range(20, 40):
            assert service.ask(png(seed=number), "/v1/prefetch").json()["queued"] == 1
        assert service.client.get("/v1/stats").json()["recipes"][0]["waiting"] > 10
        assert service.ask(png(seed=39)).headers["x-srcache-cache"] == "miss", "the last in the row comes next"
        assert service.site.recipes[0].service.calls.computed < 10
        until_idle(service)
        assert service.site.recipes[0].service.calls.computed == 20, "and is not made twice"
        assert service.site.budget.used == 0


def test_samples_are_made_ahead(tmp_path, recipe_file, source):
    with running(tmp_path / "cache", [recipe_file("test-noise")], catalog=scan(source)) as service:
        key = image_key(png(seed=1))
        assert prefetch(service, [key], samples=[0, 2, 2], recipe="mine")["queued"] == 2
        until_idle(service)
        assert [service.client.get(f"/v1/sr/{key}?sample={n}").status_code for n in (0, 1, 2)] == [200, 404, 200]


@pytest.mark.parametrize(
    ("document", "status", "reason"),
    [
        (b"", 400, "no_body"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_json"),
        (b"{}", 400, "bad_json"),
        (b'{"keys": {}}', 400, "bad_json"),
        (b'{"keys": [], "more": 1}', 400, "bad_json"),
        (b'{"keys": ["x"]}', 400, "bad_key"),
        (b'{"keys": [], "samples": []}', 400, "bad_json"),
        (b'{"keys": [], "samples": [true]}', 400, "bad_json"),
        (b'{"keys": [], "samples": [1]}', 400, "bad_sample"),
        (b'{"keys": [], "recipe": 5}', 400, "bad_json"),
        (b'{"keys": [], "recipe": "other"}', 404, "unknown_recipe"),
        (b'{"keys": [' + b",".join([b'"' + b"0" * 32 + b'"'] * 10_001) + b"]}", 400, "too_many"),
        (b"[" * 100_000, 400, "bad_json"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused(service, document, status, reason):
    answer = service.ask(document, "/v1/prefetch", content_type="application/json; charset=utf-8")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


def test_when_there_is_no_memory_for_more_it_says_so(service):
    keys = [image_key(png(seed=number)) for number in range(4)]
    with service.site.budget.take(service.site.budget.most - 1500):
        answer = service.client.post("/v1/prefetch", json={"keys": keys})
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
    until_idle(service)
    assert prefetch(service, keys)["unknown"] == []
