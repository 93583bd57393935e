"""Indexes of shards: they find what a dict finds, and what is damaged, cut off or lying in them is refused."""

import json
import random
import struct
from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import DamagedError
from srcache.stores.shard_index import (
    MAGIC,
    NAME,
    SUFFIXES,
    Place,
    Rows,
    Shard,
    Table,
    lower_bound,
    make_table,
    merge_tables,
    name_of,
    packed_key,
    packed_name,
    read_table,
    write_table,
)

SHARDS = [Shard("00000000-aaaaaaaa.tar", 2**40), Shard("00000001-bbbbbbbb.tar", 2**41)]
HEX = "0123456789abcdef" * 2
ROW = struct.Struct("<18sHIQIIQ")
"""An entry as the docstring of the module describes it."""

FEW = st.sampled_from([0, 1, 127, 128, 255])
KEYS = st.lists(FEW, min_size=2, max_size=2).map(
    lambda ends: bytes([ends[0]]) + bytes(14) + bytes([ends[1]])
) | st.binary(min_size=16, max_size=16)
PACKED = st.tuples(KEYS, st.sampled_from([0, 1, 255, 256, 999])).map(lambda pair: pair[0] + pair[1].to_bytes(2, "big"))
PLACES = st.builds(
    Place,
    st.integers(0, 1),
    st.integers(0, 2**39),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.sampled_from(SUFFIXES),
)
PAIRS = st.lists(st.tuples(PACKED, PLACES), max_size=12)
ALIASES = st.lists(st.tuples(KEYS, KEYS), max_size=12)


def _even(rng: random.Random, count: int) -> list[bytes]:
    return [rng.randbytes(NAME) for _ in range(count)]


def _clustered(rng: random.Random, count: int) -> list[bytes]:
    heads = [rng.randbytes(7) for _ in range(3)]
    return [rng.choice(heads) + rng.randbytes(NAME - 7) for _ in range(count)]


def _adjacent(rng: random.Random, count: int) -> list[bytes]:
    first = rng.choice([0, 2**80 - 5, 2**144 - count, rng.randrange(2**143)])
    return [(first + number).to_bytes(NAME, "big") for number in range(count)]


def _equal(rng: random.Random, count: int) -> list[bytes]:
    some = [bytes(NAME), b"\xff" * NAME, rng.randbytes(NAME)]
    return [rng.choice(some) for _ in range(count)]


def _low_and_high(rng: random.Random, count: int) -> list[bytes]:
    """Nearly all at one end, so that the first guess is as wrong as can be."""
    low = rng.random() < 0.5
    keys = [rng.choice([b"\0", b"\1"]) + bytes(8) + rng.randbytes(NAME - 9) for _ in range(count - 1)]
    return [key if low else bytes(255 - byte for byte in key) for key in keys] + [rng.randbytes(NAME)][:count]


SPREADS = [_even, _clustered, _adjacent, _equal, _low_and_high]


def _near(key: bytes) -> list[bytes]:
    number, top = int.from_bytes(key, "big"), 2 ** (8 * len(key)) - 1
    return [key, *(min(max(number + step, 0), top).to_bytes(len(key), "big") for step in (-1, 1, -(2**80), 2**80))]


@given(
    st.sampled_from(SPREADS),
    st.integers(0, 40) | st.integers(0, 2000),
    st.sampled_from([18, 19, 48]),
    st.sampled_from([0, 5]),
    st.integers(0, 2**32),
)
def test_lower_bound_is_bisect(spread, count, size, start, seed):
    rng = random.Random(seed)
    keys = sorted(spread(rng, count))
    rows = b"\xff" * start + b"".join(key + b"\xaa" * (size - NAME) for key in keys) + b"\x80" * 40
    wanted = [bytes(NAME), b"\xff" * NAME, b"", b"\x80", *_even(rng, 5)]
    for key in [*keys[:1], *keys[-1:], *rng.sample(keys, min(count, 30))]:
        wanted += [*_near(key), key[:8], key[:1]]
    for one in wanted:
        expected = bisect_left([key[: len(one)] for key in keys], one)
        assert lower_bound(rows, Rows(start, count, size), one) == expected


