"""Complete shards of a spool are uploaded, once each, and what cannot be stays."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from shard_stores import filled, made_entry, shard_of

from srcache.errors import MachineError
from srcache.files.objects import ObjectFolder, object_folder
from srcache.stores import shard_upload
from srcache.stores.shard_upload import Uploader


@pytest.fixture
def objects() -> ObjectFolder:
    return object_folder(f"memory://upload-{uuid4().hex[:8]}/x")


@pytest.fixture
def uploader(tmp_path: Path, objects: ObjectFolder) -> Callable[[], Uploader]:
    def keep(shard: Path, index: Path) -> None:
        shard.unlink()
        index.unlink()

    return lambda: Uploader(tmp_path / "spool", lambda: objects, "r/", keep)


def test_shards_and_their_indexes_are_uploaded_and_leave_the_spool(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader]
) -> None:
    spool = filled(tmp_path / "spool", range(12))
    wanted = {f"r/{path.name}": path.read_bytes() for path in spool.glob("*.tar*")}
    uploader().wait(finish=True)
    assert {name: objects.read(name) for name in objects.listing()} == wanted
    assert list(spool.glob("*.tar*")) == []


def test_an_index_goes_before_its_shard(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader], monkeypatch: pytest.MonkeyPatch
) -> None:
    order, put = list[str](), objects.put
    monkeypatch.setattr(objects, "put", lambda name, data: (order.append(name), put(name, data))[1])
    shard = shard_of(tmp_path / "spool", made_entry(1))
    uploader().wait(finish=True)
    assert order == [f"r/{shard.name}.idx", f"r/{shard.name}"]


def test_what_is_there_already_is_not_uploaded_again_but_leaves_the_spool(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader]
) -> None:
    """An upload was complete, and its process was killed before it knew."""
    shard = shard_of(tmp_path / "spool", made_entry(1))
    objects.put(f"r/{shard.name}", shard)
    uploader().wait(finish=True)
    assert not shard.exists()
    assert f"r/{shard.name}.idx" in objects.listing()


def test_two_uploaders_of_one_spool_share_the_work(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader]
) -> None:
    filled(tmp_path / "spool", range(20))
    count = len(list((tmp_path / "spool").glob("*.tar")))
    both = [threading.Thread(target=uploader().wait, kwargs={"finish": True}) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sum(name.endswith(".tar") for name in objects.listing()) == count


def test_a_failure_is_told_and_the_shard_stays(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = shard_of(tmp_path / "spool", made_entry(1))
    with monkeypatch.context() as patch:
        patch.setattr(objects, "put", lambda *_: (_ for _ in ()).throw(MachineError("memory:// does not answer")))
        failing = uploader()
        with pytest.raises(MachineError, match="does not answer"):
            failing.wait(finish=True)
    with pytest.raises(MachineError, match="does not answer"):
        failing.wait(finish=True)
    assert shard.exists()
    monkeypatch.setattr(shard_upload, "_PAUSE", 0.0)
    failing.wait(finish=True)
    assert not shard.exists(), "after a while it is tried again"


def test_a_writer_waits_only_if_many_shards_wait(
    tmp_path: Path, objects: ObjectFolder, uploader: Callable[[], Uploader], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, put = threading.Event(), objects.put
    monkeypatch.setattr(objects, "put", lambda *it: (go.wait(60), put(*it))[1])
    one = uploader()
    shard_of(tmp_path / "spool", made_entry(1))
    shard_of(tmp_path / "spool", made_entry(2))
    one.wait(finish=False)
    shard_of(tmp_path / "spool", made_entry(3))
    waiting = threading.Thread(target=one.wait, kwargs={"finish": False})
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    go.set()
    waiting.join(60)
    assert not waiting.is_alive()
    one.wait(finish=True)
