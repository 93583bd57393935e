"""What an open store knows of its folder: a name keeps to the shard in which it was first seen."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from shard_stores import filled, made_entry, opened, shard_of

from srcache.errors import DamagedError
from srcache.stores import Entry, StoreOptions
from srcache.stores import shard_home as homes
from srcache.stores.shard_home import LocalHome
from srcache.stores.shard_index import packed_name
from srcache.stores.shard_writer import ShardWriter
from srcache.stores.shards import ShardsStore

FIRST = made_entry(7)
OTHER = Entry(FIRST.name, b"another's", {"by": "another"})


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalHome, "look_every", 0.0)


@pytest.fixture
def folder(tmp_path: Path, always_due: None) -> Path:
    """A few shards of other entries."""
    return filled(tmp_path / "data.shards", range(20, 24))


@pytest.fixture
def reader(folder: Path) -> Iterator[ShardsStore]:
    with closing(opened(folder, writable=False)) as store:
        yield store


class Writer:
    """A writer of the folder, whose shard has the number and the id that a test wants."""

    def __init__(self, folder: Path, number: int, name: str, *entries: Entry) -> None:
        self.writer = ShardWriter(folder, StoreOptions(writable=True, writer=name))
        self.writer.append(entries)
        path = folder / f"{number:08d}-{name}.tar.partial"
        (folder / str(self.writer.name)).rename(path)
        self.writer._path = path


def found(store: ShardsStore) -> tuple[object, object]:
    return store.get(FIRST.name), store.record(FIRST.name)


def one_sealed_below(folder: Path) -> None:
    Writer(folder, 0, "00000000", OTHER, made_entry(30)).writer.seal()


def one_sealed_above(folder: Path) -> None:
    Writer(folder, 99, "00000000", OTHER, made_entry(30)).writer.seal()


def one_written_below(folder: Path) -> None:
    Writer(folder, 0, "00000000", OTHER, made_entry(30))


OTHERS = [one_sealed_below, one_sealed_above, one_written_below]


def look(store: ShardsStore) -> None:
    """Make a store look at its folder again."""
    assert store.get(made_entry(99).name) is None


@pytest.mark.parametrize("come", OTHERS)
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
def test_a_name_stays_in_the_partial_shard_in_which_it_was_seen_also_when_that_is_sealed(
    folder: Path, reader: ShardsStore, come: Callable[[Path], None], asked: bool
) -> None:
    """`asked`: whether anybody asked for it before the other came; it was there to be served all the same."""
    writer = Writer(folder, 50, "aaaaaaaa", FIRST, made_entry(8))
    look(reader)
    if asked:
        assert found(reader) == (FIRST.payload, FIRST.record)
    come(folder)
    assert reader.get(made_entry(30).name) == made_entry(30).payload, "it has looked"
    assert found(reader) == (FIRST.payload, FIRST.record)
    writer.writer.append([made_entry(9)])
    writer.writer.seal()
    look(reader)
    assert found(reader) == (FIRST.payload, FIRST.record)
    assert len(reader) == len(list(reader.names())) == 4 + 4
    assert found(reader) == (FIRST.payload, FIRST.record)
    with reader.view() as view:
        assert bytes(view.get(FIRST.name) or b"") == FIRST.payload
    shard_of(folder, made_entry(31))
    look(reader)
    assert found(reader) == (FIRST.payload, FIRST.record)


@pytest.mark.parametrize("come", OTHERS)
def test_a_writer_keeps_to_what_it_wrote_itself(folder: Path, come: Callable[[Path], None]) -> None:
    with closing(opened(folder)) as store:
        store.put_many([FIRST])
        come(folder)
        look(store)
        assert found(store) == (FIRST.payload, FIRST.record)
        store._folder.seal()
        look(store)
        assert found(store) == (FIRST.payload, FIRST.record)


@pytest.mark.parametrize("come", [one_sealed_below, one_sealed_above])
def test_what_comes_at_the_very_moment_of_sealing_changes_nothing(folder: Path, come: Callable[[Path], None]) -> None:
    with closing(opened(folder)) as store:
        store.put_many([FIRST])
        come(folder)
        store._folder.seal()
        assert found(store) == (FIRST.payload, FIRST.record)


def test_of_what_is_seen_at_once_the_lowest_complete_shard_wins(folder: Path, reader: ShardsStore) -> None:
    Writer(folder, 0, "00000001", FIRST)
    Writer(folder, 50, "aaaaaaaa", OTHER).writer.seal()
    look(reader)
    assert reader.get(FIRST.name) == b"another's", "a complete one before one that is being written"
    with closing(opened(folder, writable=False)) as other:
        assert other.get(FIRST.name) == b"another's"


def test_a_partial_shard_that_vanished_gives_way_to_another(folder: Path, reader: ShardsStore) -> None:
    left = Writer(folder, 50, "aaaaaaaa", FIRST).writer._path
    look(reader)
    one_written_below(folder)
    look(reader)
    assert reader.get(FIRST.name) == FIRST.payload
    assert left is not None
    left.unlink()
    look(reader)
    assert reader.get(FIRST.name) == b"another's"


@pytest.mark.parametrize("sealed", [True, False])
def test_a_kept_name_whose_shard_vanished_is_served_from_where_it_still_is(
    folder: Path, reader: ShardsStore, sealed: bool
) -> None:
    writer = Writer(folder, 50, "aaaaaaaa", FIRST)
    look(reader)
    one_sealed_below(folder)
    look(reader)
    if sealed:
        writer.writer.seal()
        look(reader)
    assert reader.get(FIRST.name) == FIRST.payload
    next(folder.glob("00000050-*.tar*")).unlink()
    look(reader)
    assert reader.get(FIRST.name) == b"another's"


def test_a_folder_whose_shards_come_and_go_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing may name what is gone by the time it is opened; not every time, though."""
    (gone,) = homes.shards_in(folder)[0][:1]
    for path in folder.glob("*.idx"):
        path.unlink()
    (folder / gone.name).unlink()
    lists = [([gone, *homes.shards_in(folder)[0]], [])] * 9
    with monkeypatch.context() as patch:
        patch.setattr(homes, "shards_in", lambda _: lists.pop())
        with pytest.raises(DamagedError, match=f"{gone.name} was there a moment ago, and is gone"):
            opened(folder, writable=False)
        assert len(lists) == 6
    with closing(opened(folder, writable=False)) as store:
        assert len(store) < 4


def test_finding_says_which_shard(folder: Path, reader: ShardsStore) -> None:
    name = packed_name(made_entry(20).name) or b""
    shard, place = reader._folder.find(name) or ("", None)
    assert shard.endswith(".tar")
    assert place is not None
    assert reader._folder.find(b"\0" * 18) is None
