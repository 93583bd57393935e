"""URLs of folders of objects: which text is one, and what it must not hold."""

from pathlib import Path

import pytest

from srcache.errors import ConfigError
from srcache.files.urls import checked_url, is_url, local_name


@pytest.mark.parametrize("place", ["s3://bucket/folder", "memory://a", "file:///data", "S3://b", "gs://x/y z"])
def test_a_url_is_known_by_its_protocol(place: str) -> None:
    assert is_url(place)


@pytest.mark.parametrize("place", ["photos", "/data/x", "C:/x", "s3:/bucket", "a:b", Path("s3/x"), "", "x//y"])
def test_a_path_is_none(place: str | Path) -> None:
    assert not is_url(place)


def test_a_url_that_went_through_path_is_named() -> None:
    with pytest.raises(ConfigError, match="pass it as text"):
        is_url(Path("s3://bucket/folder"))


def test_slashes_at_the_end_and_capitals_of_the_protocol_change_nothing() -> None:
    assert checked_url("S3://Bucket/folder//") == "s3://Bucket/folder"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://user:secret@bucket/x", "must not hold a password"),
        ("s3://bucket/x?versionId=secret", "must not hold options"),
        ("s3://bucket/x#secret", "must not hold options"),
        ("simplecache::s3://bucket/x", "expected"),
        ("s3://", "expected one URL of a folder"),
        ("s3:///", "expected one URL of a folder"),
        ("s3://bucket/../other", r"must not hold \. or \.\."),
        ("s3://bucket/a\nb", "must not hold options"),
    ],
)
def test_what_a_url_must_not_hold_is_said_and_no_secret_repeated(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)


def test_a_user_in_a_url_is_no_password() -> None:
    assert checked_url("sftp://me@host/x") == "sftp://me@host/x"
    assert checked_url("abfs://box@account.host.net/x") == "abfs://box@account.host.net/x"


def test_the_same_url_at_another_endpoint_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    first = local_name("s3://bucket/some folder")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert local_name("s3://bucket/some folder") != first
    assert first.startswith("bucket-some-folder-")
    assert "/" not in local_name("s3://../é/" + "x" * 300)
