"""`-q`, `-v` and `--log-file`, as every command has them."""

import logging
import os
import re
import sys

import pytest
from srcache_cli import saying
from srcache_cli.main import cli, run
from srcache_cli.output import echo, note
from srcache_cli.progress_bar import progress_bar

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) .*")


def _lines(path):
    """The lines of a log, without their times."""
    text = path.read_text()
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    return [line[20:] for line in text.splitlines()]


@pytest.fixture
def chosen():
    """Choose as a command line does; afterwards nothing is chosen."""
    saying.begin(["info"])
    yield lambda *words: cli.main(args=[*words, "--version"], standalone_mode=False)
    saying.over(0)
    assert saying.LOGGER.handlers == []


def test_quiet_leaves_out_notes_and_progress_and_nothing_else(chosen, capfd, monkeypatch):
    chosen("-q")
    capfd.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar("scan") as show:
        show(1, 1)
    note("note: all is well")
    note("half of it is done", err=True)
    echo("a result")
    echo("srcache: a warning", err=True)
    assert capfd.readouterr() == ("a result\n", "srcache: a warning\n")


def test_without_a_choice_notes_are_printed(capfd):
    note("note: all is well")
    note("half of it is done", err=True)
    assert capfd.readouterr() == ("note: all is well\n", "half of it is done\n")


def test_verbose_shows_what_is_logged_and_where_time_goes(home, srcache):
    plain = srcache("build", "one", "--cache", "new", "--recipe", "bicubic", "--set", "scale=2")
    told = srcache("build", "one", "--cache", "newer", "--recipe", "bicubic", "--set", "scale=2", "-v")
    assert (plain.code, told.code, plain.err) == (0, 0, "")
    assert re.search(r"\d\d:\d\d:\d\d srcache\.time: loading engine resample on cpu: 0\.\d{3} s\n", told.err)
    assert re.search(r"srcache\.cli: build: 1 image in ", told.err)
    assert re.search(r"srcache: exit code 0 after [\d.]+ s\n$", told.err)
    assert saying.LOGGER.level == logging.NOTSET


def test_a_log_has_what_was_said_and_logged_with_times_and_nothing_that_a_terminal_obeys(home, srcache):
    (home / "photos/größe 1/\x1b[31mred.png").touch()
    words = ("build", "photos", "--cache", "new", "--recipe", "bicubic", "--set", "scale=2", "--log-file", "log.txt")
    printed = srcache(*words, "-q")
    assert printed.code == 1
    found = _lines(home / "log.txt")
    assert found[0].startswith("INFO $ srcache build photos --cache new")
    assert [f"ERROR {line}" for line in printed.err.splitlines()] == [one for one in found if one.startswith("ERROR")]
    assert {f"INFO {line}" for line in printed.out.splitlines()} < set(found)
    assert "INFO images: 1 duplicate" in found, "a note, which was not printed"
    assert any(line.startswith("DEBUG srcache.time: keys of 5 files") for line in found)
    assert "\x1b" not in (home / "log.txt").read_text()
    assert srcache("info", "photos", "--log-file", "log.txt").code == 2
    more = _lines(home / "log.txt")
    assert more[: len(found)] == found, "it is appended to"
    assert more[-2].startswith("ERROR srcache: photos is no srcache cache")
    assert more[-1].startswith("DEBUG srcache: exit code 2 after")


def test_a_document_is_no_line_of_a_log(home, srcache):
    printed = srcache("info", "cache", "--json", "--log-file", "log.txt")
    assert '"schema": "srcache.info/1"' in printed.out
    assert len(_lines(home / "log.txt")) == 2


def test_the_options_stand_before_the_command_as_well_and_in_a_file_of_options(home, srcache):
    assert srcache("--log-file", "log.txt", "info", "cache").code == 0
    (home / "options.yaml").write_text("log-file: other.txt\nverbose: true\n")
    told = srcache("info", "cache", "--config", "options.yaml")
    assert told.code == 0
    assert "srcache: exit code 0" in told.err
    assert len(_lines(home / "log.txt")) == len(_lines(home / "other.txt")) > 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/log.txt", "cannot be opened (No such file or directory); name a file in a folder"),
        ("photos", "is no file that lines can be appended to"),
        ("pipe", "is no file that lines can be appended to"),
    ],
)
def test_a_log_that_cannot_be_is_refused(home, refuse, path, message):
    os.mkfifo(home / "pipe")
    refuse(f"info cache --log-file {path}", message)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_ends_the_log_and_not_the_command(home, srcache):
    printed = srcache("info", "cache", "--log-file", "/dev/full")
    assert printed.code == 0
    assert printed.err == "srcache: nothing more is logged: /dev/full: No space left on device\n"


def test_warnings_of_the_library_are_still_shown_beside_a_log(chosen, capfd, tmp_path):
    chosen("--log-file", str(tmp_path / "log.txt"))
    capfd.readouterr()
    logging.getLogger("srcache.server").warning("a request was refused")
    assert "srcache.server: a request was refused\n" in capfd.readouterr().err
    assert "WARNING srcache.server: a request was refused" in _lines(tmp_path / "log.txt")


def test_a_command_line_leaves_nothing_chosen_behind(home):
    assert run(["info", "cache", "-q", "-v", "--log-file", "log.txt"]) == 0
    assert not saying.is_quiet()
    assert saying.LOGGER.handlers == []
