"""`srcache doctor`: its table, what is missing, and its exit code."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from srcache.doctor import Extra, check_machine


@pytest.mark.medium
def test_the_disk_of_a_cache_is_looked_at(home, srcache):
    printed = srcache("doctor", "--cache", "cache")
    assert (printed.code, printed.err) == (0, "")
    assert re.search(r"^cache +cache \(.* free\)$", printed.out, re.MULTILINE)
    assert re.search(r"^recipe +bicubic: ready$", printed.out, re.MULTILINE)
    assert re.search(r"^system +.*, \d+ cores?, [\d.]+ [GM]iB memory$", printed.out, re.MULTILINE)
    assert not re.search(r"^cache ", srcache("doctor").out, re.MULTILINE)


@pytest.mark.medium
def test_what_is_missing_is_a_problem_with_exit_code_4(home, srcache, monkeypatch):
    command = "pip install '.[samples]'"
    lacking = Extra(name="samples", missing=("scikit-image>=0.22 is not installed",), command=command)
    problems = ("numpy is not installed; run: pip …",)
    found = replace(check_machine(), problems=problems, extras=(lacking,))
    monkeypatch.setattr("srcache.doctor.check_machine", lambda _: found)
    printed = srcache("doctor")
    assert printed.code == 4
    assert printed.err == "problem: numpy is not installed; run: pip …\n"
    assert re.search(
        r"^extra +samples: lacks .*; run, in a clone of srcache: pip install '\.\[samples\]'$",
        printed.out,
        re.MULTILINE,
    )
    assert json.loads(srcache("doctor", "--json").out)["ok"] is False


@pytest.mark.medium
def test_a_broken_engine_is_a_note(srcache, broken_engine):
    printed = srcache("doctor")
    assert printed.code == 0
    assert f"note: engine {broken_engine} is broken" in printed.out
    assert re.search(rf"^engine +{broken_engine} \(broken\)$", printed.out, re.MULTILINE)


@pytest.mark.medium
def test_the_decoders_in_use_are_named(srcache, monkeypatch):
    printed = srcache("doctor")
    assert re.search(r"^decoder +JPEG: (simplejpeg [\d.]+|pillow [\d.]+ \(.+\))$", printed.out, re.MULTILINE)
    assert re.search(r"^decoder +QOI: qoi [\d.]+$", printed.out, re.MULTILINE)
    monkeypatch.setenv("SRCACHE_DECODERS", "pillow")
    assert re.search(
        r"^decoder +PNG: pillow [\d.]+ \(SRCACHE_DECODERS is pillow\)$", srcache("doctor").out, re.MULTILINE
    )
    found = json.loads(srcache("doctor", "--json").out)["result"]["decoders"]
    assert [one["kind"] for one in found] == ["JPEG", "PNG", "QOI", "AVIF", "HEIC"]
    assert found[0]["reason"] == "SRCACHE_DECODERS is pillow"


def test_what_killed_processes_left_is_removed(srcache, home):
    left = Path(os.environ["SRCACHE_HOME"]) / "weights/.adopting.abcdefgh"
    left.mkdir(parents=True)
    (left / "copy").write_bytes(bytes(2048))
    part = home / "cache/.srcache.json.01234567"
    part.write_bytes(b"{")
    for path in (left / "copy", left, part):
        os.utime(path, (1.0, 1.0))
    printed = srcache("doctor", "--clean", "--cache", "cache", "--json")
    found = json.loads(printed.out)["result"]
    assert printed.code == 0
    assert {one["path"] for one in found["removed"]} == {os.path.realpath(left), os.path.realpath(part)}
    assert found["bytes"] == 2049
    assert not left.exists()
    assert not part.exists()
    assert srcache("doctor", "--clean").out == "0 leftovers of killed processes removed, 0 B\n"
    assert srcache("doctor", "--clean", "--cache", "photos").code == 2
