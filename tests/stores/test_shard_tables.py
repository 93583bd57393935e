"""Tables of a folder of shards: kept where they fit the tars, made again where they do not."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_stores import contents, filled, made_entry, payloads, shard_of

from srcache.errors import DamagedError
from srcache.stores import shard_home as homes
from srcache.stores import shard_tables, tar
from srcache.stores.shard_home import INDEX, TABLE, shard_home
from srcache.stores.shard_index import MAGIC, Shard, Table, merge_tables, name_of, packed_key, packed_name, read_table
from srcache.stores.shard_tables import folder_table, shard_table

ENTRIES = [made_entry(number) for number in range(12)]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of this test's own."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SRCACHE_HOME", str(path))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards of four entries each."""
    for start in range(0, 12, 4):
        shard_of(tmp_path, *ENTRIES[start : start + 4])
    return tmp_path


def shards_of(folder: Path) -> list[Shard]:
    return [Shard(path.name, path.stat().st_size) for path in sorted(folder.glob("*.tar"))]


def plain(table: Table) -> dict[str, tuple[str, int]]:
    """What a table says, by name: the shard and where in it."""
    found = {}
    for packed in table.names(0, len(table)):
        place = table.place(packed)
        assert place is not None
        found[name_of(packed)] = (table.shards[place.shard].name, place.offset)
    return found


def count_of(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """What a function of the module is called with from now on."""
    calls, function = list[object](), getattr(shard_tables, name)

    def counted(path: object, *rest: object, **more: object) -> object:
        calls.append(path)
        return function(path, *rest, **more)

    monkeypatch.setattr(shard_tables, name, counted)
    return calls


def test_a_table_is_made_of_all_shards_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    table = folder_table(shard_home(folder), shards_of(folder))
    assert (len(table), list(table.shards)) == (12, shards_of(folder))
    assert set(plain(table)) == {entry.name for entry in ENTRIES}
    for entry in ENTRIES:
        assert table.resolve(packed_key(entry.aliases[0]) or b"") == packed_key(entry.name[:32])
    assert (folder / TABLE).exists()
    assert list(home.iterdir()) == []
    made = count_of(monkeypatch, "write_table")
    assert plain(folder_table(shard_home(folder), shards_of(folder))) == plain(table)
    assert made == []


def test_no_table_is_made_of_no_shards(tmp_path: Path) -> None:
    """The folder may be gone, and must not come back."""
    assert len(folder_table(shard_home(tmp_path / "gone"), [])) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_shard_that_came_later_is_added(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_table(shard_home(folder), shards_of(folder))
    late = shard_of(folder, made_entry(20), made_entry(21))
    read = count_of(monkeypatch, "shard_table")
    table = folder_table(shard_home(folder), shards_of(folder))
    assert len(read) == 1, "only the new one's own index is read"
    assert {name for name, (shard, _) in plain(table).items() if shard == late.name} == {
        made_entry(20).name,
        made_entry(21).name,
    }
    assert read_table(folder / TABLE).shards == tuple(shards_of(folder))


@pytest.mark.parametrize("first", [True, False], ids=["at once", "one after another"])
def test_of_equal_names_that_in_the_lowest_shard_is_known(folder: Path, first: bool) -> None:
    """Also where the lower shard came later, because its writer was slower."""
    lowest = sorted(folder.glob("*.tar"))[0]
    low = folder / f"00000000-00000000.tar{'' if first else '.later'}"
    shard_of(folder, made_entry(5, b"another payload"), made_entry(1, b"and another")).rename(low)
    if not first:
        folder_table(shard_home(folder), shards_of(folder))
        low = low.rename(low.with_suffix(""))
    places = plain(folder_table(shard_home(folder), shards_of(folder)))
    assert low < lowest
    assert {places[made_entry(number).name][0] for number in (1, 5)} == {low.name}
    assert len(places) == 12


def test_a_shard_that_is_gone_is_forgotten(folder: Path) -> None:
    folder_table(shard_home(folder), shards_of(folder))
    gone = sorted(folder.glob("*.tar"))[1]
    gone.unlink()
    places = plain(folder_table(shard_home(folder), shards_of(folder)))
    assert set(places) == {entry.name for entry in (*ENTRIES[:4], *ENTRIES[8:])}
    assert read_table(folder / TABLE).shards == tuple(shards_of(folder))


@given(
    batches=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=5), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=15)
def test_a_table_that_grew_is_the_same_as_one_that_is_made_at_once(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], order: random.Random
) -> None:
    folder, wanted = tmp_path_factory.mktemp("grows"), dict[str, str]()
    shards = []
    for number, batch in enumerate(batches):
        path = shard_of(folder, *(made_entry(one, b"%d in %d" % (one, number)) for one in dict.fromkeys(batch)))
        shards.append(path.rename(folder / f"{number:08d}-00000000.tar"))
        for one in batch:
            wanted.setdefault(made_entry(one).name, shards[-1].name)
    there = list[Shard]()
    for path in order.sample(shards, len(shards)):
        there = sorted([*there, Shard(path.name, path.stat().st_size)])
        grown = folder_table(shard_home(folder), there)
    (folder / TABLE).unlink()
    assert plain(grown) == plain(folder_table(shard_home(folder), there))
    assert {name: shard for name, (shard, _) in plain(grown).items()} == wanted


