"""Shards below a URL: what every store promises, and what a spool, a mirror and copies add to it."""

import multiprocessing
import pickle
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from shard_stores import contents, left_behind, made_entry, opened, payloads

from srcache.conformance import check_store
from srcache.errors import CacheError, DamagedError
from srcache.files.objects import ObjectFolder, object_folder
from srcache.keys import image_key
from srcache.stores.shard_files import ShardFile
from srcache.stores.shard_home import shard_home, stand_for_objects
from srcache.stores.shard_objects import ObjectsHome, RemoteShard
from srcache.stores.shards import ShardsStore
from srcache.stores.shards_kind import KIND

ENTRIES = [made_entry(number) for number in range(24)]

pytestmark = pytest.mark.medium


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of this test's own."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ObjectsHome, "look_every", 0.0)
    return tmp_path / "home"


def place(tmp_path: Path, url: str, machine: str = "one") -> Path:
    """A store's folder on a machine, which stands for what is below a URL."""
    folder = tmp_path / machine / "data.shards"
    stand_for_objects(folder, url, "recipe/data.shards/", tmp_path / machine / "spool")
    return folder


def fill(folder: Path, entries: list = ENTRIES) -> Path:
    with closing(opened(folder)) as store:
        for start in range(0, len(entries), 3):
            store.put_many(entries[start : start + 3])
    return folder


def shards(url: str) -> list[str]:
    return [name for name in object_folder(url).listing() if name.endswith(".tar")]


@pytest.mark.parametrize("shard_bytes", [20_000, pytest.param(1, marks=pytest.mark.slow)])
def test_shards_below_a_url_keep_what_every_store_promises(objects_url: str, tmp_path: Path, shard_bytes: int) -> None:
    def open_one(name: str) -> ShardsStore:
        folder = tmp_path / name / "data.shards"
        stand_for_objects(folder, objects_url, f"{name}/", tmp_path / name / "spool")
        return opened(folder, shard_bytes=shard_bytes)

    check_store(open_one)


def test_what_was_put_is_there_for_other_machines_when_the_store_is_closed(objects_url: str, tmp_path: Path) -> None:
    fill(place(tmp_path, objects_url))
    assert len(shards(objects_url)) > 1
    assert list((tmp_path / "one/spool").iterdir()) == []
    assert KIND.waiting(place(tmp_path, objects_url)) == 0
    assert contents(place(tmp_path, objects_url, "two")) == payloads(*ENTRIES)


def test_what_is_not_uploaded_yet_is_read_from_the_spool_and_counted(objects_url: str, tmp_path: Path) -> None:
    folder = place(tmp_path, objects_url)
    with closing(opened(folder, shard_bytes=1 << 30)) as store:
        store.put_many(ENTRIES[:5])
        assert contents(folder) == payloads(*ENTRIES[:5])
        assert KIND.waiting(folder) == 5
        with pytest.raises(CacheError, match=r"expected shards in .*recipe/data\.shards"):
            opened(place(tmp_path, objects_url, "two"), writable=False)
    assert contents(place(tmp_path, objects_url, "two")) == payloads(*ENTRIES[:5])


def test_what_a_killed_writer_left_is_gone_on_with_and_uploaded(objects_url: str, tmp_path: Path) -> None:
    folder = place(tmp_path, objects_url)
    left_behind(tmp_path / "one/spool", *ENTRIES[:4])
    with closing(opened(folder)) as store:
        assert store.put_many(ENTRIES[:6]) == 2
    assert contents(place(tmp_path, objects_url, "two")) == payloads(*ENTRIES[:6])


def test_a_new_shard_has_a_number_above_all_that_are_known(objects_url: str, tmp_path: Path) -> None:
    fill(place(tmp_path, objects_url))
    before = shards(objects_url)
    with closing(opened(place(tmp_path, objects_url, "two"))) as store:
        store.put_many([made_entry(99)])
    (new,) = set(shards(objects_url)) - set(before)
    assert new > max(before)


