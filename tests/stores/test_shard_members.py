"""Entries in shards: whatever is packed comes back, and every damage to a member is refused with a sentence."""

import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from srcache.errors import ChecksumError, DamagedError
from srcache.keys import entry_name, image_key
from srcache.stores import Entry, shard_members, tar
from srcache.stores.shard_index import SUFFIXES, Place, packed_name
from srcache.stores.shard_members import Found, entries_of, pack_entry, read_payload, read_record, recipe_of

KEY, OTHER = image_key(b"image"), image_key(b"other")
NAME, SECOND = entry_name(KEY, 0), entry_name(OTHER, 12)
PNG = b"\x89PNG" + bytes(range(256)) * 2
RECORD = {"key": KEY, "sample": 0, "checksum": image_key(PNG), "notes": "x" * 500}
ENTRY = Entry(NAME, PNG, RECORD, (image_key(b"pixels"), image_key(b"file")))
ENTRIES = (ENTRY, Entry(SECOND, b"qoif second", {"sample": 12}))
START = {".bin": b"", ".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".webp": b"RIFF", ".qoi": b"qoif"}

NUMBERS = st.integers(-(2**64), 2**64) | st.sampled_from([2**63, -(2**63), 2**200]) | st.floats(allow_nan=False)
TEXT = st.text(max_size=12) | st.sampled_from(
    ["é", "\0", '"\\', "\u2028", "日本", "\U0001f600", "\ud800", "}{", "x" * 600]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXT.filter(lambda field: field != "srcache"), VALUES, max_size=5)
PAYLOADS = st.tuples(
    st.sampled_from(list(START.values())), st.sampled_from([0, 1, 508, 509, 512, 1500]) | st.integers(0, 600)
).map(lambda pair: pair[0] + b"\x5a" * pair[1])
KEYS = st.binary(min_size=16, max_size=16).map(bytes.hex)
MADE = st.builds(
    lambda key, sample, *rest: Entry(entry_name(key, sample), *rest),
    KEYS,
    st.integers(0, 999),
    PAYLOADS,
    RECORDS,
    st.lists(KEYS, max_size=3).map(tuple),
)


def _reader(data: bytes) -> tar.Read:
    return lambda amount, offset: data[offset : offset + amount]


def _packed(entries, fingerprint="f1", start=0) -> tuple[bytes, list[Found]]:
    data, found = b"", []
    for entry in entries:
        piece, one = pack_entry(entry, fingerprint, start + len(data))
        data, found = data + piece, [*found, one]
    return data, found


def _found(data: bytes, *, check: bool = True) -> list[Found]:
    return list(entries_of(_reader(data), len(data), "x.tar", check=check))


def _until_damage(data: bytes) -> tuple[list[Found], str]:
    """The entries before the damage, and what is said of it."""
    found = []
    try:
        for one in entries_of(_reader(data), len(data), "x.tar"):
            found.append(one)
    except DamagedError as error:
        return found, str(error)
    return found, ""


def _entry(payload: bytes = PNG, *, name=NAME, suffix=".png", record=None, own=None, other=None) -> bytes:
    """Both members of an entry, any part of which may be wrong."""
    own = {"aliases": [], "xxh3": xxh3_64_hexdigest(payload), "recipe": None} if own is None else own
    data = json.dumps({**RECORD, "srcache": own}).encode() if record is None else record
    return tar.packed(f"{name}{suffix}", payload) + tar.packed(f"{other or name}.json", data)


@given(st.lists(MADE, max_size=4), st.none() | st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(0, 2))
def test_what_is_packed_comes_back(entries, fingerprint, blocks):
    data, packed = _packed(entries, fingerprint, 512 * blocks)
    data = bytes(512 * blocks) + data
    read = _reader(data + tar.END)
    for check in (True, False):
        assert list(entries_of(read, len(data) + 1024, "x.tar", 512 * blocks, check=check)) == packed
    for entry, one in zip(entries, packed, strict=True):
        assert one.name == packed_name(entry.name)
        assert one.aliases == entry.aliases
        assert read_payload(read, entry.name, one.place, "x.tar") == entry.payload
        assert read_record(read, entry.name, one.place, "x.tar") == json.loads(json.dumps(entry.record)) == entry.record
        assert recipe_of(read, entry.name, one.place, "x.tar") == fingerprint
    assert [one.end for one in packed][-1:] == [len(data)][: len(packed)]


def test_tarfile_finds_an_image_and_its_record():
    data, _ = _packed(ENTRIES)
    with tarfile.open(fileobj=io.BytesIO(data + tar.END)) as opened:
        assert opened.getnames() == [f"{NAME}.png", f"{NAME}.json", f"{SECOND}.qoi", f"{SECOND}.json"]
        assert opened.extractfile(f"{NAME}.png").read() == PNG
        record = json.load(opened.extractfile(f"{NAME}.json"))
    own = {"aliases": list(ENTRY.aliases), "xxh3": xxh3_64_hexdigest(PNG), "recipe": "f1"}
    plain = json.dumps({**RECORD, "srcache": own}).encode()
    assert record["srcache"].pop("record") == xxh3_64_hexdigest(NAME.encode() + plain)
    assert record == {**RECORD, "srcache": own}


@pytest.mark.parametrize("suffix", START)
def test_the_suffix_says_what_the_payload_is(suffix):
    data, found = pack_entry(Entry(NAME, START[suffix] + b"rest", {}), None, 0)
    assert found.place.suffix == suffix
    assert data.startswith(f"{NAME}{suffix}\0".encode())
    assert _found(data) == [found]


@pytest.mark.parametrize(
    "name", ["", "x", KEY, f"{KEY}-0", f"{KEY}-0000", f"{KEY.upper()}-000", f"../{NAME}", f"{NAME}.png"]
)
def test_an_entry_whose_name_is_none_is_not_packed(name):
    with pytest.raises(ValueError, match="an entry's name is a key, a dash and three digits"):
        pack_entry(Entry(name, PNG, {}), None, 0)


@pytest.mark.parametrize("alias", ["", "pixels", KEY[:-1], KEY.upper(), NAME])
def test_an_entry_whose_alias_is_no_key_is_not_packed(alias):
    """It would be read as damaged, and what follows it be cut off by the next writer."""
    with pytest.raises(ValueError, match="the aliases of an entry are keys, but got"):
        pack_entry(Entry(NAME, PNG, {}, (KEY, alias)), None, 0)


def test_an_entry_whose_record_is_none_is_not_packed():
    with pytest.raises(ValueError, match="a record must not have a field 'srcache'"):
        pack_entry(Entry(NAME, PNG, {"srcache": 1}), None, 0)
    with pytest.raises(TypeError, match="not JSON serializable"):
        pack_entry(Entry(NAME, PNG, {"a": {1, 2}}), None, 0)


def test_an_entry_too_large_for_an_index_is_not_packed(monkeypatch):
    monkeypatch.setattr(shard_members, "_LARGEST", 600)
    for entry in (Entry(NAME, bytes(601), {}), Entry(NAME, b"", {"a": "x" * 600})):
        with pytest.raises(ValueError, match=f"less than 4 GiB each, but {NAME} has more"):
            pack_entry(entry, None, 0)
    assert _found(pack_entry(Entry(NAME, bytes(600), {}), None, 0)[0])


@pytest.mark.parametrize("sizes", [(2**32, 0), (0, 2**32)])
def test_a_file_with_holes_of_more_than_an_index_has_room_for_is_refused(sizes):
    """No byte of a member is read before its size is known to be one that a shard has."""
    payload, second = tar.header(f"{NAME}.png", sizes[0]), 512 + sizes[0]
    record = tar.header(f"{NAME}.json", sizes[1])

    def read(amount: int, offset: int) -> bytes:
        assert amount <= 512
        return {0: payload, second: record}[offset]

    with pytest.raises(DamagedError, match="is no entry of a cache"):
        list(entries_of(read, 1024 + sum(sizes), "x.tar", check=False))


def test_any_flipped_bit_is_refused_with_a_sentence_or_changes_no_image():
    data, whole = _packed(ENTRIES)
    expected = {one.name: entry for one, entry in zip(whole, ENTRIES, strict=True)}
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
        found, said = _until_damage(changed)
        assert [one.name for one in found] == [one.name for one in whole][: len(found)]
        assert (len(found) == 2) == (said == ""), "what is left out is said"
        assert "x.tar" in said or not said
        for one in found:
            entry = expected[one.name]
            assert read_payload(_reader(changed), entry.name, one.place, "x.tar") == entry.payload


def test_any_flipped_byte_of_a_payload_is_refused():
    data, (one,) = _packed([ENTRY])
    for place in range(512, 512 + len(PNG)):
        changed = data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]
        with pytest.raises(DamagedError, match=rf"x\.tar: {NAME}\.png is not what was written \(xxh3\)"):
            _found(changed)
        assert _found(changed, check=False) == [one]
        with pytest.raises(ChecksumError, match=rf"{NAME} in x\.tar is not what was written \(xxh3\)"):
            read_payload(_reader(changed), NAME, one.place, "x.tar")


