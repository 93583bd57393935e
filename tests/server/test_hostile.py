"""Requests made to break the service: it answers each with a refusal or not at all, and goes on.

No status from 500 on but 503 with Retry-After; never a path or a traceback; and memory comes back.
"""

import io
import json
import random
import re
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import numpy as np
import pytest
from PIL import Image
from served import served, without
from service_client import png

TOKEN = "token-of-hostile-requests"
MEMORY = 64 << 20
PATIENCE = 0.5
"""Seconds after which a client of these says that it will send no more."""


def bomb(width, height):
    """A PNG of a few kilobytes whose header says how large it is, and whose data is so many zeros."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(min(3 * width * height + height, 40 << 20)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def files():
    """Images in many formats, and bytes that are none."""
    rng, found = np.random.default_rng(3), []
    rgb = Image.fromarray(rng.integers(0, 255, (9, 14, 3), np.uint8))
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA", "ICO"):
        out = io.BytesIO()
        rgb.save(out, kind)
        found.append(out.getvalue())
    for mode in ("RGBA", "LA", "P", "1", "CMYK", "I;16"):
        out = io.BytesIO()
        rgb.convert("I").convert(mode).save(out, "TIFF") if mode == "I;16" else rgb.convert(mode).save(out, "TIFF")
        found.append(out.getvalue())
    qoi = b"qoif" + struct.pack(">IIBB", 4, 4, 3, 0) + b"\xc0" * 16 + b"\0\0\0\0\0\0\0\1"
    return [
        *found,
        qoi,
        bomb(5000, 5000),
        bomb(60_000, 60_000),
        bomb(2**31 - 1, 2**31 - 1),
        b"P6 99999 99999 255\n",
        b"",
    ]


METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "P\x00ST", "X" * 300]
PATHS = [
    *("/", "/v1/sr", "/v1/sr/", "/v1/sr/" + "0" * 32, "/v1/prefetch", "/v1/recipes", "/v1/stats", "/metrics"),
    *("/healthz", "/readyz", "/openapi.json", "/page/page.js", "/page/../../etc/passwd", "//v1/sr", "/v1/sr/../../x"),
    *("*", "http://evil/v1/sr", "/%2e%2e/%2e%2e/etc/passwd", "/v1/sr/%00", "/\xff\xfe", "/v1/sr/" + "é" * 40, "x"),
]
QUERIES = [
    *("", "", "", "?sample=0", "?sample=99999999999999999999", "?as=pixels", "?as=", "?recipe=mine", "?recipe=%00"),
    *("?recipe=../..", "?sample=%31", "?sample=1e3", "?sample=٣", "?" + "a=b&" * 2000, "?%", "?as=pixels&as=pixels"),
]
HEADERS = [
    *("Accept: image/png", "Accept: " + "image/png;q=0.1," * 500, "Accept: */*;q=nan", "Accept: \xff", "Accept: ;;=;"),
    *("If-None-Match: *", 'If-None-Match: "' + "x" * 5000 + '"', "Origin: null", "Origin: http://evil.example"),
    *("Sec-Fetch-Site: cross-site", "Expect: 100-continue", "X-Request-Id: \x1b[31m", "X-Request-Id: " + "i" * 5000),
    *("Content-Type: application/json", "Content-Type: image/png; charset=\xfe", "Transfer-Encoding: chunked"),
    *("Transfer-Encoding: gzip, chunked", "Content-Length: 5", "Content-Length: -1", "Content-Length: 9" + "9" * 30),
    *("Content-Encoding: gzip", "Upgrade: websocket", "Connection: upgrade", "Range: bytes=0-1", "Host: evil.example"),
    *("Cookie: " + "c" * 9000, "X: " + "y" * 70_000, "Bad Header", ": empty", "Authorization: Bearer " + TOKEN),
    *("Forwarded: host=evil", "X-Forwarded-For: evil", "X-Forwarded-Host: evil", "Connection: close"),
]
DOCUMENTS = [
    *("{}", "[]", "null", "{", '{"keys": 5}', '{"keys": ["x"]}', '{"keys": [], "samples": []}', "[" * 100_000),
    *('{"keys": ["' + "0" * 32 + '"], "samples": [true]}', '{"keys": ["' + "0" * 32 + '"], "samples": [-1]}'),
    *('{"keys": ["' + "f" * 32 + '"]}', '{"keys": [], "recipe": {}}', '{"recipe": 1e999, "keys": []}', "\ud800"),
    json.dumps({"keys": ["0" * 32] * 20_000}),
]


def request(rng, images):
    """The bytes of a request: a good one, with some of it made wrong."""
    method = rng.choice(METHODS if rng.random() < 0.15 else ["POST", "POST", "GET"])
    path = rng.choice(PATHS if rng.random() < 0.25 else ["/v1/sr", "/v1/sr", "/v1/prefetch", "/v1/sr/" + "0" * 32])
    if rng.random() < 0.2:
        body = rng.choice(DOCUMENTS).encode("utf-8", "surrogatepass")
    else:
        body = rng.choice(images)
        if rng.random() < 0.4 and body:
            body = mutated(rng, body)
    words = ["Host: 127.0.0.1"] if rng.random() < 0.95 else []
    words += [f"Authorization: Bearer {TOKEN}"] if rng.random() < 0.9 else ["Authorization: Bearer " + "x" * 25]
    words += rng.sample(HEADERS, rng.choice([0, 0, 0, 1, 2]))
    if not any(word.startswith(("Content-Length", "Transfer")) for word in words):
        words.append(f"Content-Length: {len(body) + rng.choice([0, 0, 0, 0, 7, -3 if len(body) > 3 else 0])}")
    query = rng.choice(QUERIES) if rng.random() < 0.25 else ""
    head = "\r\n".join([f"{method} {path}{query} HTTP/1.1", *words, "", ""])
    whole = head.encode("utf-8", "surrogatepass") + body
    return whole[: rng.randrange(len(whole))] if rng.random() < 0.1 else whole


def mutated(rng, data):
    """Some bytes of a file changed, left out or repeated."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 40])):
        place = rng.randrange(len(changed))
        act = rng.random()
        if act < 0.6 or len(changed) < 4:
            changed[place] = rng.randrange(256)
        elif act < 0.8:
            del changed[place : place + rng.randrange(1, 9)]
        else:
            changed[place:place] = changed[place : place + 8]
        if not changed:
            return b""
    return bytes(changed)


