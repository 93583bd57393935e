"""Connections: their number, the size of headers, and clients that send or read too slowly."""

import json
import socket
import time

import httpx
import numpy as np
import pytest
from served import served
from service_client import png
from uvicorn.protocols.http.h11_impl import H11Protocol

from srcache.images import encode
from srcache.server import connections
from srcache.server.connections import HEAD_BYTES, http_protocol, limited

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("connections")
    recipe = folder / "mine.yaml"
    recipe.write_text("engine: test-faulty\nscale: 4\n")
    with served(folder / "cache", recipe, connections=20, max_body="32M") as found:
        yield found


def connected(server):
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=40)


def status_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"nosniff" in head
    return int(head.split()[1]), json.loads(body)["error"]["reason"]


def everything(sock):
    found = b""
    try:
        while piece := sock.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.x\r\n\r\n", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"],
)
def test_what_is_no_http_is_refused_in_the_form_of_all_errors(server, data):
    with connected(server) as sock:
        sock.sendall(data + b"\r\n\r\n")
        assert status_of(everything(sock)) == (400, "bad_request")


def test_headers_without_an_end_are_cut_off(server):
    with connected(server) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        try:
            for _ in range(HEAD_BYTES // 1000 + 600):
                sock.sendall(b"x: " + b"y" * 995 + b"\r\n")
                time.sleep(0.0005)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("it took everything")


@pytest.mark.slow
def test_headers_that_do_not_come_are_not_waited_for(server):
    began = time.monotonic()
    with connected(server) as silent, connected(server) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nho")
        assert everything(silent) == everything(slow) == b""
    assert time.monotonic() - began < connections.PATIENCE + 10


@pytest.mark.slow
def test_a_body_that_comes_too_slowly_is_a_408(server):
    with connected(server) as sock:
        sock.sendall(b"POST /v1/sr HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\nabc")
        assert status_of(everything(sock)) == (408, "too_slow")
    used = httpx.get(f"{server.url}/v1/stats").json()["memory"]["used"]
    assert used == 0


def test_more_connections_than_allowed_are_refused_and_come_back_later(server):
    held = [connected(server) for _ in range(25)]
    try:
        refused = 0
        for sock in held:
            sock.settimeout(0.2)
            try:
                refused += b" 503 " in sock.recv(1 << 16)
            except TimeoutError:
                continue
        assert refused >= 5
    finally:
        for sock in held:
            sock.close()
    time.sleep(0.3)
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_large_body_that_is_refused_early_still_gets_its_answer(server):
    answer = httpx.post(f"{server.url}/v1/sr", content=b"x" * (33 << 20), timeout=60)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "too_large")


def test_requests_in_a_row_on_one_connection_are_all_answered(server):
    line = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    with connected(server) as sock:
        sock.sendall(line * 50 + line.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert everything(sock).count(b"HTTP/1.1 200 OK") == 51


def test_keep_alive_serves_many_requests(server):
    with httpx.Client(base_url=server.url) as client:
        for seed in range(5):
            assert client.post("/v1/sr", content=png(seed=seed)).status_code == 200


def test_bodies_that_come_behind_their_headers_are_not_counted_as_such(server):
    body = encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "png")
    head = b"POST /v1/sr HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    with connected(server) as sock:
        for _ in range(3 + HEAD_BYTES // len(body)):
            sock.sendall(head)
            time.sleep(0.02)
            sock.sendall(body)
            found = b""
            while b"\r\n\r\n" not in found:
                found += sock.recv(1 << 16)
            start, _, rest = found.partition(b"\r\n\r\n")
            assert start.split()[1] == b"200", found
            left = int(start.lower().partition(b"content-length: ")[2].split()[0]) - len(rest)
            while left > 0:
                left -= len(sock.recv(1 << 16))


@pytest.mark.parametrize("protocol", [H11Protocol, http_protocol()])
def test_limits_stand_on_top_of_either_protocol(protocol):
    made = limited(protocol, 7)
    assert issubclass(made, protocol)
    assert made.most == 7
    assert made.data_received is connections.Limits.data_received
