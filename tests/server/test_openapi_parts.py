"""The parts of the OpenAPI document: its examples are real, and headers and errors are those of the protocol."""

import re

from srcache.images import decode
from srcache.keys import entry_name, image_key
from srcache.recipe import load_recipe
from srcache.server.openapi_parts import (
    ERRORS,
    FINGERPRINT,
    HEADERS,
    IMAGE,
    IMAGE_TYPES,
    KEY,
    PARAMETERS,
    PPM,
    error_name,
    errors,
    headers,
    ref,
)
from srcache.service import protocol


def test_the_examples_are_an_image_and_a_recipe_that_are_there():
    assert decode(PPM.encode()).shape == (4, 4, 3)
    assert image_key(PPM.encode()) == KEY
    assert load_recipe("compact").fingerprint == FINGERPRINT


def test_the_form_of_headers_is_that_of_the_protocol():
    name = entry_name(image_key(b"x"), 999)
    made = {
        "ETag": protocol.entity_tag("0f" * 8, name, protocol.checksum_of(b"x")),
        "Content-Location": protocol.content_location(image_key(b"x"), 999, "0f" * 8),
        protocol.RECORD_HEADER: protocol.pack_record({"key": "~" * 40}),
        protocol.CHECKSUM_HEADER: protocol.checksum_of(b"x"),
        protocol.KEY_HEADER: image_key(b"x"),
    }
    for header, value in made.items():
        assert re.search(HEADERS[header]["schema"]["pattern"], value), header
    assert HEADERS[protocol.CACHE_HEADER]["schema"]["enum"] == [protocol.HIT, protocol.MISS]
    assert set(IMAGE) < set(HEADERS)


def test_names_in_queries_and_types_of_images_are_those_of_the_protocol():
    assert {one["name"] for one in PARAMETERS.values() if one["in"] == "query"} == {
        *(protocol.RECIPE, protocol.SAMPLE, protocol.AS),
    }
    assert set(IMAGE_TYPES) == set(protocol.MEDIA_TYPES.values())


def test_errors_are_referred_to_by_their_status():
    assert errors(404, 503) == {"404": ref("responses", "Error404"), "503": ref("responses", error_name(503))}
    assert {status for status, answer in ERRORS.items() if "Retry-After" in answer["headers"]} == {503}
    assert {status for status, answer in ERRORS.items() if "WWW-Authenticate" in answer["headers"]} == {401}
    for answer in ERRORS.values():
        for reason, example in answer["content"]["application/json"]["examples"].items():
            assert example["value"]["error"]["reason"] == reason


def test_every_answer_has_the_requests_id():
    assert headers("ETag") == {name: ref("headers", name) for name in (protocol.REQUEST_ID_HEADER, "ETag")}
