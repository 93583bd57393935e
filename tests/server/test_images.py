"""Requests for images: named, made once, stored before they are answered, and answered as the client prefers."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engines import enlarged
from images import picture
from PIL import Image
from service_client import png, running
from xxhash import xxh3_64_hexdigest

from srcache.images import decode, from_tensor, to_batch
from srcache.keys import image_key, pixel_key
from srcache.service import protocol


def doubled(data):
    return from_tensor(enlarged(to_batch([decode(data)])[0], 2))


def test_a_sent_image_is_made_stored_and_answered_with_all_that_a_client_needs(service):
    data = png()
    answer = service.ask(data, x_request_id="mine-1")
    key, (recipe,) = image_key(data), service.site.recipes
    headers, print_ = answer.headers, recipe.fingerprint
    assert answer.status_code == 200
    assert np.array_equal(decode(answer.content), doubled(data))
    checksum = xxh3_64_hexdigest(answer.content)
    assert headers["etag"] == f'"{print_}-{key}-000-{checksum}"'
    assert headers["content-type"] == "image/qoi"
    assert (headers["vary"], headers["cache-control"]) == ("Accept", "private")
    assert headers["content-location"] == f"/v1/sr/{key}?recipe={print_}&sample=0"
    said = [headers[name] for name in ("x-srcache-key", "x-srcache-sample", "x-srcache-fingerprint")]
    assert said == [key, "0", print_]
    assert (headers["x-srcache-checksum"], headers["x-srcache-cache"]) == (checksum, "miss")
    assert headers["x-request-id"] == "mine-1"
    assert protocol.unpack_record(headers["x-srcache-record"]) == recipe.store.record(f"{key}-000")
    assert recipe.store.get(f"{key}-000") == answer.content


def test_the_same_image_is_answered_from_the_cache_with_the_same_bytes(service):
    first, second = service.ask(png()), service.ask(png())
    got = service.client.get(first.headers["content-location"])
    assert first.content == second.content == got.content
    assert [one.headers["x-srcache-cache"] for one in (first, second, got)] == ["miss", "hit", "hit"]
    assert "content-location" not in got.headers
    assert service.site.recipes[0].service.calls.computed == 1
    assert service.site.recipes[0].hits == 2


def test_a_client_that_has_the_bytes_gets_none(service):
    made = service.ask(png())
    where, tag = made.headers["content-location"], made.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = service.client.get(where, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["vary"] == "Accept"
    assert service.client.get(where, headers={"If-None-Match": '"other"'}).status_code == 200
    other = {"If-None-Match": tag, "Accept": "image/png"}
    assert service.client.get(where, headers=other).status_code == 200, "the tag is of other bytes"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("image/jpeg, image/png;q=0.5", "JPEG"),
        ("image/jpeg;q=0.2, image/png", "PNG"),
        ("image/x-qoi", "QOI"),
        ("image/avif,image/webp,*/*;q=0.8", "WEBP"),
        ("text/html,*/*", "QOI"),
    ],
)
def test_other_formats_are_answered_on_accept(service, accept, kind):
    data = png()
    answer = service.ask(data, accept=accept)
    assert Image.open(io.BytesIO(answer.content)).format == kind
    assert answer.headers["content-type"] == f"image/{kind.lower()}"
    assert answer.headers["x-srcache-checksum"] == xxh3_64_hexdigest(answer.content)
    assert answer.headers["etag"].endswith(f'{xxh3_64_hexdigest(answer.content)}"')
    if kind in ("PNG", "QOI"):
        assert np.array_equal(decode(answer.content), doubled(data))
    assert service.ask(data, accept=accept).content == answer.content


def test_what_no_format_satisfies_is_refused_before_anything_is_made(service):
    answer = service.ask(png(), accept="text/html, image/*;q=0")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (406, "not_acceptable")
    assert service.site.recipes[0].service.calls.computed == 0


def test_pixels_are_named_as_fill_names_an_image_in_memory(service):
    data = png()
    answer = service.ask(data, "/v1/sr?as=pixels")
    key = pixel_key(decode(data))
    assert (answer.status_code, answer.headers["x-srcache-key"]) == (200, key)
    assert service.client.get(f"/v1/sr/{key}").headers["x-srcache-cache"] == "hit"
    assert service.ask(data).headers["x-srcache-cache"] == "miss", "its file is another image"


def test_pixels_of_a_file_that_is_stored_are_found(service):
    data = png()
    stored = service.ask(data)
    answer = service.ask(png(), "/v1/sr?as=pixels")
    assert answer.headers["x-srcache-cache"] == "hit"
    assert answer.headers["x-srcache-key"] == image_key(data)
    assert answer.content == stored.content
    assert service.client.get(f"/v1/sr/{pixel_key(decode(data))}").content == stored.content


def test_samples_are_named_apart(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-noise")]) as service:
        answers = [service.ask(png(), f"/v1/sr?sample={sample}") for sample in (0, 1, 7)]
        assert [one.headers["x-srcache-sample"] for one in answers] == ["0", "1", "7"]
        assert len({one.content for one in answers}) == 3
        key = answers[0].headers["x-srcache-key"]
        assert service.client.get(f"/v1/sr/{key}?sample=7").content == answers[2].content
        assert service.client.get(f"/v1/sr/{key}?sample=2").status_code == 404
    (receipt,) = service.site.recipes[0].folder.receipts()
    assert (receipt["samples"], receipt["added"]) == (8, 3)


def test_a_degradation_is_applied_as_fill_applies_it(tmp_path, recipe_file):
    recipe = recipe_file("test-faulty", degradation="box/2", size="source")
    with running(tmp_path / "cache", [recipe]) as service:
        answer = service.ask(png(8, 12))
        record = protocol.unpack_record(answer.headers["x-srcache-record"])
        assert (record["source"], record["lr"], record["size"]) == ([8, 12], [4, 6], [8, 12])
        assert decode(answer.content).shape == (8, 12, 3)


def test_what_many_clients_ask_for_at_once_is_computed_once(tmp_path, recipe_file):
    recipe = recipe_file("test-sleepy", options="{milliseconds: 50}")
    with running(tmp_path / "cache", [recipe], batch=4) as service, ThreadPoolExecutor(12) as clients:
        asked = [png(seed=number % 5) for number in range(40)]
        answers = list(clients.map(service.ask, asked))
        assert {one.status_code for one in answers} == {200}
        for data, answer in zip(asked, answers, strict=True):
            assert np.array_equal(decode(answer.content), doubled(data))
        calls = service.site.recipes[0].service.calls
        assert calls.computed - calls.padded == 5
        assert service.site.budget.used == 0


# Images that cannot be answered


def test_an_engine_that_fails_is_a_422_and_is_not_asked_again(service, tmp_path):
    data = png(16, 16, mark="nan")
    first, second = service.ask(data), service.ask(data)
    assert [one.status_code for one in (first, second)] == [422, 422]
    assert first.json()["error"]["reason"] == "not_finite"
    recipe = service.site.recipes[0]
    assert recipe.service.calls.computed == 1
    (noted,) = recipe.folder.failures().values()
    assert (noted.name, noted.reason) == (f"{image_key(data)}-000", "not_finite")
    assert service.ask(png()).status_code == 200, "the others go on"


def test_failures_are_known_in_a_later_run_unless_they_shall_be_tried_again(tmp_path, recipe_file):
    recipe, data = recipe_file("test-faulty"), png(16, 16, mark="raises")
    for retry, computed in ((False, 1), (False, 0), (True, 1)):
        with running(tmp_path / "cache", [recipe], retry_failed=retry) as service:
            answer = service.ask(data)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "engine_error")
            assert "marked" not in answer.text, "an engine's own words stay here"
            assert service.site.recipes[0].service.calls.computed == computed


def gif():
    frames, out = [Image.fromarray(picture(8, 8, seed)) for seed in range(2)], io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize("path", ["/v1/sr", "/v1/sr?as=pixels"])
@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"no image", 415, "unreadable"),
        (png()[:60], 415, "truncated"),
        (gif(), 415, "animated"),
        (png(400, 400), 413, "too_large"),
        (b"", 400, "no_body"),
    ],
)
def test_what_is_no_image_is_refused_with_a_word_and_a_sentence(tmp_path, recipe_file, path, data, status, reason):
    with running(tmp_path / "cache", [recipe_file("test-faulty")], most_pixels=100_000) as service:
        answer = service.ask(data, path)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
        assert service.site.recipes[0].folder.failures() == {}, "anybody could fill the journal"
        assert service.site.budget.used == 0


def test_an_sr_image_that_would_be_too_large_is_refused(service, monkeypatch):
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "300")
    assert service.ask(png(8, 12)).json()["error"]["reason"] == "too_large"


def test_an_image_that_takes_too_long_is_a_504_and_is_there_later(tmp_path, recipe_file):
    recipe = recipe_file("test-sleepy", options="{milliseconds: 400}")
    with running(tmp_path / "cache", [recipe], engine_seconds=0.05) as service:
        answer = service.ask(png())
        assert (answer.status_code, answer.json()["error"]["reason"]) == (504, "too_long")
        deadline = time.monotonic() + 20
        while (again := service.client.get(f"/v1/sr/{image_key(png())}")).status_code == 404:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert np.array_equal(decode(again.content), doubled(png()))
        assert service.site.budget.used == 0


def test_a_full_service_says_when_to_come_back(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-faulty")], memory=32 << 20) as service:
        with service.site.budget.take(service.site.budget.most - 10):
            answer = service.ask(png())
            assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "full")
            assert int(answer.headers["retry-after"]) >= 1
        assert service.ask(png()).status_code == 200
        large = service.ask(png(1200, 1200))
        assert (large.status_code, large.json()["error"]["reason"]) == (413, "too_large"), "it never fits"


def test_a_large_answer_is_counted_while_it_is_sent(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-faulty", scale=4)]) as service:
        large = service.ask(png(120, 160))
        assert len(large.content) > 300_000
        with service.site.budget.take(service.site.budget.most - len(large.content) + 1):
            assert service.client.get(large.headers["content-location"]).status_code == 503
        with service.site.budget.take(service.site.budget.most - len(large.content)):
            assert service.client.get(large.headers["content-location"]).content == large.content
        assert service.site.budget.used == 0


def test_a_form_is_not_taken_for_an_image(service):
    answer = service.client.post("/v1/sr", files={"file": png()})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (415, "form")


def test_a_body_above_the_limit_is_refused(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-faulty")], most_body=200) as service:
        announced = service.ask(b"x" * 201)
        streamed = service.client.post("/v1/sr", content=iter([b"x" * 150, b"x" * 150]))
        assert [announced.status_code, streamed.status_code] == [413, 413]


def test_a_damaged_entry_is_not_served(service):
    data = png()
    made = service.ask(data)
    folder = service.site.recipes[0].folder
    name, store = f"{image_key(data)}-000", service.site.recipes[0].store

    def damaged(wanted):
        from srcache.errors import ChecksumError

        raise ChecksumError(f"{wanted} in {folder.path} is not what was written")

    store_get, store.get = store.get, damaged
    try:
        other = service.client.get(f"/v1/sr/{image_key(data)}", headers={"Accept": "image/png"})
    finally:
        store.get = store_get
    assert (other.status_code, other.json()["error"]["reason"]) == (503, "damaged")
    assert "retry-after" in other.headers
    assert str(folder.path) not in other.text
    assert made.content == store.get(name)


# Queries


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v1/sr?sample=x", 400, "bad_query"),
        ("/v1/sr?sample=-1", 400, "bad_query"),
        ("/v1/sr?sample=1000", 400, "bad_sample"),
        ("/v1/sr?sample=1", 400, "bad_sample"),
        ("/v1/sr?sample=0&sample=0", 400, "bad_query"),
        ("/v1/sr?as=file", 400, "bad_query"),
        ("/v1/sr?recipes=mine", 400, "bad_query"),
        ("/v1/sr?recipe=other", 404, "unknown_recipe"),
        ("/v1/sr?recipe=../mine", 404, "unknown_recipe"),
        ("/v1/nothing", 404, "not_found"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(service, path, status, reason):
    answer = service.ask(png(), path)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


@pytest.mark.parametrize("key", ["x", "A" * 32, "0" * 31, "..%2f..%2fetc%2fpasswd", "0" * 32 + "%00"])
def test_a_key_of_another_form_is_refused(service, key):
    answer = service.client.get(f"/v1/sr/{key}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "bad_key")


def test_a_recipe_is_asked_for_by_name_fingerprint_or_folder(tmp_path, recipe_file):
    recipes = [recipe_file("test-faulty", "one"), recipe_file("test-faulty", "two", scale=4)]
    with running(tmp_path / "cache", recipes) as service:
        one, two = service.site.recipes
        for name in ("two", two.fingerprint, two.name):
            answer = service.ask(png(), f"/v1/sr?recipe={name}")
            assert answer.headers["x-srcache-fingerprint"] == two.fingerprint
            assert decode(answer.content).shape == (32, 48, 3)
        unnamed = service.ask(png())
        assert (unnamed.status_code, unnamed.json()["error"]["reason"]) == (400, "no_recipe")
        assert one.name in unnamed.text
        listed = service.client.get("/v1/recipes").json()["recipes"]
        assert [found["document"] for found in listed] == [
            json.loads(json.dumps(x.recipe.to_dict())) for x in (one, two)
        ]


@pytest.mark.medium
def test_a_cache_of_shards_is_served_too(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-faulty")], store="shards") as service:
        answer = service.ask(png())
        assert answer.headers["content-type"] == "image/png"
        assert np.array_equal(decode(answer.content), doubled(png()))
        assert service.client.get(answer.headers["content-location"]).content == answer.content
    folder = service.site.recipes[0].folder
    assert [path.suffix for path in folder.store_path.glob("0*")] == [".tar", ".idx"] or list(
        folder.store_path.glob("*.tar")
    ), "the shard in hand is sealed at the end"