def test_a_mirror_that_was_lost_is_made_again(objects_url: str, tmp_path: Path, home: Path) -> None:
    folder = fill(place(tmp_path, objects_url))
    shutil.rmtree(folder)
    shutil.rmtree(home)
    assert contents(place(tmp_path, objects_url)) == payloads(*ENTRIES)


def test_an_index_that_is_lost_is_made_again_from_its_shard(objects_url: str, tmp_path: Path) -> None:
    fill(place(tmp_path, objects_url))
    objects = object_folder(objects_url)
    indexes = [name for name in objects.listing() if name.endswith(".idx")]
    objects.delete(indexes[:1])
    objects.put(indexes[1], b"damaged", replace=True)
    assert contents(place(tmp_path, objects_url, "two")) == payloads(*ENTRIES)


def test_opening_is_one_listing_and_one_request_for_each_index(
    objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place(tmp_path, objects_url))
    asked = list[str]()
    listed, read = ObjectFolder._listed, ObjectFolder.read
    monkeypatch.setattr(ObjectFolder, "_listed", lambda *it: (asked.append("listing"), listed(*it))[1])
    monkeypatch.setattr(ObjectFolder, "read", lambda *it: (asked.append(Path(it[1]).suffix), read(*it))[1])
    count, folder = len(shards(objects_url)), place(tmp_path, objects_url, "two")
    for expected in ({"listing": 1, ".idx": count}, {"listing": 1}):
        object_folder(objects_url)._seen.clear()
        asked.clear()
        opened(folder, writable=False)
        assert Counter(asked) == expected


