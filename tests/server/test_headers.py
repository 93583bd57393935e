"""The headers of requests and of answers."""

import pytest

from srcache.server.answers import Refusal
from srcache.server.headers import SECURITY, read_headers, said, with_security


def scope(*headers):
    return {"headers": [(name.encode(), value.encode()) for name, value in headers]}


def test_what_a_request_says_is_read_once():
    found = scope(("host", "a"), ("accept", "image/png"), ("accept", "image/webp"), ("cookie", "c"))
    assert read_headers(found) == {b"host": b"a", b"accept": b"image/png, image/webp"}
    assert said(found, b"accept") == "image/png, image/webp"
    assert said(found, b"origin") == ""


@pytest.mark.parametrize("name", ["host", "authorization", "origin", "content-length", "sec-fetch-site"])
def test_what_must_be_said_once_and_comes_twice_is_refused(name):
    with pytest.raises(Refusal, match="must be sent once"):
        read_headers(scope((name, "1"), (name, "1")))


def test_every_answer_gets_the_headers_of_safety_and_the_page_may_bring_its_own():
    own = ((b"content-security-policy", b"script-src 'self'"),)
    assert with_security(((b"a", b"b"),), False) == [(b"a", b"b"), *SECURITY]
    paged = dict(with_security(own, True))
    assert paged[b"content-security-policy"] == b"script-src 'self'"
    assert paged[b"x-content-type-options"] == b"nosniff"
    policy = dict(SECURITY)[b"content-security-policy"].decode()
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
