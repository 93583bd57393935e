"""Files of bundles that cannot be what they should be, told without an engine; and how to get them again."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from srcache.weights.contents import content_problem, how_to_get_again


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("config.json", b"<html>Sign in</html>", "web page"),
        ("config.json", b"", "empty"),
        ("config.json", b'{"a": ', "cut short"),
        ("config.json", b"\xff{}", "cannot be read as JSON"),
        ("config.json", b"[1]", "expected a JSON object"),
        ("merges.txt", b"", "empty"),
        ("merges.txt", b"<!doctype html>", "web page"),
        ("net.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        ("NET.SAFETENSORS", b"\x00" * 9, "does not read as safetensors"),
    ],
)
def test_what_cannot_be(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    found = content_problem(tmp_path / name)
    assert words in (found or "")
    assert str(tmp_path / name) in (found or "")


def test_tensors_of_zeros_and_a_file_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"a": torch.zeros(700_000), "b": torch.zeros(3)}, path)
    assert "are zero" in (content_problem(path) or "")
    save_file({"a": torch.zeros(700_000), "b": torch.ones(3)}, path)
    assert content_problem(path) is None
    path.write_bytes(path.read_bytes()[:-5])
    assert "does not read as safetensors" in (content_problem(path) or "")


@pytest.mark.parametrize(("name", "data"), [("a.json", b"{}"), ("merges.txt", b"#version: 0.2\n"), ("a.bin", b"x")])
def test_what_may_be_good(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert content_problem(tmp_path / name) is None


def test_a_broken_file_must_go_first_and_so_must_what_its_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "link.json").symlink_to("blob")
    words = how_to_get_again(tmp_path / "link.json", "srcache models fetch seesr")
    assert words == (
        f"delete {tmp_path / 'link.json'} and {tmp_path / 'blob'}, to which it leads, "
        "and run `srcache models fetch seesr`"
    )
    assert how_to_get_again(tmp_path / "blob", "x") == f"delete {tmp_path / 'blob'}, and run `x`"