def test_a_reader_follows_what_others_upload(objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcache.stores.shard_objects._ROUTINE_AGE", 0.0)
    fill(place(tmp_path, objects_url), ENTRIES[:6])
    with closing(opened(place(tmp_path, objects_url, "two"), writable=False)) as reader:
        assert reader.get(ENTRIES[9].name) is None
        fill(place(tmp_path, objects_url), ENTRIES[6:12])
        assert reader.get(ENTRIES[9].name) == ENTRIES[9].payload
        with reader.view() as view:
            alias = image_key(b"alias 9")
            assert view.resolve(alias) == ENTRIES[9].name[:32]


def test_a_name_stays_known_while_its_shard_moves_from_the_spool(objects_url: str, tmp_path: Path) -> None:
    folder = place(tmp_path, objects_url)
    with closing(opened(folder)) as store:
        seen = dict[str, bytes]()
        for entry in ENTRIES:
            store.put_many([entry])
            seen |= payloads(entry)
            assert {name: store.get(name) for name in seen} == seen
            assert len(store) == len(seen)


@pytest.mark.parametrize("room", ["0", "9000", "1G"])
def test_shards_that_do_not_fit_are_read_entry_by_entry(
    objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, room: str
) -> None:
    fill(place(tmp_path, objects_url))
    shutil.rmtree(home)
    monkeypatch.setenv("SRCACHE_CACHE_BYTES", room)
    folder = place(tmp_path, objects_url, "two")
    assert contents(folder) == payloads(*ENTRIES)
    place_of = shard_home(folder)
    kinds = [type(place_of.open(shard.name)) for shard in place_of.listing()[0]]
    whole = {"0": 0, "9000": 1, "1G": len(kinds)}[room]
    assert kinds == [ShardFile] * whole + [RemoteShard] * (len(kinds) - whole)
    with closing(opened(folder, writable=False)) as store, store.view() as view:
        found = view.get_many([entry.name for entry in ENTRIES])
        assert [bytes(payload or b"") for payload in found] == [entry.payload for entry in ENTRIES]
        assert store.record(ENTRIES[3].name) == ENTRIES[3].record


def test_a_copy_that_is_evicted_while_it_is_open_is_fetched_again(objects_url: str, tmp_path: Path, home: Path) -> None:
    folder = fill(place(tmp_path, objects_url))
    with closing(opened(folder, writable=False)) as store, store.view() as view:
        lent = view.get(ENTRIES[0].name)
        for copy in (home / "objects").glob("*/*.tar"):
            copy.unlink()
        assert {name: store.get(name) for name in payloads(*ENTRIES)} == payloads(*ENTRIES)
        assert lent == ENTRIES[0].payload


def test_a_damaged_copy_is_fetched_again_and_a_damaged_object_is_told(
    objects_url: str, tmp_path: Path, home: Path
) -> None:
    folder = fill(place(tmp_path, objects_url), ENTRIES[:3])
    (copy,) = (home / "objects").glob("*/*.tar")
    data = bytearray(copy.read_bytes())
    data[512:516] = bytes(4)
    copy.write_bytes(data)
    assert contents(folder) == payloads(*ENTRIES[:3])
    assert list(KIND.check(folder)) == []
    (name,) = shards(objects_url)
    object_folder(objects_url).put(name, bytes(data), replace=True)
    assert [problem.reason for problem in KIND.check(folder)] == ["damaged"], "whatever copy there is"
    shutil.rmtree(home)
    with closing(opened(folder, writable=False)) as store, pytest.raises(DamagedError):
        [store.get(entry.name) for entry in ENTRIES[:3]]
    with KIND.salvage(folder) as salvage:
        found = {one for one in salvage.names() if salvage.entry(one) is not None}
    assert len(found) == 2


def test_shards_that_were_deleted_are_missed_in_words(objects_url: str, tmp_path: Path, home: Path) -> None:
    folder = fill(place(tmp_path, objects_url), ENTRIES[:3])
    shutil.rmtree(home)
    with closing(opened(folder, writable=False)) as store:
        object_folder(objects_url).delete(shards(objects_url))
        assert [store.get(entry.name) for entry in ENTRIES[:3]] == [None] * 3


def test_a_pickled_store_opens_the_same_place(objects_url: str, tmp_path: Path) -> None:
    with closing(opened(fill(place(tmp_path, objects_url)), writable=False)) as store:
        again = pickle.loads(pickle.dumps(store))
        assert again.get(ENTRIES[5].name) == ENTRIES[5].payload


def _read(store: ShardsStore, pipe: "multiprocessing.connection.Connection") -> None:
    pipe.send({entry.name: store.get(entry.name) for entry in ENTRIES})


@pytest.mark.parametrize("room", ["0", "1G"])
def test_a_forked_child_reads_what_its_parent_opened(
    objects_url: str, tmp_path: Path, home: Path, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(place(tmp_path, objects_url))
    shutil.rmtree(home)
    monkeypatch.setenv("SRCACHE_CACHE_BYTES", room)
    context = multiprocessing.get_context("fork")
    with closing(opened(place(tmp_path, objects_url, "two"), writable=False)) as store:
        store.get(ENTRIES[0].name)
        pipes = [context.Pipe() for _ in range(2)]
        children = [context.Process(target=_read, args=(store, theirs)) for _, theirs in pipes]
        for child in children:
            child.start()
        for ours, _ in pipes:
            assert ours.poll(120), "a child hangs"
            assert ours.recv() == payloads(*ENTRIES)
        for child in children:
            child.join()


def test_names_in_two_machines_shards_are_counted_and_the_lowest_wins(objects_url: str, tmp_path: Path) -> None:
    other = made_entry(3, b"another's")
    with (
        closing(opened(place(tmp_path, objects_url))) as one,
        closing(opened(place(tmp_path, objects_url, "two"))) as two,
    ):
        two.put_many([other])  # in hand, so nobody else sees it
        one.put_many(ENTRIES[:6])
    folder = place(tmp_path, objects_url, "three")
    assert KIND.repeated(folder) == 1
    lowest = sorted(shards(objects_url))[0].rpartition("/")[2]
    found = contents(folder)[other.name]
    objects = object_folder(objects_url).read(f"recipe/data.shards/{lowest}")
    assert found in (other.payload, ENTRIES[3].payload)
    assert found in objects
