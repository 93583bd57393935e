"""What a session does with services that answer wrongly, slowly, late or not at all."""

import gzip
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService, document, fake_service, refusal
from training_sets import NOISY

from srcache.engine.interface import upscaled_side
from srcache.errors import ConfigError, ImageError, ServiceError, UnavailableError
from srcache.images import decode_both, encode
from srcache.keys import image_key
from srcache.service import protocol, remote_session
from srcache.service.remote import RemoteService
from srcache.service.remote_answers import Answer, Wanted, wanted_of
from srcache.service.remote_session import Sent, Session
from srcache.service.requests import make_request


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY) as fake:
        yield fake


@pytest.fixture
def data(make_image: Callable[..., Any]) -> bytes:
    return encode(make_image(8, 12, 3), "png")


def wanted(data: bytes) -> Wanted:
    request = make_request(image_key(data), decode_both(data), NOISY, 0)
    assert request.size == (upscaled_side(8, 2), upscaled_side(12, 2))
    return wanted_of(request, NOISY.fingerprint)


def asked(service: FakeService, data: bytes, **how: Any) -> Answer:
    """What a new session makes of one image."""
    session = Session(RemoteService(service.url, **{"timeout": 20, **how}))
    try:
        return got(session, lambda: session.made(wanted(data), Sent(data=lambda: data)))
    finally:
        session.close()


def got(session: Session, ask: Any) -> Any:
    return session.submit(ask).result(60)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(remote_session, "pause", lambda tries, asked: 0.01)


def test_an_image_comes_with_its_record(service: FakeService, data: bytes) -> None:
    answer = asked(service, data)
    name, payload, record = service.entry(NOISY, image_key(data), 0) or ("", b"", {})
    assert (f"{answer.key}-000", answer.payload, answer.record, answer.is_hit) == (name, payload, record, False)
    assert asked(service, data).is_hit


# --- answers that are none ---


def changed(**headers: str | None) -> Callable[[dict[str, Any]], None]:
    def change(answer: dict[str, Any]) -> None:
        answer["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer["headers"] = {name: value for name, value in answer["headers"].items() if value is not None}

    return change


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X_Srcache_Key": "0" * 32}, r"not the image that was asked for: X-Srcache-Key is 0{32}, not"),
        ({"X_Srcache_Sample": "1"}, "X-Srcache-Sample is 1, not 0"),
        ({"X_Srcache_Fingerprint": "f" * 16}, f"X-Srcache-Fingerprint is f{{16}}, not {NOISY.fingerprint}"),
        (
            {"X_Srcache_Key": None, "X_Srcache_Checksum": None},
            "Key is not there, not .*; X-Srcache-Checksum is not there",
        ),
        ({"X_Srcache_Record": "!"}, "record .* cannot be read"),
        ({"Content_Type": "text/html; charset=utf-8"}, "expected an image, but the answer is text/html; is this"),
        ({"Content_Type": "image/gif"}, "expected an image, but the answer is image/gif"),
        ({"Content_Type": "a" * 400}, "expected an image, but the answer is a{40}…"),
        ({"Content_Encoding": "gzip"}, r"the answer is encoded \(gzip\)"),
    ],
)
def test_an_answer_about_something_else_is_refused(
    service: FakeService, data: bytes, headers: dict[str, str | None], words: str
) -> None:
    service.change = changed(**headers)
    with pytest.raises(ServiceError, match=words) as error:
        asked(service, data, fallback="lr")
    assert not isinstance(error.value, UnavailableError)
    assert len(service.asked) == 1, "it would not be another one the next time"


@pytest.mark.usefixtures("quick")
def test_bytes_that_are_not_those_of_the_checksum_are_asked_for_again(service: FakeService, data: bytes) -> None:
    def spoil(answer: dict[str, Any]) -> None:
        answer["body"] = answer["body"][:-9] + b"x" + answer["body"][-8:]

    service.change = spoil
    with pytest.raises(ServiceError, match=r"checksum is \w{16}, but its bytes have"):
        asked(service, data, fallback="lr")
    assert len(service.asked) == 3

    def once(answer: dict[str, Any]) -> None:
        spoil(answer)
        service.change = None

    service.change = once
    assert asked(service, data).payload


