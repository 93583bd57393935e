"""What the system's errors become: every known number has a class, an exit code and advice."""

import errno
import os

import pytest

from srcache.errors import LIMITS, DiskFullError, MachineError
from srcache.files import disk_errors
from srcache.files.system_errors import READING, WRITING, from_system, not_read, not_written, number_of, reading

CODES = sorted(WRITING | READING | {errno.ENOENT})


def _error(code):
    return OSError(code, os.strerror(code), "some/file")


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_an_error_that_nobody_explained_is_the_machines_and_no_bug(code):
    found = from_system(_error(code))
    assert found.exit_code == 4
    assert str(found).startswith(f"some/file could not be used ({os.strerror(code)}), so ")
    assert str(found).endswith(", and run the same command again")


@pytest.mark.parametrize("code", sorted(WRITING), ids=errno.errorcode.get)
def test_writing_says_that_what_was_stored_is_safe(code, tmp_path):
    with (
        pytest.raises(MachineError, match=r"x could not be written .*what was stored is safe") as caught,
        disk_errors(tmp_path / "x"),
    ):
        raise _error(code)
    assert (type(caught.value) is DiskFullError) is (code not in LIMITS)


@pytest.mark.parametrize("code", sorted(READING), ids=errno.errorcode.get)
def test_reading_says_nothing_about_the_content(code, tmp_path):
    with pytest.raises(MachineError, match=r"x could not be read"), reading(tmp_path / "x"):
        raise _error(code)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR])
def test_what_is_not_there_is_left_to_the_reader(code, tmp_path):
    with pytest.raises(OSError, match="some/file"), reading(tmp_path / "x"):
        raise _error(code)


def test_advice_fits_the_reason():
    assert "make room" in str(not_written(_error(errno.ENOSPC), "x"))
    assert "give permission" in str(not_read(_error(errno.EACCES), "x"))
    assert "raise the limit" in str(not_read(_error(errno.EMFILE), "x"))
    assert "choose another place" in str(not_written(_error(errno.EEXIST), "x"))


def test_bugs_stay_bugs():
    assert from_system(ValueError("no")) is None
    assert from_system(OSError("a library's own")) is None
    assert from_system(OSError(errno.EBADF, "bad")) is None
    assert from_system(OSError(errno.EINVAL, "invalid")) is None
    assert from_system(_error(errno.EINVAL)) is not None  # a name that a file system does not take
    assert "memory ran out" in str(from_system(MemoryError()))
    assert str(from_system(OSError(errno.EXDEV, "x", b"a\xff", None, "b"))).startswith("a\udcff → b could not be used")


class _RustError(Exception):
    """As safetensors raises it."""


def test_a_full_disk_that_a_library_tells_in_words_is_one(tmp_path):
    error = _RustError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert number_of(error) == errno.ENOSPC
    assert "make room" in str(from_system(error))
    with pytest.raises(DiskFullError, match=r"x could not be written \(No space left"), disk_errors(tmp_path / "x"):
        raise error
    with pytest.raises(MachineError, match="no more"), disk_errors(tmp_path / "x"):
        raise MachineError("no more (os error 28)")


def test_the_number_of_an_error_is_found_wherever_it_is_kept():
    assert number_of(OSError(errno.EIO, "x")) == errno.EIO
    assert number_of(ValueError()) is None