def exchange(address, data):
    """Send bytes, and take what comes back; after a while, say that no more will be sent."""
    with socket.create_connection(address, timeout=PATIENCE) as sock, suppress(ConnectionError):
        with suppress(ConnectionError, TimeoutError):  # it may close at any time; what it said is still there
            sock.sendall(data)
        found, is_waiting = b"", True
        while not is_complete(found):
            try:
                piece = sock.recv(1 << 16)
            except TimeoutError:
                assert is_waiting, "the connection neither answers nor closes"
                is_waiting = False
                sock.settimeout(30)
                sock.shutdown(socket.SHUT_WR)
                continue
            except ConnectionError:
                break
            if not piece:
                break
            found += piece
        return found
    return b""


def is_complete(answer):
    """Whether an answer has come as long as it says that it is."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length[1]))


def check(answer, sent, folder):
    """An answer is none, or a refusal in its form, or an image; and says nothing about this machine."""
    if not answer:
        return 0
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, (answer[:200], sent[:300])
    status = int(found[1])
    if status == 100:
        answer = answer.partition(b"\r\n\r\n")[2]
        return check(answer, sent, folder) if answer else 100
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status < 500 or (status == 503 and b"\r\nretry-after: " in head.lower()), (answer[:600], sent[:300])
    for word in (b"Traceback", b'.py"', folder.encode(), b"site-packages", b"uvicorn", b"starlette"):
        assert word not in answer, (answer[:600], sent[:300])
    assert b"nosniff" in head, (answer[:600], sent[:300])
    if status >= 400 and not sent.startswith(b"HEAD"):
        document = json.loads(body.partition(b"HTTP/1.1 ")[0])["error"]
        assert set(document) == {"reason", "message"}
    return status


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS"))


def attack(count, seed, tmp_path, recipe_file, environment=None):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    rng, images, statuses = random.Random(seed), files(), {}
    options = {"token_file": token, "memory": "64M", "max_body": "4M", "max_pixels": 4_000_000}
    with served(tmp_path / "cache", recipe_file("test-faulty"), environment=environment, **options) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        good = {"Authorization": f"Bearer {TOKEN}"}
        before = resident(server.process.pid)
        sent = [request(rng, images) for _ in range(count)]
        with ThreadPoolExecutor(8) as clients:
            for data, answer in zip(sent, clients.map(lambda data: exchange(address, data), sent), strict=True):
                status = check(answer, data, str(tmp_path))
                statuses[status] = statuses.get(status, 0) + 1
        time.sleep(0.3)
        stats = httpx.get(f"{server.url}/v1/stats", headers=good).json()
        assert stats["memory"]["used"] == 0
        assert stats["active"] == 1
        assert httpx.post(f"{server.url}/v1/sr", headers=good, content=png(seed=99)).status_code == 200
        grown = resident(server.process.pid) - before
        assert grown < MEMORY + (128 << 20), f"{grown >> 20} MiB more"
        assert server.stop() == 0
        assert "Traceback" not in server.stderr
        assert TOKEN not in server.stderr
    assert {200, 400, 401, 403, 404, 405, 413, 415} <= set(statuses), statuses
    assert {500, 502, 504} & set(statuses) == set()


@pytest.mark.medium
def test_three_hundred_hostile_requests(tmp_path, recipe_file):
    attack(300, 1, tmp_path, recipe_file)


@pytest.mark.slow
def test_ten_thousand_hostile_requests(tmp_path, recipe_file):
    attack(10_000, 2, tmp_path, recipe_file)


@pytest.mark.slow
def test_hostile_requests_where_uvicorn_has_h11_alone(tmp_path, recipe_file):
    (tmp_path / "without").mkdir()
    attack(2000, 3, tmp_path, recipe_file, without(tmp_path / "without", "httptools", "uvloop"))
