"""The checksums of records: one order and one content, whatever was there before; and entries of which both hold."""

import json
from pathlib import Path

import pytest
from xxhash import xxh3_64_hexdigest

from srcache.errors import ChecksumError
from srcache.keys import image_key
from srcache.stores import Entry, open_store, sides_in, whole, with_checksums, xxh3_in


def test_checksums_are_of_the_payload_and_stand_at_the_ends():
    found = with_checksums({"checksum": "old", "key": "k", "xxh3": "old", "notes": {}}, b"payload")
    assert list(found) == ["xxh3", "key", "notes", "checksum"]
    assert (found["xxh3"], found["checksum"]) == (xxh3_64_hexdigest(b"payload"), image_key(b"payload"))


def test_a_record_that_has_them_stays_as_it_is():
    once = with_checksums({"key": "k", "size": [1, 2]}, b"payload")
    assert json.dumps(with_checksums(once, b"payload")) == json.dumps(once)


KEY, OTHER = image_key(b"image"), image_key(b"other image")
RIGHT = {"key": OTHER, "sample": 0, "checksum": image_key(b"payload")}


@pytest.mark.parametrize("record", [{**RIGHT, "checksum": image_key(b"other")}, {**RIGHT, "key": KEY}, {}, None])
def test_an_entry_is_whole_if_the_slow_checksum_holds_too_and_the_record_is_its_own(record):
    store, bad = open_store("memory", Path("memory"), writable=True), f"{OTHER}-000"
    good = Entry(f"{KEY}-000", b"payload", with_checksums({"key": KEY, "sample": 0}, b"payload"))
    store.put_many([good] + ([] if record is None else [Entry(bad, b"payload", record)]))
    assert whole(store, good.name, "cache") == (b"payload", good.record)
    with pytest.raises(ChecksumError, match=rf"^{bad} in cache is not what was written \(BLAKE2b\); run `srcache rep"):
        whole(store, bad, "cache")


@pytest.mark.parametrize(
    "odd", [None, "x", "12", [], {}, {"0": 1}, [1], [1, 2, 3], [0, 4], [-1, 4], [1.5, 2], [True, 2], [2**40, 2], -1]
)
def test_a_record_that_somebody_forged_says_no_size(odd):
    assert sides_in({"size": odd}) is None


def test_a_size_is_said_as_it_was_written():
    assert sides_in({"size": [3, 4], "lr": (1, 2)}) == (3, 4)
    assert sides_in({"lr": (1, 2)}, "lr") == (1, 2)


@pytest.mark.parametrize("odd", [None, 7, "", "x" * 16, "0" * 15, f"{'0' * 16}\n", "0\r\nSet-Cookie: x=y", ["0" * 16]])
def test_a_record_that_somebody_forged_says_no_checksum(odd):
    assert xxh3_in({"xxh3": odd}) is None
    assert xxh3_in({"xxh3": "0123456789abcdef"}) == "0123456789abcdef"
