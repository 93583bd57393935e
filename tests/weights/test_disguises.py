"""What a file is instead of weights; nothing is said of files of which nothing is known."""

from pathlib import Path

import pytest

from srcache.weights.disguises import disguise


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf<!doctype html>", "web page"),
        (b"<HTML>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (bytes(100), "zeros"),
    ],
)
def test_disguises(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    assert words in (disguise(tmp_path / "x") or "")


@pytest.mark.parametrize("data", [b"PK\x03\x04", b"\x80\x02}", b'{"a": 1}', b"#version: 0.2\n"])
def test_what_may_be_good_has_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    assert disguise(tmp_path / "x") is None
    assert disguise(tmp_path / "missing") is None
