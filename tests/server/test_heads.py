"""Heads of answers from known lines: the same bytes as uvicorn's; what is not plain is left to uvicorn."""

import asyncio
import logging

import pytest

from srcache.server import heads

httptools_impl = pytest.importorskip("uvicorn.protocols.http.httptools_impl", reason="httptools is not installed")

DATE = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
PLAIN = [(b"content-type", b"image/png"), (b"content-length", b"6"), (b"etag", b'"x"')]


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.writes, self.closed = [], False

    def write(self, data):
        self.writes.append(bytes(data))

    def writelines(self, pieces):
        self.writes.append(b"".join(pieces))

    def close(self):
        self.closed = True


class Flow:
    write_paused = False


def answered(messages, quick, *, method="GET", keep_alive=True, disconnected=False):
    """What is on the wire after an application has sent these messages, and the cycle."""

    async def run():
        wire, ended = Wire(), []
        cycle = httptools_impl.RequestResponseCycle(
            scope={"method": method, "http_version": "1.1"},
            transport=wire,
            flow=Flow(),
            logger=logging.getLogger(),
            access_logger=logging.getLogger(),
            access_log=False,
            default_headers=DATE,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=lambda: ended.append(1),
        )
        cycle.disconnected = disconnected
        if quick:
            heads.quicken(cycle)
            assert type(cycle) is heads.QuickCycle
        for message in messages:
            await cycle.send(dict(message))
        return wire, cycle, len(ended)

    return asyncio.run(run())


def start(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


ANSWERS = {
    "plain": [start(*PLAIN), body(b"abcdef")],
    "in pieces": [start(*PLAIN), body(b"abc", True), body(b"def")],
    "without a length": [start(PLAIN[0]), body(b"abc"), ],
    "of a body that is empty": [start((b"content-length", b"0")), body(b"")],
    "not found": [start(*PLAIN, status=404), body(b"abcdef")],
    "304": [start((b"etag", b'"x"'), status=304), body(b"")],
    "that closes": [start(*PLAIN, (b"connection", b"close")), body(b"abcdef")],
    "in capitals": [start((b"Content-Length", b"3")), body(b"abc")],
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("options", [{}, {"method": "HEAD"}, {"keep_alive": False}, {"disconnected": True}])
def test_an_answer_is_uvicorns_to_the_byte(name, options):
    quick, cycle, ended = answered(ANSWERS[name], True, **options)
    plain, other, ended_too = answered(ANSWERS[name], False, **options)
    assert b"".join(quick.writes) == b"".join(plain.writes)
    assert (quick.closed, ended) == (plain.closed, ended_too)
    assert (cycle.response_started, cycle.response_complete) == (other.response_started, other.response_complete)


def test_head_and_body_are_written_together():
    wire, _, ended = answered(ANSWERS["plain"], True)
    assert len(wire.writes) == ended == 1
    assert wire.writes[0].endswith(b'etag: "x"\r\n\r\nabcdef')


@pytest.mark.parametrize("pair", [(b"x\r\ny", b"z"), (b"x", b"y\r\nz: 1"), (b"x", b"a\0b")])
def test_a_header_that_would_break_the_answer_is_refused_as_by_uvicorn(pair):
    for quick in (True, False):
        with pytest.raises(RuntimeError, match="Invalid HTTP header"):
            answered([start(*PLAIN, pair), body(b"abcdef")], quick)


@pytest.mark.parametrize("messages", [[start(*PLAIN), body(b"abc")], [start(*PLAIN), body(b"abcdefg")]])
def test_an_answer_of_another_length_is_an_error(messages):
    for quick in (True, False):
        with pytest.raises(RuntimeError):
            answered(messages, quick)


def test_other_protocols_stay_as_they_are():
    other = object()
    heads.quicken(other)
    heads.quicken(None)
    assert type(other) is object


def test_lines_that_are_kept_are_bounded():
    for number in range(3 * heads._KNOWN):
        answered_line = heads._line(b"x-request-id", b"%d" % number)
    assert answered_line == b"x-request-id: %d\r\n" % number
    assert heads._line.cache_info().currsize <= heads._KNOWN
