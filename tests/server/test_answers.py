"""Answers: which format a client gets, what tags an image, and errors as JSON."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.server.answers import (
    FORMATS,
    ImageAnswer,
    Refusal,
    Stored,
    choose_format,
    error_answer,
    image_headers,
    is_known,
    require_format,
)
from srcache.service import protocol


@pytest.mark.parametrize(
    ("accept", "stored", "chosen"),
    [
        ("", "image/qoi", "image/qoi"),
        ("*/*", "image/x-portable-pixmap", "image/x-portable-pixmap"),
        ("image/*", "image/png", "image/png"),
        ("image/png", "image/qoi", "image/png"),
        ("image/png, image/qoi", "image/qoi", "image/qoi"),
        ("image/png;q=0.9, image/qoi;q=0.8", "image/qoi", "image/png"),
        ("image/*;q=0.5, image/qoi;q=0", "image/qoi", "image/png"),
        ("image/webp, */*;q=0.1", "image/qoi", "image/webp"),
        ("IMAGE/PNG ; Q=1.0", "image/qoi", "image/png"),
        ("image/jpg", "image/qoi", "image/jpeg"),
        ("text/html", "image/qoi", None),
        ("image/png;q=0", "image/qoi", None),
        ("image/png;q=nonsense", "image/qoi", None),
        ("*/*;q=0", "image/qoi", None),
        (",,;;", "image/qoi", None),
    ],
)
def test_a_format_is_chosen_by_weight_and_the_stored_bytes_among_equals(accept, stored, chosen):
    assert choose_format(accept, stored) == chosen


@given(st.text(max_size=60))
def test_any_header_at_all_chooses_a_format_or_none(accept):
    assert choose_format(accept, "image/qoi") in {*FORMATS, None}


def test_what_no_format_satisfies_is_a_406_that_lists_them():
    with pytest.raises(Refusal) as caught:
        require_format("text/html", "image/qoi")
    assert caught.value.status_code == 406
    assert all(kind in caught.value.detail for kind in FORMATS)


@pytest.mark.parametrize(
    ("header", "known"), [('"a"', True), ('W/"a", "b"', True), ("*", True), ("a", False), ("", False)]
)
def test_a_tag_is_found_in_a_list(header, known):
    assert is_known('"a"', header) is known


def test_an_error_is_a_document_that_nobody_keeps():
    answer = error_answer(Refusal(503, "full", "no room; come back", retry=3, headers={"Connection": "close"}))
    assert json.loads(answer.body) == {"error": {"reason": "full", "message": "no room; come back"}}
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "3", "close")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("size", [0, 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1_000_000])
def test_an_image_is_sent_whole_in_pieces(size):
    body, sent = bytes(range(256)) * (size // 256) + bytes(size % 256), []

    async def send(message):
        sent.append(message)

    asyncio.run(ImageAnswer(body, ((b"x", b"y"),))({}, None, send))
    start, *pieces = sent
    assert (start["status"], start["headers"]) == (200, ((b"x", b"y"),))
    assert b"".join(piece["body"] for piece in pieces) == body
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece["body"]) for piece in pieces) <= 256 << 10


def test_a_record_that_is_too_long_for_a_header_is_left_out():
    short, long = (Stored("0" * 32 + "-012", b"qoif", {"notes": "x" * size}) for size in (10, 7000))
    headers = dict(image_headers(short, "f" * 16, "image/qoi", "c" * 16))
    assert protocol.unpack_record(headers[b"x-srcache-record"].decode()) == {"notes": "x" * 10}
    assert headers[b"x-srcache-sample"] == b"12"
    assert headers[b"etag"] == f'"{"f" * 16}-{"0" * 32}-012-{"c" * 16}"'.encode()
    assert b"x-srcache-record" not in dict(image_headers(long, "f" * 16, "image/qoi", "c" * 16))