class _Counted(bytes):
    """Bytes that count how often they are looked at."""

    looks = 0

    def __getitem__(self, place):
        self.looks += 1
        return super().__getitem__(place)


@pytest.mark.parametrize(("spread", "most", "mean"), [(_even, 29, 11.5), (_clustered, 29, 29), (_low_and_high, 29, 29)])
def test_few_rows_are_looked_at(spread, most, mean):
    rng = random.Random(3)
    keys = sorted(spread(rng, 2**16))
    rows, looks = _Counted(b"".join(keys)), []
    for wanted in rng.sample(keys, 500):
        rows.looks = 0
        lower_bound(rows, Rows(0, len(keys), NAME), wanted)
        looks.append(rows.looks)
    assert max(looks) <= most, "no more than four guesses, two looks around the last, and bisecting all"
    assert sum(looks) / len(looks) <= mean


@given(PAIRS, ALIASES, st.lists(PACKED, max_size=5))
def test_a_table_is_a_dict_in_which_the_first_wins_and_of_an_alias_the_lowest_key(pairs, aliases, others):
    expected, names = dict(reversed(pairs)), lowest(aliases)
    table = make_table(SHARDS, pairs, aliases)
    assert len(table) == table.count == len(expected)
    assert table.is_sound
    assert {name: table.place(name) for name in expected} == expected
    assert {alias: table.resolve(alias) for alias in names} == names
    ordered = sorted(expected)
    assert table.names(0, len(table)) == table.names(0, 10**9) == ordered
    assert [table.names(first, first + 3) for first in range(len(ordered) + 1)] == [
        ordered[first : first + 3] for first in range(len(ordered) + 1)
    ]
    for name in [*others, bytes(NAME), b"\xff" * NAME, b"", *(name[:16] for name in ordered)]:
        assert table.place(name) == expected.get(name)
        assert table.resolve(name[:16].ljust(16)) == names.get(name[:16].ljust(16))
        assert table.lower(name) == bisect_left([one[: len(name)] for one in ordered], name)


def test_an_empty_table_has_nothing():
    for table in (
        make_table([], [], []),
        make_table(SHARDS, [], []),
        merge_tables([]),
        merge_tables([], lowest_wins=True),
    ):
        assert (len(table), table.names(0, 9), table.is_sound) == (0, [], True)
        assert table.place(bytes(NAME)) is table.resolve(bytes(16)) is None
        assert table.lower(b"\xff" * NAME) == 0


def test_a_name_is_not_found_among_the_aliases_behind_the_entries():
    aliases = [(bytes(14) + number.to_bytes(2, "big"), b"\xee" * 16) for number in range(3)]
    name = b"\0" * 14 + b"\0\1" + b"\xee\xee"
    assert make_table([], [], aliases).place(name) is None
    table = make_table(SHARDS, [(bytes(NAME), Place(0, 0, 0, 0, 0, ".png"))], aliases)
    assert table.place(name) is None
    assert [table.resolve(alias) for alias, _ in aliases] == [b"\xee" * 16] * 3
    assert table.resolve(b"\xff" * 16) is None


