"""The access log: lines and JSON, written aside, without secrets, and never in the way."""

import io
import json
import threading
import time

from srcache.server.log import AccessLog, Line

LINE = Line(1_790_000_000.25, "127.0.0.1", "GET", "/v1/sr/x\n\x1b[31m", 200, 512, 1.5, "hit", "id-1")


def written(as_json, lines, hide=str):
    out = io.StringIO()
    with AccessLog(as_json, hide, out) as log:
        for line in lines:
            log.note(line)
    return out.getvalue()


def test_a_line_is_one_line_whatever_was_asked_for():
    (line,) = written(False, [LINE]).splitlines()
    assert line == r"2026-09-21T14:13:20Z 127.0.0.1 GET /v1/sr/x\n\u001b[31m 200 512 1.5ms hit id-1"
    assert " - id-1" in written(False, [LINE._replace(cache=None)])


def test_json_has_the_same_words():
    found = json.loads(written(True, [LINE]))
    assert found == {**LINE._asdict(), "time": "2026-09-21T14:13:20.250Z"}


def test_secrets_are_taken_out():
    assert "hidden" in written(True, [LINE], lambda text: text.replace("127.0.0.1", "hidden"))


def test_lines_come_in_order_and_all_of_them():
    lines = [LINE._replace(id=str(number)) for number in range(3000)]
    assert [line.split()[-1] for line in written(False, lines).splitlines()] == [line.id for line in lines]


def test_a_reader_that_has_stopped_holds_up_nobody():
    gate = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text):
            gate.wait(20)
            return super().write(text)

    out = Stuck()
    log = AccessLog(False, str, out)
    log.__enter__()
    log.note(LINE)
    time.sleep(0.5)
    began = time.monotonic()
    for number in range(120_000):
        log.note(LINE._replace(id=str(number)))
    assert time.monotonic() - began < 10
    gate.set()
    log.__exit__()
    lines = out.getvalue().splitlines()
    assert lines[-1] == "20000 lines were left out"
    assert lines[-2].endswith(" 119999")