def test_a_record_of_zeros_or_of_noise_is_refused():
    data, (one,) = _packed([ENTRY])
    start = one.end - tar.padded(one.place.record)
    for size in (0, 1, one.place.record // 2, one.place.record - 1):
        for rest in (bytes(one.end - start - size), b"\xff" * (one.end - start - size)):
            changed = data[: start + size] + rest
            for check in (True, False):
                with pytest.raises(DamagedError, match=rf"the record of {NAME} in x\.tar is damaged"):
                    _found(changed, check=check)
            for read in (read_record, recipe_of):
                with pytest.raises(
                    DamagedError, match=rf"the record of {NAME} in x\.tar is damaged; run `srcache repair`"
                ):
                    read(_reader(changed), NAME, one.place, "x.tar")
            assert read_payload(_reader(changed), NAME, one.place, "x.tar") == PNG


def test_a_file_that_is_cut_off_or_zeros_from_somewhere_on_gives_the_entries_before():
    """As after a power failure, when the end of a file may have its right size, but be zeros."""
    data, whole = _packed([*ENTRIES, Entry(entry_name(KEY, 1), b"", {})])
    for size in range(0, len(data), 16):
        for rest in (b"", bytes(len(data) - size)):
            found, _ = _until_damage(data[:size] + rest)
            complete = [one for one in whole if one.end <= size]
            assert found[: len(complete)] == complete
            assert len(found) <= len(complete) + 1
            for one in found[len(complete) :]:
                assert rest, "cut off within zeros that fill the last block"
                assert size >= one.end - tar.padded(one.place.record) + one.place.record


FIRST, LAST = tar.packed(f"{NAME}.png", PNG), _entry()[len(tar.packed(f"{NAME}.png", PNG)) :]
SWAPS = {
    "members": (LAST + FIRST, f"expected the record of {NAME}.json, but got {NAME}.png"),
    "two images": (FIRST + FIRST + LAST, f"expected the record of {NAME}.png, but got {NAME}.png"),
    "two records": (FIRST + LAST + LAST + FIRST, f"expected the record of {NAME}.json, but got {NAME}.png"),
    "only a record": (LAST, f"{NAME}.json has no record"),
    "no record": (FIRST, f"{NAME}.png has no record"),
    "no record, but zeros": (FIRST + tar.END, f"{NAME}.png has no record"),
    "another one's record": (_entry(other=SECOND), f"expected the record of {NAME}.png, but got {SECOND}.json"),
    "another one's image": (
        _entry(own={"aliases": [], "xxh3": xxh3_64_hexdigest(b"")}),
        f"{NAME}.png is not what was written",
    ),
    "no name": (_entry(name="readme"), "readme.png is no entry of a cache"),
    "a name of a key": (_entry(name=KEY), f"{KEY}.png is no entry of a cache"),
    "four digits": (_entry(name=f"{NAME}0"), f"{NAME}0.png is no entry of a cache"),
    "no suffix": (_entry(suffix=""), f"{NAME} is no entry of a cache"),
    "a dot": (_entry(suffix="."), f"{NAME}. is no entry of a cache"),
    "another suffix": (_entry(suffix=".exe"), f"{NAME}.exe is no entry of a cache"),
    "two suffixes": (_entry(suffix=".png.png"), f"{NAME}.png.png is no entry of a cache"),
    "a record as image": (_entry(suffix=".json"), f"{NAME}.json is no entry of a cache"),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("swap", SWAPS)
def test_members_that_make_no_entry_are_refused(swap, check):
    data, words = SWAPS[swap]
    if swap == "another one's image" and not check:
        assert len(_found(data, check=False)) == 1, "only reading the image shows it"
        return
    with pytest.raises(DamagedError) as caught:
        _found(data, check=check)
    assert words in str(caught.value)
    assert "x.tar" in str(caught.value)


SUM = xxh3_64_hexdigest(PNG)
OWN = {
    "a number": 7,
    "a list": [],
    "a text": SUM,
    "no aliases": {"xxh3": SUM},
    "no checksum": {"aliases": []},
    "a short checksum": {"aliases": [], "xxh3": SUM[1:]},
    "a long checksum": {"aliases": [], "xxh3": f"0{SUM}"},
    "no hexadecimal checksum": {"aliases": [], "xxh3": "g" * 16},
    "a checksum below zero": {"aliases": [], "xxh3": "-000000000000001"},
    "a checksum that is a number": {"aliases": [], "xxh3": int(SUM, 16)},
    "a checksum that is a list": {"aliases": [], "xxh3": [0] * 16},
    "an alias that is no key": {"aliases": [KEY, "pixels"], "xxh3": SUM},
    "an alias in capitals": {"aliases": [KEY.upper()], "xxh3": SUM},
    "an alias that is a number": {"aliases": [7], "xxh3": SUM},
    "an alias that is a list": {"aliases": [[KEY]], "xxh3": SUM},
    "an alias that is none": {"aliases": [None], "xxh3": SUM},
    "aliases that are none": {"aliases": None, "xxh3": SUM},
    "aliases that are a number": {"aliases": 1, "xxh3": SUM},
    "aliases that are a text": {"aliases": KEY, "xxh3": SUM},
}
RAW = {
    "nothing": b"",
    "no JSON": b"{]",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "a text": b'"srcache"',
    "no field of the shard": b"{}",
    "a field that is null": b'{"srcache": null}',
    "two documents": b'{"srcache": {}} {}',
    "no text": b"\xff\xff\xff",
    "lists in lists": b"[" * 200_000,
    "objects in objects": b'{"a":' * 200_000,
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "cut off": json.dumps({"srcache": {"aliases": [], "xxh3": SUM}}).encode()[:-1],
}
WRONG = {f"a field with {name}": {"own": own} for name, own in OWN.items()} | {
    name: {"record": record} for name, record in RAW.items()
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_record_that_is_none_of_a_shard_is_refused(wrong):
    data = _entry(**wrong)
    size = next(tar.members(_reader(data), len(data), "", len(FIRST))).size
    for check in (True, False):
        with pytest.raises(DamagedError, match=rf"the record of {NAME} in x\.tar is (damaged|another one's); run"):
            _found(data, check=check)
    place = Place(0, 0, len(PNG), size, int(SUM, 16), ".png")
    for read in (read_record, recipe_of):
        with pytest.raises(DamagedError, match="the record of"):
            read(_reader(data), NAME, place, "x.tar")


def test_a_recipe_that_nobody_noted_is_none():
    place = Place(0, 0, len(PNG), 0, int(SUM, 16), ".png")
    for own, expected in (({}, None), ({"recipe": None}, None), ({"recipe": "f1"}, "f1"), ({"recipe": 7}, "7")):
        data = _entry(own={"aliases": [], "xxh3": SUM, **own})
        (one,) = _found(data)
        assert one.place._replace(record=0) == place
        assert recipe_of(_reader(data), NAME, one.place, "x.tar") == expected


LIES = {
    "another entry's offset": lambda place, other: place._replace(offset=other.offset),
    "the record's offset": lambda place, _: place._replace(offset=place.offset + 512 + tar.padded(place.size)),
    "an offset between blocks": lambda place, _: place._replace(offset=place.offset + 1),
    "an offset beyond the file": lambda place, _: place._replace(offset=10**9),
    "a smaller size": lambda place, _: place._replace(size=place.size - 1),
    "a larger size": lambda place, _: place._replace(size=place.size + 1),
    "no size": lambda place, _: place._replace(size=0),
    "the largest size": lambda place, _: place._replace(size=2**32 - 1),
    "another suffix": lambda place, _: place._replace(suffix=".jpg"),
    "the beginning of the suffix": lambda place, _: place._replace(suffix=".pn"),
    "all of another entry's": lambda _, other: other,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_index_that_lies_about_a_payload_is_refused(lie):
    data, (one, other) = _packed(ENTRIES)
    with pytest.raises(
        DamagedError, match=rf"x\.tar does not hold {NAME} where its index says; `srcache repair` makes"
    ):
        read_payload(_reader(data), NAME, lie(one.place, other.place), "x.tar")


@pytest.mark.parametrize("name", [SECOND, entry_name(KEY, 1), NAME[:-1], f"{NAME}.png"])
def test_the_entry_of_one_name_is_not_read_as_another_one(name):
    data, (one, _) = _packed(ENTRIES)
    with pytest.raises(DamagedError, match="where its index says"):
        read_payload(_reader(data), name, one.place, "x.tar")
    for read in (read_record, recipe_of):
        with pytest.raises(DamagedError, match=rf"the record of {name} in x\.tar is another one's"):
            read(_reader(data), name, one.place, "x.tar")


def test_an_index_that_lies_about_a_checksum_or_a_record_is_refused():
    data, (one, other) = _packed(ENTRIES)
    with pytest.raises(ChecksumError):
        read_payload(_reader(data), NAME, one.place._replace(xxh3=other.place.xxh3), "x.tar")
    sizes = [{"record": one.place.record + step} for step in (-one.place.record, -1, 1, 10_000)]
    for lie in (*sizes, {"offset": 10**9}, {"offset": other.place.offset}, {"size": 0}, {"size": one.place.size + 512}):
        with pytest.raises(DamagedError, match=f"the record of {NAME}"):
            read_record(_reader(data), NAME, one.place._replace(**lie), "x.tar")


def test_every_suffix_that_is_written_has_a_place_in_an_index():
    assert set(START) <= set(SUFFIXES)


def test_a_record_that_was_changed_and_is_still_json_is_refused():
    data, _ = pack_entry(Entry(NAME, PNG, {"key": NAME[:32], "seed": 12345}), "f1", 0)
    changed = data.replace(b"12345", b"12346")
    assert changed != data
    with pytest.raises(DamagedError, match="is damaged"):
        _found(changed)
