"""The standard streams: closed ones are opened before a file gets their number, full ones are told."""

import json
import os
import subprocess
import sys

import pytest
from srcache_cli.streams import open_streams, silence

STREAMS = """
import os, sys
from srcache_cli.streams import open_streams
open_streams(True)
found = [os.path.realpath(f"/proc/self/fd/{number}") for number in (0, 1, 2)], os.get_inheritable(2)
print("lost" if sys.stdout.fileno() == 1 else "?", file=sys.stderr)
open(sys.argv[1], "w").write(repr(found))
"""


@pytest.mark.medium
def test_closed_streams_get_their_numbers_back(tmp_path):
    words = ["sh", "-c", f"'{sys.executable}' -c \"$0\" {tmp_path}/found <&- >&- 2>&-", STREAMS]
    assert subprocess.run(words, check=False).returncode == 0
    assert eval((tmp_path / "found").read_text()) == ([os.devnull] * 3, True)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("closing", "code"), [("2>&-", 0), (">&-", 0), (">/dev/full", 4), (">/dev/full 2>/dev/full", 4)]
)
def test_a_command_without_streams_does_its_work(closing, code, home):
    line = f"'{sys.executable}' -m srcache_cli.main info cache --json {closing}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    if closing == "2>&-":
        assert json.loads(done.stdout)["ok"]
    if closing == ">/dev/full":
        said = (
            b"srcache: what the command had to say could not be written to stdout (No space left on device), but what"
        )
        assert done.stderr == said + b" was done is kept\n"


def test_streams_that_are_there_print_every_name(monkeypatch, tmp_path):
    for as_json, encoding in ((False, "latin-1"), (True, "utf-8")):
        with (tmp_path / encoding).open("w", encoding="latin-1") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            open_streams(as_json)
            assert (stream.encoding, stream.errors) == (encoding, "backslashreplace")
            stream.write("\udcff€")


def test_a_silent_stream_takes_all(tmp_path):
    with (tmp_path / "file").open("wb", buffering=0) as file:
        silence(file.fileno())
        file.write(b"x")
    assert (tmp_path / "file").read_bytes() == b""
