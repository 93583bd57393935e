"""What every answer has, and what becomes of errors that nobody expected."""

import logging

import pytest
from service_client import png, running

from srcache.server.headers import POLICY


@pytest.mark.parametrize("path", ["/healthz", "/v1/recipes", "/nowhere", "/v1/sr/x", "/metrics"])
def test_every_answer_has_the_headers_of_safety_and_an_id(service, path):
    headers = service.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == POLICY
    assert len(headers["x-request-id"]) == 32
    assert "server" not in headers


@pytest.mark.parametrize(("given", "taken"), [("a-1.B_2", True), ("x" * 64, True), ("x" * 65, False), ("a b", False)])
def test_a_requests_id_is_taken_over_if_it_is_plain(service, given, taken):
    answer = service.client.get("/healthz", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is taken
    first, second = (service.client.get("/healthz").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_an_error_that_nobody_expected_is_said_without_its_words(service, monkeypatch, caplog):
    def trip(*_):
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(service.site.recipes[0], "find", trip)
    with caplog.at_level(logging.ERROR):
        answer = service.ask(png())
    assert (answer.status_code, answer.json()["error"]["reason"]) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert service.site.active == 0
    assert service.site.budget.used == 0


def test_lines_of_the_log_say_what_was_asked_and_answered(service):
    service.ask(png(), x_request_id="one")
    service.ask(png(), "/v1/sr?recipe=mine", x_request_id="two")
    service.client.get("/healthz")
    one, two = service.lines
    assert (one.method, one.path, one.status, one.cache, one.id) == ("POST", "/v1/sr", 200, "miss", "one")
    assert (two.cache, two.id, two.bytes) == ("hit", "two", one.bytes)
    assert one.bytes > 100


def test_while_it_ends_only_probes_are_answered(service):
    service.site.is_draining = True
    for path, status in (("/healthz", 200), ("/metrics", 200), ("/readyz", 503), ("/v1/recipes", 503), ("/x", 503)):
        answer = service.client.get(path)
        assert answer.status_code == status
        assert status == 200 or "retry-after" in answer.headers


def test_a_token_is_asked_for_before_anything_is_read(tmp_path, recipe_file):
    with running(tmp_path / "cache", [recipe_file("test-faulty")], token="the-token-of-this") as service:
        assert service.ask(png()).status_code == 401
        assert service.client.get("/v1/stats").status_code == 401
        assert service.ask(png(), authorization="Bearer the-token-of-this").status_code == 200
        assert service.client.get("/readyz").status_code == 200


def test_other_origins_and_hosts_are_refused(service):
    assert service.ask(png(), origin="http://evil.example").status_code == 403
    assert service.ask(png(), host="evil.example").status_code == 403
    assert service.site.recipes[0].service.calls.computed == 0
