"""Objects below a URL: on an S3 service, in a folder, in memory; and what goes wrong with them."""

import errno
import multiprocessing
import os
import threading
from pathlib import Path

import pytest
from s3_server import ENVIRONMENT, Gate, S3Server

from srcache.errors import ConfigError, DiskFullError, MachineError, MissingExtraError
from srcache.files import objects as module
from srcache.files.objects import ObjectFolder, object_errors, object_folder

pytestmark = pytest.mark.medium


def test_what_is_put_is_listed_and_read(objects_url: str, tmp_path: Path) -> None:
    objects, file = object_folder(objects_url), tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 40)
    assert objects.listing() == {}
    stamp = objects.put("a/one é.tar", file)
    objects.put("b", b"12345")
    assert {name: info.size for name, info in objects.listing().items()} == {"a/one é.tar": 10240, "b": 5}
    assert list(objects.listing("a/")) == ["a/one é.tar"]
    assert objects.listing("c/") == {}
    assert objects.listing()["a/one é.tar"].stamp == stamp
    assert objects.read("b") == b"12345"
    assert objects.read("b", 1, 3) == b"234"
    assert objects.read("b", 2, 0) == b""
    assert objects.read("a/one é.tar", 256, 256) == bytes(range(256))
    objects.fetch("a/one é.tar", tmp_path / "inner/copy")
    assert (tmp_path / "inner/copy").read_bytes() == file.read_bytes()
    objects.delete(["b", "never there"])
    assert list(objects.listing()) == ["a/one é.tar"]


def test_an_object_is_replaced_only_where_that_is_asked_for(objects_url: str) -> None:
    objects = object_folder(objects_url)
    stamp = objects.put("x", b"first")
    assert objects.put("x", b"other") == stamp
    assert objects.read("x") == b"first"
    with pytest.raises(MachineError, match="is there already with 5 bytes instead of 3"):
        objects.put("x", b"new")
    assert objects.put("x", b"newer", replace=True) != stamp
    assert objects.read("x") == b"newer"


def test_of_many_that_put_one_name_at_once_one_wins(objects_url: str) -> None:
    objects = object_folder(objects_url)
    data = [b"%04d" % number for number in range(8)]
    threads = [threading.Thread(target=objects.put, args=("one", one)) for one in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects.read("one") in data
    assert list(objects.listing()) == ["one"]


@pytest.mark.slow
def test_a_large_object_is_put_once_too(s3_url: str, tmp_path: Path) -> None:
    """It goes in parts, of which the last request decides."""
    objects, file = object_folder(s3_url), tmp_path / "large"
    file.write_bytes(b"1" * (101 << 20))
    objects.put("large", file)
    file.write_bytes(b"2" * (101 << 20))
    objects.put("large", file)
    assert objects.read("large", 100 << 20, 2) == b"11"


def test_what_is_not_there_is_not_found(objects_url: str, tmp_path: Path) -> None:
    objects = object_folder(objects_url)
    with pytest.raises(FileNotFoundError):
        objects.read("nothing")
    with pytest.raises(FileNotFoundError):
        objects.fetch("nothing", tmp_path / "copy")
    assert list(tmp_path.glob("copy*")) == []


def test_a_listing_of_a_moment_ago_will_do_where_it_may(objects_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = object_folder(objects_url)
    objects.put("a/x", b"1")
    asked = list[str]()
    listed = objects._listed
    monkeypatch.setattr(objects, "_listed", lambda below: (asked.append(below), listed(below))[1])
    assert list(objects.listing()) == list(objects.listing("a/", most_age=60)) == ["a/x"]
    assert asked == [""]
    objects.put("a/y", b"2")
    assert list(objects.listing("a/", most_age=60)) == ["a/x", "a/y"], "what is put here is seen at once"


def test_a_bucket_that_is_not_there_is_named(s3_url: str) -> None:
    objects = object_folder("s3://no-such-bucket-of-tests/x")
    assert objects.listing() == {}
    with pytest.raises(MachineError, match="make the bucket first"):
        objects.put("a", b"1")


@pytest.mark.slow
def test_a_service_that_does_not_answer_is_tried_a_few_times(
    s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 1)
    gate = Gate(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.url)
    with pytest.raises(MachineError, match=r"could not be listed .*check the address and the network"):
        ObjectFolder(s3_url).listing()


def test_what_may_pass_is_tried_again(objects_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = ObjectFolder(objects_url)
    objects.put("x", b"1")
    failing, read = [OSError("a moment"), TimeoutError("another")], objects._files.cat_file
    monkeypatch.setattr(module.time, "sleep", lambda _: None)

    def sometimes(*args: object, **more: object) -> bytes:
        if failing:
            raise failing.pop()
        return bytes(read(*args, **more))

    monkeypatch.setattr(objects._files, "cat_file", sometimes)
    assert objects.read("x") == b"1"
    failing += [OSError("again")] * 9
    with pytest.raises(MachineError, match="OSError: again"):
        objects.read("x")
    assert len(failing) == 9 - module._TRIES


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError("Access Denied"), MachineError, "the service refuses .Access Denied"),
        (OSError(28, "No space left"), DiskFullError, "no room for a copy"),
        (ValueError("odd\nsecond line"), MachineError, "ValueError: odd"),
        (ImportError("s3fs"), MissingExtraError, r"s3:// needs s3fs.*\.\[s3\]"),
    ],
)
def test_errors_of_services_say_what_to_do(error: Exception, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught, object_errors("s3://b/x", "read"):
        raise error
    assert "second line" not in str(caught.value)


def test_without_credentials_it_says_where_they_are_looked_for(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ENVIRONMENT:
        if name != "AWS_EC2_METADATA_DISABLED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MachineError, match=r"no credentials were found .*AWS_ACCESS_KEY_ID"):
        ObjectFolder(s3_url).listing()


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("gs://b/x", MissingExtraError, "gs:// needs gcsfs, which is not installed; run: pip install gcsfs"),
        ("nothing://b/x", ConfigError, "cannot be opened: fsspec knows only .*s3"),
    ],
)
def test_a_protocol_that_cannot_be_used_is_named(url: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        object_folder(url)


def _child(url: str, pipe: "multiprocessing.connection.Connection") -> None:
    pipe.send((os.getpid(), object_folder(url).read("x")))


def test_a_forked_child_opens_connections_of_its_own(s3_url: str) -> None:
    objects = object_folder(s3_url)
    objects.put("x", b"1")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(s3_url, theirs))
    child.start()
    assert ours.poll(60), "the child hangs"
    assert ours.recv() == (child.pid, b"1")
    child.join()
    assert child.exitcode == 0
    assert objects.read("x") == b"1"


def test_a_service_without_exclusive_puts_is_looked_at_first(objects_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = ObjectFolder(objects_url)
    if objects_url.startswith("file"):
        return  # a hard link is exclusive
    put = objects._files.pipe_file

    def without(path: str, data: bytes, mode: str = "overwrite") -> None:
        if mode == "create":
            raise OSError(errno.ENOSYS, "Not Implemented")
        put(path, data)

    monkeypatch.setattr(objects._files, "pipe_file", without)
    objects.put("x", b"first")
    objects.put("x", b"other")
    assert objects.read("x") == b"first"
