"""Weights: adopted once, found by digest, never unpickled, never mistaken for others."""

import hashlib
import pickle

import pytest
import torch
from bundles import Bomb
from safetensors.torch import load_file, save_file

from srcache.errors import DamagedError, WeightsError
from srcache.weights.checkpoint import (
    EngineCheck,
    adopt,
    adopted,
    check_of,
    find,
    load_tensors,
    matching,
    record_check,
    weights_folder,
)


def test_safetensors_are_taken_as_they_are(tensors, tmp_path):
    file = tmp_path / "net.safetensors"
    save_file(tensors, file)
    digest = adopt(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert find(digest).read_bytes() == file.read_bytes()
    assert adopt(file) == digest
    assert [(one.digest, one.origin) for one in adopted()] == [(digest, "net.safetensors")]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda found: found,
        lambda found: {"params": {"x": torch.zeros(1)}, "params_ema": found},
        lambda found: {"state_dict": found, "epoch": 7},
        lambda found: {"model": {"params": found}},
    ],
)
def test_a_pickled_checkpoint_is_converted_once_and_to_the_same_digest(tensors, wrap, tmp_path):
    torch.save(wrap(tensors), tmp_path / "net.pth")
    save_file(tensors, tmp_path / "net.safetensors")
    digest = adopt(tmp_path / "net.pth")
    found = load_tensors(digest)
    assert set(found) == set(tensors)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    torch.save(wrap(dict(reversed(tensors.items()))), tmp_path / "again.pt")
    assert adopt(tmp_path / "again.pt") == digest, "the order in which tensors were saved is not part of the name"
    torch.save(wrap(tensors), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert adopt(tmp_path / "old.bin") == digest, "nor is the format of the file"


def test_shared_and_strided_tensors_are_written_out(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": base, "b": base, "c": base.T}, tmp_path / "net.pth")
    found = load_file(find(adopt(tmp_path / "net.pth")))
    assert torch.equal(found["c"], base.T)
    assert torch.equal(found["b"], base)


def test_nothing_but_tensors_is_unpickled(tmp_path):
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save({"a": torch.zeros(1), "b": Bomb()}, tmp_path / "zip.pth")
    for name in ("raw.pth", "zip.pth"):
        with pytest.raises(WeightsError, match="runs no code from checkpoints"):
            adopt(tmp_path / name)
    assert adopted() == []
    assert list(weights_folder().iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.safetensors", b"", "does not read as safetensors"),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "holds no tensors"),
        ("a.pth", b"", "cannot be read as plain tensors"),
        ("a.pth", b"PK\x03\x04", r"plain tensors \(it is no file that torch.save wrote, or is cut short"),
        ("a.onnx", b"x", "expected a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=words):
        adopt(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is a web page"),
        (b"\n <html lang='en'>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "it is a git-lfs pointer"),
        (b"", "it is empty; download it again"),
        (bytes(4096), "it begins with zeros only"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "A.PTH", "a.CKPT"])
def test_pages_pointers_and_stubs_are_named_and_no_guard_is_advised_away(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=words) as caught:
        adopt(tmp_path / name)
    assert "weights_only" not in str(caught.value)
    assert "trust" not in str(caught.value)


def test_a_file_of_text_or_code_is_refused_without_torchs_advice(tmp_path):
    (tmp_path / "a.pth").write_text('{"error": "not found"}')
    torch.save({"a": torch.zeros(1), "b": Bomb()}, tmp_path / "b.pth")
    for name, words in (("a.pth", "is no file that torch.save wrote"), ("b.pth", "which would be run")):
        with pytest.raises(WeightsError, match=words) as caught:
            adopt(tmp_path / name)
        assert "weights_only" not in str(caught.value)


def test_what_is_left_out_is_named_and_leaves_the_digest_as_it_was(tensors, tmp_path):
    torch.save(tensors, tmp_path / "net.pth")
    torch.save({**tensors, "epoch": 7, "lr": 0.1, "pro": 1}, tmp_path / "more.pth")
    said = []
    assert adopt(tmp_path / "more.pth", said.append) == adopt(tmp_path / "net.pth", said.append)
    assert said == [f"{tmp_path / 'more.pth'}: left out what is no tensor of the network: epoch, lr, pro"]


def test_a_flag_that_says_which_network_it_is_is_kept(tensors, tmp_path):
    cugan = {**tensors, "unet1.conv1.conv.0.weight": torch.zeros(1)}
    torch.save(cugan, tmp_path / "net.pth")
    torch.save({**cugan, "pro": 1}, tmp_path / "pro.pth")
    plain, pro = adopt(tmp_path / "net.pth"), adopt(tmp_path / "pro.pth")
    assert plain != pro
    assert set(load_tensors(pro)) - set(load_tensors(plain)) == {"pro"}


@pytest.mark.parametrize("name", ["net_g", "netG", "anything"])
def test_a_single_mapping_is_unwrapped(name, tensors, tmp_path):
    torch.save(tensors, tmp_path / "net.pth")
    torch.save({name: tensors}, tmp_path / "wrapped.pth")
    assert adopt(tmp_path / "wrapped.pth") == adopt(tmp_path / "net.pth")


def test_a_check_is_kept_beside_its_checkpoint(tensors, tmp_path):
    save_file(tensors, tmp_path / "net.safetensors")
    digest = adopt(tmp_path / "net.safetensors")
    assert check_of(digest) is None
    check = EngineCheck(engine="spandrel", scale=4, problem=None, versions={"torch": "2"})
    record_check(digest, check)
    assert check_of(digest) == check
    assert [one.digest for one in adopted()] == [digest]
    (weights_folder() / f"{digest}.check.json").write_text("{")
    assert check_of(digest) is None


def test_a_checkpoint_without_tensors_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no named tensors; it holds: epoch, loss"):
        adopt(tmp_path / "a.pth")


def test_a_checkpoint_that_changed_or_is_not_there_is_an_error(tensors, tmp_path):
    save_file(tensors, tmp_path / "net.safetensors")
    digest = adopt(tmp_path / "net.safetensors")
    find(digest).write_bytes(b"something else")
    with pytest.raises(DamagedError, match="is not what was adopted"):
        find(digest)
    with pytest.raises(WeightsError, match="srcache models convert"):
        find("0" * 64)


def test_a_checkpoint_is_named_by_the_beginning_of_its_digest(tensors, tmp_path):
    digests = []
    for number in range(3):
        save_file({**tensors, "c": torch.full((1,), float(number))}, tmp_path / f"{number}.safetensors")
        digests.append(adopt(tmp_path / f"{number}.safetensors"))
    assert [one.digest for one in adopted()] == sorted(digests)
    for digest in digests:
        assert matching(digest[:12]).path == find(digest)
        assert matching(digest).bytes == find(digest).stat().st_size
    with pytest.raises(WeightsError, match="3 checkpoints begin with ''"):
        matching("")
    with pytest.raises(WeightsError, match="no checkpoint begins with 'xyz'; `srcache models list` shows"):
        matching("xyz")
