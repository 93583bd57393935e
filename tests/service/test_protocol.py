"""The words of the protocol: records in headers, tags, loopback addresses."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from srcache.recipe.reading import load_recipe, resolve, restore
from srcache.recipe.recipe import Recipe
from srcache.service import protocol

_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _PLAIN, max_size=5))
def test_a_record_comes_out_of_its_header_as_it_went_in(record):
    packed = protocol.pack_record(record)
    if len(json.dumps(record, separators=(",", ":"))) > 6000:
        assert packed is None
    else:
        assert packed is not None
        assert set(packed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        assert protocol.unpack_record(packed) == record


def test_a_record_that_is_too_long_for_a_header_is_left_out():
    assert protocol.pack_record({"notes": "x" * 5980}) is not None
    assert protocol.pack_record({"notes": "x" * 6000}) is None
    assert protocol.pack_record({"notes": float("nan")}) is None


@pytest.mark.parametrize("packed", ["", "%", "W10", "bnVsbA", "e30x", "eyJhIjpOYU59", "A" * 20_000, "gA", "é"])
def test_what_is_no_record_is_refused(packed):
    with pytest.raises(ValueError, match=r"."):
        protocol.unpack_record(packed)


def test_an_entity_tag_names_recipe_entry_and_bytes():
    checksum = protocol.checksum_of(b"abc")
    assert checksum == xxh3_64_hexdigest(b"abc")
    assert protocol.entity_tag("f" * 16, "0" * 32 + "-001", checksum) == f'"{"f" * 16}-{"0" * 32}-001-{checksum}"'


def test_where_a_posted_image_can_be_had_again():
    assert protocol.content_location("a" * 32, 3, "f" * 16) == f"/v1/sr/{'a' * 32}?recipe={'f' * 16}&sample=3"


@pytest.mark.parametrize(
    "recipe",
    [
        load_recipe("bicubic"),
        resolve({"name": "x", "engine": "resample", "scale": 2.5, "degradation": "bicubic/2", "codec": "jpeg:90"}),
    ],
    ids=lambda recipe: recipe.name,
)
def test_an_offered_recipe_is_complete(recipe: Recipe):
    offered = json.loads(json.dumps(protocol.offered_recipe(recipe)))
    again = restore(json.dumps(offered["document"]), "the service")
    assert (
        (again.fingerprint, again.folder)
        == (offered["fingerprint"], offered["folder"])
        == (
            recipe.fingerprint,
            recipe.folder,
        )
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host, expected):
    assert protocol.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a-B_9.", True), ("x" * 64, True), ("", False), ("x" * 65, False), ("a b", False), ("a\n", False)],
)
def test_a_request_id_is_short_and_plain(text, expected):
    assert protocol.is_request_id(text) is expected