def lowest(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Of each alias its lowest key."""
    return dict(sorted(pairs, reverse=True))


def _by_shard(shards: list[Shard], pairs: list[tuple[bytes, Place]]) -> dict[bytes, tuple[Shard, Place]]:
    """Names with their shards rather than the numbers of those; the first wins."""
    return {name: (shards[place.shard], place._replace(shard=0)) for name, place in reversed(pairs)}


def _seen(table: Table) -> dict[bytes, tuple[Shard, Place]]:
    return {
        name: (table.shards[place.shard], place._replace(shard=0))
        for name in table.names(0, len(table))
        if (place := table.place(name)) is not None
    }


@given(st.lists(st.tuples(PAIRS, ALIASES), max_size=4), st.permutations(range(8)))
def test_of_tables_that_are_merged_the_first_or_the_lowest_shard_wins(parts, order):
    tables, given_, aliases = [], [], []
    for number, (pairs, others) in enumerate(parts):
        shards = [Shard(f"{order[2 * number + more]:08d}-cccccccc.tar", 2**41 + more) for more in (0, 1)]
        tables.append(make_table(shards, pairs, others))
        given_.append(_by_shard(shards, pairs))
        aliases += others
    first = merge_tables(tables)
    assert first.shards == tuple(shard for table in tables for shard in table.shards)
    assert _seen(first) == {name: found for part in reversed(given_) for name, found in part.items()}
    low = merge_tables(tables, lowest_wins=True)
    assert low.shards == tuple(sorted(first.shards)), "so that the table of a folder lists what the folder does"
    every = sorted(((found[0].name, name, found) for part in given_ for name, found in part.items()), reverse=True)
    assert _seen(low) == {name: found for _, name, found in every}
    for merged in (first, low):
        assert merged.is_sound
        assert {alias: merged.resolve(alias) for alias, _ in aliases} == lowest(aliases)
        assert merged.aliases == len(dict(aliases))


@given(st.lists(ALIASES, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_an_alias_means_its_lowest_key_in_whatever_order_tables_are_merged(parts, rng):
    tables = [make_table([Shard(f"{n:08d}-cccccccc.tar", 9)], [], pairs) for n, pairs in enumerate(parts)]
    expected = lowest([pair for pairs in parts for pair in pairs])
    while len(tables) > 1:
        rng.shuffle(tables)
        tables[:2] = [merge_tables(tables[:2], lowest_wins=rng.random() < 0.5)]
    assert {alias: tables[0].resolve(alias) for alias in expected} == expected


@given(PAIRS, ALIASES)
def test_a_table_is_read_as_it_was_written_mapped_or_not(tmp_path_factory, pairs, aliases):
    path = tmp_path_factory.mktemp("index") / "deep" / "table.idx"
    table = make_table(SHARDS, pairs, aliases)
    write_table(path, table)
    for mapped in (True, False):
        found = read_table(path, mapped=mapped)
        assert (found.shards, found.count, found.aliases) == (tuple(SHARDS), table.count, table.aliases)
        assert found.rows[found.start :] == table.rows
        assert _seen(found) == _seen(table)
        assert {alias: found.resolve(alias) for alias, _ in aliases} == lowest(aliases)
        write_table(path.with_name("again.idx"), found)
        assert path.with_name("again.idx").read_bytes() == path.read_bytes()
        assert _seen(merge_tables([found, table])) == _seen(table)


def test_the_form_of_an_index_is_frozen(tmp_path):
    name, alias, key = packed_name(f"{HEX}-007"), b"\xaa" * 16, bytes.fromhex(HEX)
    write_table(
        tmp_path / "x.idx",
        make_table(SHARDS[:1], [(name, Place(0, 1024, 300, 99, 2**63 + 5, ".webp"))], [(alias, key)]),
    )
    data = (tmp_path / "x.idx").read_bytes()
    length = int.from_bytes(data[8:16], "little")
    assert data[:8] == MAGIC == b"srcshrd2"
    assert json.loads(data[16 : 16 + length]) == {"shards": [list(SHARDS[0])], "entries": 1, "aliases": 1}
    assert data[16 + length :] == ROW.pack(name, 3, 0, 1024, 300, 99, 2**63 + 5) + alias + key + bytes(4)
    assert SUFFIXES == (".bin", ".png", ".jpg", ".webp", ".qoi", ".ppm"), (
        "another order makes every index in the field lie"
    )


@pytest.fixture
def written(tmp_path) -> Path:
    """An index of three entries and two aliases."""
    pairs = [(bytes([number]) * NAME, Place(number % 2, 512 * number, 9, 9, 1, ".png")) for number in range(3)]
    path = tmp_path / "x.idx"
    write_table(path, make_table(SHARDS, pairs, [(b"\1" * 16, b"\2" * 16), (b"\3" * 16, b"\2" * 16)]))
    return path


def test_an_index_that_is_cut_off_or_longer_is_refused(written):
    data = written.read_bytes()
    for size in range(len(data)):
        written.write_bytes(data[:size])
        with pytest.raises(DamagedError, match=r"is no (complete )?index of shards"):
            read_table(written)
    written.write_bytes(data + b"\0")
    with pytest.raises(DamagedError, match="no complete index of shards: expected"):
        read_table(written)
    written.unlink()
    with pytest.raises(FileNotFoundError):
        read_table(written)


def test_any_flipped_bit_of_an_index_is_refused_or_found_or_changes_only_what_a_reader_compares(written):
    data = written.read_bytes()
    start = 16 + int.from_bytes(data[8:16], "little")
    for place in range(len(data)):
        for bit in (1, 128):
            written.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            try:
                table = read_table(written, mapped=place % 2 == 0)
                assert place >= start or table.shards != tuple(SHARDS)
                for name in table.names(0, len(table)):
                    found = table.place(name)
                    assert found is None or found.offset + found.size + found.record <= table.shards[found.shard].size
                if table.is_sound:
                    assert len(merge_tables([table], lowest_wins=True)) == 3
            except DamagedError:
                pass


HEADS = {
    "no JSON": b"{",
    "no text": b"\xff\xfe\xfd",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"7",
    "no shards": b'{"entries": 0, "aliases": 0}',
    "shards that are none": b'{"shards": [1], "entries": 0, "aliases": 0}',
    "a shard without a size": b'{"shards": [["a"]], "entries": 0, "aliases": 0}',
    "a size below zero": b'{"shards": [["a", -1]], "entries": 0, "aliases": 0}',
    "a size without end": b'{"shards": [["a", Infinity]], "entries": 0, "aliases": 0}',
    "counts that cancel": b'{"shards": [], "entries": -2, "aliases": 3}',
    "counts that cancel too": b'{"shards": [], "entries": 2, "aliases": -3}',
    "a count that is none": b'{"shards": [], "entries": "x", "aliases": 0}',
    "a count without end": b'{"shards": [], "entries": 1e999, "aliases": 0}',
    "a count that is no number": b'{"shards": [], "entries": NaN, "aliases": 0}',
    "counts beyond the file": b'{"shards": [], "entries": 99999999999999999999999, "aliases": 0}',
    "a count of 5000 digits": b'{"shards": [], "entries": ' + b"9" * 5000 + b', "aliases": 0}',
    "lists in lists": b"[" * 200_000,
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_an_index_with_a_head_that_is_none_is_refused(tmp_path, head):
    path = tmp_path / "x.idx"
    path.write_bytes(MAGIC + len(head).to_bytes(8, "little") + head)
    for mapped in (True, False):
        with pytest.raises(DamagedError, match=r"is no (complete )?index of shards"):
            read_table(path, mapped=mapped)


@pytest.mark.parametrize(
    "data", [b"", b"srcshrd1", b"srcshrd2" + bytes(8), MAGIC + b"\xff" * 8, MAGIC[:7], b"\0" * 4096]
)
def test_a_file_that_is_no_index_is_refused(tmp_path, data):
    (tmp_path / "x.idx").write_bytes(data)
    with pytest.raises(DamagedError, match=r"x\.idx is no index of shards"):
        read_table(tmp_path / "x.idx")


def _lying(*rows: tuple[bytes, int, int, int, int, int, int]) -> Table:
    return Table((Shard("a", 5000),), b"".join(ROW.pack(*row) for row in rows), 0, len(rows), 0)


LIES = {
    "a shard": (0, 1, 0, 9, 9),
    "the last shard there could be": (0, 2**32 - 1, 0, 9, 9),
    "a suffix": (len(SUFFIXES), 0, 0, 9, 9),
    "an offset": (0, 0, 5001, 0, 0),
    "the largest offset": (0, 0, 2**64 - 1, 2**32 - 1, 2**32 - 1),
    "a size": (0, 0, 512, 4489, 0),
    "the size of a record": (0, 0, 512, 0, 4489),
    "both sizes": (0, 0, 0, 2501, 2500),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_entry_that_is_said_to_lie_where_none_can_is_refused(lie):
    name = packed_name(f"{HEX}-000")
    table = _lying((bytes(NAME), 0, 0, 0, 9, 9, 0), (name, *lie, 0))
    assert not table.is_sound
    assert table.place(bytes(NAME)) == Place(0, 0, 9, 9, 0, ".bin")
    with pytest.raises(DamagedError, match=f"{HEX}-000"):
        table.place(name)


def test_rows_out_of_order_are_not_sound():
    low, high = (b"\1" * NAME, 0, 0, 0, 1, 1, 0), (b"\2" * NAME, 0, 0, 0, 1, 1, 0)
    assert [_lying(*rows).is_sound for rows in ((low, high), (high, low), (low, low))] == [True, False, False]
    low, high = (bytes([byte]) * 32 + bytes(4) for byte in (1, 2))
    shards = (Shard("00000000-aaaaaaaa.tar", 9),)
    assert [Table(shards, rows, 0, 0, 2).is_sound for rows in (low + high, high + low)] == [True, False]
    assert not Table((), low + high, 0, 0, 2).is_sound, "they are of a shard that is none"


def test_tables_that_name_shards_they_do_not_list_are_not_merged():
    for table in (_lying((bytes(NAME), 0, 1, 0, 9, 9, 0)), Table((), ROW.pack(bytes(NAME), 0, 0, 0, 9, 9, 0), 0, 1, 0)):
        for lowest_wins in (True, False):
            with pytest.raises(DamagedError, match="names shards that it does not list"):
                merge_tables([make_table(SHARDS, [], []), table], lowest_wins=lowest_wins)


@given(KEYS, st.integers(0, 999))
def test_names_are_packed_so_that_their_order_stays(key, sample):
    name = f"{key.hex()}-{sample:03d}"
    assert packed_name(name) == key + sample.to_bytes(2, "big")
    assert name_of(packed_name(name)) == name
    assert packed_key(key.hex()) == key


@given(st.lists(PACKED, max_size=8))
def test_packed_names_sort_as_names_do(names):
    assert [name_of(name) for name in sorted(names)] == sorted(map(name_of, names))


ODD_KEYS = ["", HEX[:-1], HEX + "0", HEX + "00", HEX[:30], HEX.upper(), "g" * 32, " " + HEX[1:], HEX[:30] + "  "]
ODD_KEYS += ["٣" * 32, "0x" + HEX[2:], "-" + HEX[1:], "\0" * 32, "\ud800" * 32, HEX[:16] + " " + HEX[16:], HEX + "\n"]
ODD_SAMPLES = ["", "-", "-0", "-00", "-0000", "--01", "-+01", "-0 1", "-1_0", "-abc", "-٠٠٠", "-²²²", "-\0\0\0", "000"]
ODD_SAMPLES += ["_000", "-00\n", "-000 ", "-000.png"]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_what_is_no_key_is_not_packed(key):
    assert packed_key(key) is None
    assert packed_name(f"{key}-000") is None


@pytest.mark.parametrize("sample", ODD_SAMPLES)
def test_what_is_no_name_is_not_packed(sample):
    assert packed_name(f"{HEX}{sample}") is None


@given(st.text(max_size=40) | st.text("0123456789abcdef-", min_size=30, max_size=38))
def test_any_text_is_a_name_that_comes_back_or_none(text):
    packed = packed_name(text)
    assert packed is None or name_of(packed) == text
