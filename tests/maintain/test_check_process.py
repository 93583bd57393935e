"""The check in a process of its own: whatever kills it is a finding, whatever else stops it is not."""

import json
import os
import subprocess
import sys

import caches
import pytest

from srcache.cache.manifest import RecipeFolder
from srcache.errors import MachineError
from srcache.keys import image_key
from srcache.maintain import check_process as checks
from srcache.maintain.verify import verify
from srcache.stores import Entry

pytestmark = pytest.mark.usefixtures("spawned_checks")


def _reasons(report):
    return [finding.reason for finding in report.findings]


def _put(cache, *entries):
    with caches.opened(cache, writable=True) as store:
        store.put_many(entries)


@pytest.mark.medium
def test_a_reader_that_dies_is_a_finding(cache):
    folder = caches.only(cache)
    data = folder.store_path / "data.mdb"
    size = data.stat().st_size
    os.truncate(data, 4096 * 2)
    os.truncate(data, size)
    report = verify(cache, "bicubic")
    assert not report.ok
    assert set(_reasons(report)) <= {"damaged", "crash"}


@pytest.mark.medium
def test_a_blank_page_that_makes_the_reader_fail_an_assertion_is_a_finding(cache):
    _put(cache, *(Entry(f"{image_key(bytes([n]))}-000", bytes(900), {"pad": "x" * 900}) for n in range(200)))
    first = min(caches.contents(cache)).encode()
    data = caches.only(cache).store_path / "data.mdb"
    pages = bytearray(data.read_bytes())
    for start in range(8192, len(pages), 4096):
        page = pages[start : start + 4096]
        if page[10:12] == b"\x02\x00" and b"-000" in page and first not in page:
            pages[start : start + 4096] = bytes(4096)
    data.write_bytes(pages)
    report = verify(cache)
    source = f"{caches.home(cache).name}/data.lmdb"
    assert [(one.source, one.reason) for one in report.findings] == [(source, "damaged"), (source, "crash")]
    assert "is not what was written" in report.findings[0].detail
    assert "SIGABRT" in report.findings[1].detail
    assert report.entries == 10, "the other recipe is checked all the same"


@pytest.mark.parametrize("kind", ["SIGBUS", "SIGSEGV", "SIGABRT"])
def test_a_signal_that_broken_memory_raises_is_a_finding(cache, kind, monkeypatch):
    code = f"import json, os, signal; print(json.dumps(['at', 3, 99]), flush=True); os.kill(os.getpid(), signal.{kind})"
    _run_instead(monkeypatch, code)
    report = verify(cache, "bicubic")
    assert [(one.reason, kind in one.detail, "after 3 entries" in one.detail) for one in report.findings] == [
        ("crash", True, True)
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import sys; sys.exit('MemoryError: no more')",
        "",
        "import json; print(json.dumps(['machine', 'MemoryError: no more']))",
    ],
    ids=["killed", "broken", "mute", "told"],
)
def test_what_is_not_the_stores_fault_is_no_damage(cache, code, monkeypatch):
    _run_instead(monkeypatch, code)
    with pytest.raises(MachineError, match=r"no more|ended early"):
        verify(cache, "bicubic")


@pytest.mark.medium
def test_whatever_reading_makes_of_damaged_bytes_is_a_finding(cache, capsys, monkeypatch):
    names = sorted(caches.contents(cache))

    class Odd:
        def check(self, path):
            raise ValueError("nobody thought of this")

        def repeated(self, path):
            return 0

        def open(self, path, options):
            return self

        def close(self):
            return None

        def names(self):
            return iter(names)

        def __len__(self):
            return len(names)

        def record(self, name):
            raise {names[0]: RecursionError, names[1]: OverflowError}.get(name, UnicodeError)("odd")

        def has(self, name):
            return True

        get = record

    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    monkeypatch.setattr(RecipeFolder, "store_kind", property(lambda _: Odd()))
    monkeypatch.setattr(sys, "argv", ["check", "check", str(cache), caches.home(cache).name])
    checks.main()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    how = "reading it fails in an unforeseen way (ValueError('nobody thought of this'))"
    assert ["found", "", "damaged", how] in said
    assert [line[1] for line in said if line[:1] == ["found"] and line[2] == "unreadable"] == names
    assert said[-1][0] == "end"


def _run_instead(monkeypatch, code):
    start = subprocess.Popen

    def other(command, **named):
        return start([*command[:1], "-c", code], **named)

    monkeypatch.setattr(checks.subprocess, "Popen", other)


@pytest.mark.medium
def test_an_interrupted_check_leaves_no_process(cache, monkeypatch):
    started = []
    start = checks._started
    monkeypatch.setattr(checks, "_started", lambda *given: started.append(start(*given)) or started[-1])

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(cache, progress=interrupt)
    assert started[0].poll() is not None
