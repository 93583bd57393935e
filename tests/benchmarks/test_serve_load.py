"""The clients of the service's benchmark: answers are compared, counted and timed, and nothing is lost unnoticed."""

import asyncio
import json
from itertools import repeat

import pytest
from xxhash import xxh3_64_hexdigest

from benchmarks.serve_images import Plan, write_plan
from benchmarks.serve_load import Ask, Load, ask_all, request, run_plan

BODY = bytes(range(256)) * 2000  # more than the first buffer


async def _serve(answer):
    """A server that reads requests and gives each to `answer`, which returns bytes, or None to hang up."""
    seen = []

    async def talk(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-L")), 0
            )
            seen.append((head, await reader.readexactly(length)))
            if (data := answer(len(seen))) is None:
                break
            for at in range(0, len(data), 70_000):
                writer.write(data[at : at + 70_000])
                await writer.drain()
        writer.close()

    async def forgiving(reader, writer):
        try:
            await talk(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(forgiving, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], seen


def _answer(body, status=b"200 OK", more=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), more, body)


def _load(answer, queues, **options):
    async def run():
        server, port, seen = await _serve(answer)
        async with server:
            return await asyncio.wait_for(ask_all(port, queues, **{"seconds": 30, **options}), 30), seen

    return asyncio.run(run())


def test_every_answer_is_compared_and_timed():
    asks = [Ask(data=request("POST", "/x", b"abc%d" % at), checksum=xxh3_64_hexdigest(BODY)) for at in range(20)]
    load, seen = _load(lambda count: _answer(BODY, more=b"X-Srcache-Cache: hit\r\n"), [iter(asks)] * 4)
    assert (load.right, load.wrong, load.lost, load.hits) == (20, 0, 0, 20)
    assert len(load.latencies) == 20
    assert load.received == 20 * len(BODY)
    assert sorted(body for _, body in seen) == sorted(b"abc%d" % at for at in range(20))
    assert load.rate == pytest.approx(20 / load.seconds)


def test_other_bytes_and_other_statuses_are_wrong():
    asks = [Ask(data=request("GET", "/x"), checksum=xxh3_64_hexdigest(b"good"))] * 3
    answers = {1: _answer(b"good"), 2: _answer(b"bad!"), 3: _answer(b"good", b"503 Service Unavailable")}
    load, _ = _load(answers.__getitem__, [iter(asks)])
    assert (load.right, load.wrong, load.lost) == (1, 2, 0)
    assert len(load.problems) == 2
    assert "503" in load.problems[1]


def test_an_answer_that_does_not_come_is_lost():
    asks = [Ask(data=request("GET", "/x"))] * 5
    load, _ = _load(lambda count: _answer(b"x") if count < 3 else None, [iter(asks)])
    assert (load.right, load.wrong, load.lost) == (2, 0, 1)


def test_the_time_ends_the_run_and_its_beginning_does_not_count():
    load, seen = _load(lambda count: _answer(b"x"), [repeat(Ask(data=request("GET", "/x")))], seconds=0.2, warm=0.2)
    assert 0 < len(load.latencies) < load.right == len(seen)
    assert load.seconds == pytest.approx(0.2)


def test_percentiles():
    load = Load(seconds=2, latencies=[0.001 * at for at in range(1000, 0, -1)])
    assert load.percentile(0.5) == pytest.approx(0.501)
    assert load.percentile(0.99) == pytest.approx(0.991)
    assert load.rate == 500
    assert Load().percentile(0.99) == float("inf")


@pytest.mark.parametrize(("shared", "count"), [(True, 6), (False, 18)])
def test_a_plan_is_shared_or_is_each_clients_own(tmp_path, shared, count):
    asks = [(request("POST", "/x", b"%d" % at), xxh3_64_hexdigest(b"x")) for at in range(6)]

    async def run():
        server, port, seen = await _serve(lambda count: _answer(b"x"))
        async with server:
            path = write_plan(tmp_path / "plan.json", port, Plan(clients=3, seconds=30, shared=shared), asks)
            return await asyncio.to_thread(run_plan, path), seen

    load, seen = asyncio.run(run())
    assert load.right == len(seen) == count
    assert {body for _, body in seen} == {b"%d" % at for at in range(6)}
    assert json.loads((tmp_path / "plan.json").read_text())["clients"] == 3
