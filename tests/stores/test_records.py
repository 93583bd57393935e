"""with_checksums: one order and one content, whatever a record said before."""

import json

from xxhash import xxh3_64_hexdigest

from srcache.keys import image_key
from srcache.stores import with_checksums


def test_checksums_are_of_the_payload_and_stand_at_the_ends():
    found = with_checksums({"checksum": "old", "key": "k", "xxh3": "old", "notes": {}}, b"payload")
    assert list(found) == ["xxh3", "key", "notes", "checksum"]
    assert (found["xxh3"], found["checksum"]) == (xxh3_64_hexdigest(b"payload"), image_key(b"payload"))


def test_a_record_that_has_them_stays_as_it_is():
    once = with_checksums({"key": "k", "size": [1, 2]}, b"payload")
    assert json.dumps(with_checksums(once, b"payload")) == json.dumps(once)