def _of_another_folder(path: Path) -> None:
    other = path.parent.parent / "other"
    path.write_bytes((folder := filled(other, range(3))).joinpath(TABLE).read_bytes())
    assert folder.exists()


def _with_head(path: Path, head: bytes) -> None:
    data = path.read_bytes()
    rest = data[16 + int.from_bytes(data[8:16], "little") :]
    path.write_bytes(MAGIC + len(head).to_bytes(8, "little") + head + rest)


def _renumbered(path: Path, **changed: object) -> None:
    data = path.read_bytes()
    head = json.loads(data[16 : 16 + int.from_bytes(data[8:16], "little")])
    _with_head(path, json.dumps({**head, **changed}).encode())


WRONG: dict[str, Callable[[Path], object]] = {
    "missing": os.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut off in its head": lambda path: os.truncate(path, 20),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(32)),
    "another magic": lambda path: path.write_bytes(b"srcshrd0" + path.read_bytes()[8:]),
    "a huge head": lambda path: path.write_bytes(MAGIC + b"\xff" * 8 + path.read_bytes()[16:]),
    "no JSON": lambda path: _with_head(path, b"head"),
    "deep JSON": lambda path: _with_head(path, b"[" * 100_000),
    "JSON of something else": lambda path: _with_head(path, b"[1, 2]"),
    "endless many": lambda path: _renumbered(path, entries=1e999),
    "fewer than none": lambda path: _renumbered(path, entries=-8, aliases=26),
    "of another size": lambda path: _renumbered(path, shards=[["00000000-1a2b3c4d.tar", 5]]),
    "of another folder": _of_another_folder,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("harm", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("which", ["the table", "an index", "both"])
def test_what_does_not_fit_is_made_again(folder: Path, harm: Callable[[Path], object], which: str) -> None:
    expected = plain(folder_table(shard_home(folder), shards_of(folder)))
    index = next(iter(sorted(folder.glob(f"*.tar{INDEX}"))))
    if which != "an index":
        harm(folder / TABLE)
    if which != "the table":
        if which == "an index":
            (folder / TABLE).unlink()
        harm(index)
    assert plain(folder_table(shard_home(folder), shards_of(folder))) == expected
    assert contents(folder) == payloads(*ENTRIES)
    if index.is_file():  # a folder of that name is left alone
        assert len(read_table(index)) == 4


def _changed_rows(path: Path, row: int, first: int, value: bytes) -> None:
    table, data = read_table(path), bytearray(path.read_bytes())
    place = table.start + row * 48 + first
    data[place : place + len(value)] = value
    path.write_bytes(data)


LIES = {
    "a shard that is none": (20, b"\x07\0\0\0"),
    "a suffix that is none": (18, b"\xff\xff"),
    "an offset behind the end": (24, b"\xff" * 7),
    "an offset beyond all files": (24, b"\xff" * 8),
    "a size beyond the end": (32, b"\xff" * 4),
    "names out of order": (0, b"\xff" * 16),
}


@pytest.mark.parametrize(("first", "value"), LIES.values(), ids=LIES)
def test_an_index_that_cannot_be_right_is_made_again(folder: Path, first: int, value: bytes) -> None:
    expected = plain(folder_table(shard_home(folder), shards_of(folder)))
    (folder / TABLE).unlink()
    for index in folder.glob(f"*.tar{INDEX}"):
        _changed_rows(index, 1, first, value)
    assert plain(folder_table(shard_home(folder), shards_of(folder))) == expected


@pytest.mark.parametrize(("first", "value"), LIES.values(), ids=LIES)
def test_a_table_that_cannot_be_right_is_not_added_to(folder: Path, first: int, value: bytes) -> None:
    expected = plain(folder_table(shard_home(folder), shards_of(folder)))
    _changed_rows(folder / TABLE, 1, first, value)
    shard_of(folder, made_entry(30))
    places = plain(folder_table(shard_home(folder), shards_of(folder)))
    assert expected.items() <= places.items()
    assert len(places) == 13


def test_an_index_is_of_one_tar_of_one_size(folder: Path) -> None:
    [first, second, _] = shards_of(folder)
    (folder / f"{first.name}{INDEX}").write_bytes((folder / f"{second.name}{INDEX}").read_bytes())
    table = shard_table(shard_home(folder), first)
    assert table.shards == (first,)
    assert set(plain(table)) == {entry.name for entry in ENTRIES[:4]}


def test_a_tar_that_is_not_what_was_written_has_no_index(folder: Path) -> None:
    [first, *_] = shards_of(folder)
    (folder / f"{first.name}{INDEX}").unlink()
    (folder / first.name).write_bytes(tar.packed("notes.txt", b"text").ljust(first.size, b"\0"))
    with pytest.raises(DamagedError, match=first.name):
        folder_table(shard_home(folder), shards_of(folder))


def _read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of mode 0o555 are written to by root, so the refusal is made."""
    make = shard_tables.write_table

    def refused(path: Path, table: Table) -> None:
        if folder in path.parents:
            path = Path("/proc/no/such/place")
        make(path, table)

    monkeypatch.setattr(shard_tables, "write_table", refused)


def test_in_a_folder_that_is_read_only_the_table_is_kept_in_the_users(
    folder: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for index in folder.glob(f"*.tar{INDEX}"):
        index.unlink()
    before = sorted(folder.iterdir())
    _read_only(folder, monkeypatch)
    assert len(folder_table(shard_home(folder), shards_of(folder))) == 12
    assert sorted(folder.iterdir()) == before
    [kept] = (home / "shards").iterdir()
    assert len(read_table(kept)) == 12
    read = count_of(monkeypatch, "shard_table")
    assert len(folder_table(shard_home(folder), shards_of(folder))) == 12
    assert read == []


def test_where_nothing_can_be_kept_the_table_is_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _read_only(folder, monkeypatch)
    monkeypatch.setenv("SRCACHE_HOME", "/proc/no/such/home")
    assert len(folder_table(shard_home(folder), shards_of(folder))) == 12
    assert not (folder / TABLE).exists()


def test_on_a_network_file_system_the_table_is_in_the_users_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A table is mapped, and a mapped file that changes on another machine can end the process."""
    monkeypatch.setattr(homes, "file_system", lambda path: "nfs4")
    table = folder_table(shard_home(folder), shards_of(folder))
    assert len(table) == 12
    assert not (folder / TABLE).exists()
    [kept] = (home / "shards").iterdir()
    assert plain(read_table(kept)) == plain(table)
    link = folder.parent / f"{folder.name}-link"
    link.symlink_to(folder)
    folder_table(shard_home(link), shards_of(folder))
    assert [path.name for path in (home / "shards").iterdir()] == [kept.name], "one folder, one table"


def test_tables_of_nothing_are_merged_to_one(tmp_path: Path) -> None:
    table = merge_tables([merge_tables([]), merge_tables([])], lowest_wins=True)
    assert (len(table), table.place(packed_name(ENTRIES[0].name) or b""), table.resolve(bytes(16))) == (0, None, None)
    assert table.is_sound