def test_a_compressed_answer_is_not_unpacked(service: FakeService, data: bytes) -> None:
    def pack(answer: dict[str, Any]) -> None:
        answer["body"] = gzip.compress(bytes(1 << 26))
        answer["headers"]["Content-Encoding"] = "gzip"

    service.change = pack
    with pytest.raises(ServiceError, match="encoded"):
        asked(service, data)


@pytest.mark.parametrize("says", [True, False])
def test_a_huge_answer_is_cut_off(service: FakeService, data: bytes, says: bool) -> None:
    sent = [0]

    def flood(handler: Any, _: Any) -> bool:
        handler.send_response(200)
        key = {protocol.KEY_HEADER: image_key(data), protocol.SAMPLE_HEADER: "0"}
        more = {protocol.FINGERPRINT_HEADER: NOISY.fingerprint, protocol.CHECKSUM_HEADER: "0" * 16}
        size = {"Content-Length": str(1 << 40)} if says else {"Connection": "close"}
        for name, value in {**key, **more, **size, "Content-Type": "image/qoi"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            while sent[0] < 1 << 30:
                sent[0] += handler.wfile.write(bytes(1 << 20))
        except OSError:
            pass
        handler.close_connection = True
        return True

    service.act = flood
    with pytest.raises(ServiceError, match=r"the answer has more than 67\d\d\d bytes"):
        asked(service, data)
    time.sleep(0.1)
    assert sent[0] < 1 << 26


def test_a_body_that_never_ends_is_cut_off_in_time(service: FakeService, data: bytes) -> None:
    stop = threading.Event()

    def drip(handler: Any, _: Any) -> bool:
        handler.send_response(200)
        answer = handler._made({"method": "POST", "path": protocol.SR, "body": data})
        for name, value in {**answer["headers"], "Content-Length": "50000"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                break
        handler.close_connection = True
        return True

    service.act, began = drip, time.monotonic()
    with pytest.raises(UnavailableError, match=r"has not answered within 0.7 s"):
        asked(service, data, timeout=0.7)
    stop.set()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(service: FakeService, data: bytes, status: int) -> None:
    place = f"{service.url}/elsewhere"
    service.change = lambda answer: answer.update(refusal(status, "moved", "x", Location=place))
    with pytest.raises(ServiceError, match=r"redirects to http://127.0.0.1:\d+/elsewhere, which is not"):
        asked(service, data)
    assert [path for _, path in service.asked] == [protocol.SR]


@pytest.mark.parametrize(
    ("status", "reason", "kind", "words"),
    [
        (422, "blank", ImageError, "it failed"),
        (415, "unreadable", ImageError, "it failed"),
        (413, "too_large", ImageError, "it failed"),
        (400, "bad_sample", ConfigError, "it failed"),
        (400, "bad_query", ServiceError, "answers 400: it failed"),
        (401, "no_token", ServiceError, "answers 401: it failed .*SRCACHE_TOKEN_FILE"),
        (403, "host", ServiceError, "answers 403: it failed"),
        (404, "no_recipe", ServiceError, "answers 404: it failed"),
        (406, "format", ServiceError, "answers 406: it failed"),
    ],
)
def test_a_refusal_is_not_asked_for_again(
    service: FakeService, data: bytes, status: int, reason: str, kind: type[Exception], words: str
) -> None:
    service.change = lambda answer: answer.update(refusal(status, reason, "it failed"))
    with pytest.raises(kind, match=words) as error:
        asked(service, data, fallback="lr")
    assert not isinstance(error.value, UnavailableError)
    assert getattr(error.value, "reason", reason) == reason
    assert len(service.asked) == 1


def test_a_page_of_somebody_else_is_no_reason(service: FakeService, data: bytes) -> None:
    page = {"status": 422, "headers": {"Content-Type": "text/html"}, "body": b"<h1>" + b"x" * 100_000}
    service.change = lambda answer: answer.update(page)
    with pytest.raises(ImageError, match=r"no reason in words, but text/html; is this the address") as error:
        asked(service, data)
    assert error.value.reason == "refused"
    long = document({"error": {"reason": "two words", "message": "a\x1b[31m" + "b" * 5000}}, 422)
    service.change = lambda answer: answer.update(long)
    with pytest.raises(ImageError, match=r"^a \[31mb{490,500}…$") as error:
        asked(service, data)
    assert error.value.reason == "refused"


# --- services that come back, or do not ---


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(service: FakeService, data: bytes, status: int) -> None:
    left = [3]

    def fail(answer: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] >= 0:
            answer.update(refusal(status, "busy", "not now"))

    service.change = fail
    assert asked(service, data, fallback="lr").payload
    assert len(service.asked) == 4
    left[0] = 1000
    with pytest.raises(UnavailableError, match=rf"the SR service at {service.url}: it answers {status}: not now"):
        asked(service, data, fallback="lr")
    assert len(service.asked) == 9


def test_a_service_that_says_when_to_come_again_is_waited_for(service: FakeService, data: bytes) -> None:
    left = [6]

    def fail(answer: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] >= 0:
            answer.update(refusal(503, "full", "no room", **{"Retry-After": "0"}))

    service.change = fail
    assert asked(service, data, fallback="lr").payload
    left[0] = 1
    service.change = lambda answer: answer.update(refusal(503, "full", "no room", **{"Retry-After": "5"}))
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="no room"):
        asked(service, data, timeout=3)
    assert time.monotonic() - began < 3, "to come again when the time is over makes no sense"


@pytest.mark.usefixtures("quick")
def test_a_connection_that_breaks_is_made_again(service: FakeService, data: bytes) -> None:
    kinds = ["before", "head", "body"]

    def cut(handler: Any, _: Any) -> bool:
        if not kinds:
            return False
        kind = kinds.pop()
        if kind == "head":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
        if kind == "body":
            answer = handler._made({"method": "POST", "path": protocol.SR, "body": data})
            handler.send({**answer, "headers": {**answer["headers"], "Content-Length": "60000"}})
        handler.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER: the end is a reset
        handler.connection.close()
        handler.close_connection = True
        return True

    service.act = cut
    assert asked(service, data).payload
    assert len(service.asked) == 4


@pytest.mark.usefixtures("quick")
def test_a_service_that_is_gone_is_not_asked_for_a_while(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_service(NOISY) as service:
        session = Session(RemoteService(service.url, fallback="lr", timeout=20))
        made = lambda: session.made(wanted(data), Sent(data=lambda: data))  # noqa: E731
        assert got(session, made).payload
        port = int(service.url.rpartition(":")[2])
    for _ in range(3):
        with pytest.raises(UnavailableError, match=r"no answer \(.*\)$"):
            got(session, made)
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(UnavailableError, match="not asked again for"):
            got(session, made)
    assert time.monotonic() - began < 2
    session._breaker._until = 0.0
    with pytest.raises(UnavailableError, match="still does not answer"):
        got(session, made)
    with fake_service(NOISY, port=port) as service:
        session._breaker._until = 0.0
        assert got(session, made).payload
        assert service.counts == {"GET /readyz": 1, "POST /v1/sr": 1}
    session.close()


@pytest.mark.usefixtures("quick")
def test_one_that_is_not_ready_gets_no_image(service: FakeService, data: bytes) -> None:
    session = Session(RemoteService(service.url, fallback="lr"))
    for _ in range(3):
        session._breaker.failed("gone", False)
    session._breaker._until = 0.0
    service.change = lambda answer: answer.update(refusal(503, "loading", "the engine is not ready"))
    with pytest.raises(UnavailableError, match="is not ready yet"):
        got(session, lambda: session.made(wanted(data), Sent(data=lambda: data)))
    assert service.counts == {"GET /readyz": 1}
    session.close()


def test_as_many_images_are_asked_for_at_once_as_was_said(service: FakeService, data: bytes) -> None:
    service.act = lambda handler, asked: bool(time.sleep(0.05))
    session = Session(RemoteService(service.url, batch=3))
    ask = lambda: session.made(wanted(data), Sent(data=lambda: data))  # noqa: E731
    futures = [session.submit(ask) for _ in range(12)]
    assert all(future.result(30).payload for future in futures)
    assert service.most == 3
    session.close()


def test_a_token_is_sent_in_a_header_and_read_again_when_it_has_changed(
    service: FakeService, data: bytes, tmp_path: Any
) -> None:
    file, service.token = tmp_path / "token", "one"
    file.write_text("one\n")
    session = Session(RemoteService(service.url, token_file=file))
    ask = lambda: session.made(wanted(data), Sent(data=lambda: data))  # noqa: E731
    assert got(session, ask).payload
    assert service.headers[-1]["Authorization"] == "Bearer one"
    service.token = "two"
    with pytest.raises(ServiceError, match="answers 401"):
        got(session, ask)
    file.write_text("two\n")
    assert got(session, ask).payload
    assert not any("one" in path or "two" in path for _, path in service.asked)
    session.close()


def test_proxies_are_not_used_for_this_machine(
    service: FakeService, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asked(service, data).payload


def test_certificates_that_cannot_be_read_are_a_mistake(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "gone.pem"):
        with pytest.raises(ConfigError, match=f"{name} has no certificates that can be read"):
            Session(RemoteService("https://localhost:1", ca_file=tmp_path / name))


@pytest.mark.medium
def test_a_certificate_is_trusted_only_if_it_is_known(data: bytes, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=test"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    with fake_service(NOISY, tls=(cert, key)) as service:
        assert asked(service, data, ca_file=cert).payload
        with pytest.raises(ServiceError, match=r"its certificate is not trusted \(.*\); give .* as ca_file="):
            asked(service, data, fallback="lr")
        service.url = service.url.replace("127.0.0.1", "localhost")
        with pytest.raises(ServiceError, match="its certificate is not trusted"):
            asked(service, data, ca_file=cert)


def test_a_port_without_tls_is_said(service: FakeService, data: bytes) -> None:
    session = Session(RemoteService(service.url.replace("http:", "https:"), timeout=5))
    with pytest.raises(ServiceError, match="does not speak TLS at this port"):
        got(session, lambda: session.made(wanted(data), Sent(data=lambda: data)))
    session.close()


def test_what_goes_on_is_cut_off_when_a_session_is_closed(service: FakeService, data: bytes) -> None:
    gate = threading.Event()
    service.act = lambda handler, asked: not gate.wait(20)
    session = Session(RemoteService(service.url))
    ask = lambda: session.made(wanted(data), Sent(data=lambda: data))  # noqa: E731
    futures = [session.submit(ask)]
    time.sleep(0.2)
    futures.append(session.submit(ask))
    session.close()
    session.close()
    futures.append(session.submit(ask))
    gate.set()
    assert all(future.cancelled() for future in futures)
    assert session.loop.is_closed()


# --- other paths ---


def test_what_is_there_is_taken_and_what_is_not_is_sent(service: FakeService, data: bytes) -> None:
    session = Session(RemoteService(service.url))
    ask = lambda: session.found(wanted(data), Sent(data=lambda: data))  # noqa: E731
    first, second = got(session, ask), got(session, ask)
    assert (first.payload, first.is_hit, second.is_hit) == (second.payload, False, True)
    assert service.counts == {"GET /v1/sr/KEY": 2, "POST /v1/sr": 1}
    session.close()


def test_prefetching(service: FakeService, data: bytes) -> None:
    session, key = Session(RemoteService(service.url)), image_key(data)
    ask = lambda: session.ask_for(NOISY.fingerprint, [key], [0, 1])  # noqa: E731
    assert got(session, ask) == {"stored": 0, "queued": 0, "failed": {}, "unknown": [key]}
    sent = Sent(data=lambda: data)
    assert got(session, lambda: session.hand_over(NOISY.fingerprint, 1, sent))["stored"] == 1
    service.known[key] = data
    assert got(session, ask) == {"stored": 1, "queued": 1, "failed": {}, "unknown": []}
    for wrong in (
        {"unknown": ["x"]},
        {"unknown": 3},
        {"failed": []},
        {"stored": "1"},
        {"queued": -1},
        {"queued": True},
    ):
        plain = {"stored": 0, "queued": 0, "failed": {}, "unknown": [], **wrong}
        service.change = lambda answer, plain=plain: answer.update(document(plain, 202))
        with pytest.raises(ServiceError, match="expected"):
            got(session, ask)
    session.close()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"<html>", b"[" * 100_000, b'{"recipes": {}}', b'{"recipes": [1]}', b"\xff"]
)
def test_a_list_of_recipes_that_is_none_is_refused(service: FakeService, body: bytes) -> None:
    session = Session(RemoteService(service.url))
    assert [one["folder"] for one in got(session, session.recipes)] == [NOISY.folder]
    service.change = lambda answer: answer.update(body=body)
    with pytest.raises(ServiceError, match="expected"):
        got(session, session.recipes)
    service.change = lambda answer: answer.update(body=b'"' + b"x" * (5 << 20) + b'"')
    with pytest.raises(ServiceError, match="more than"):
        got(session, session.recipes)
    session.close()
