"""Bundles of weights: found wherever they lie, hashed once, never mistaken for others, made where nobody has them."""

import hashlib
import shutil
from types import SimpleNamespace

import pytest
import torch
from bundles import MANIFEST, Bomb, make_small, published, sha256_of
from engines import Noise
from safetensors.torch import load_file

from srcache.errors import DamagedError, WeightsError
from srcache.weights import bundle as bundles
from srcache.weights.bundle import fetch_command, find_bundle, locate
from srcache.weights.checkpoint import adopt, find, weights_folder
from srcache.weights.digests import records_folder
from srcache.weights.manifest import bundle_digest


def test_the_digest_is_over_the_published_files_and_is_frozen(manifest, models):
    lines = "".join(f"{part} {digest}\n" for part, digest in sorted(published(models).items()))
    assert locate(manifest, [models]) == hashlib.sha256(lines.encode()).hexdigest()
    frozen = "cf12aed8575273a7be967d90b40eeab1b9bea66b904f38ee59a107d6eeb713bf"
    assert bundle_digest({"b": "1" * 64, "a": "0" * 64}) == frozen, "this change orphans every cache in the field"


def test_what_was_located_is_found_by_its_digest(manifest, models):
    digest = locate(manifest, [models])
    found = find_bundle(digest)
    assert set(found) == {"net", "net.config", "tags", "other"}
    assert found["net"] == models / "mine/unet/net.safetensors"
    assert found["other"].parent == weights_folder(), "what was pickled is converted"
    assert torch.equal(load_file(found["other"])["b"], torch.ones(2, 2))
    assert locate(manifest) == digest, "what was found once needs no folder any more"


def test_every_missing_file_is_named_with_the_places_and_what_helps(manifest, models, monkeypatch):
    (models / "mine/spare.pth").unlink()
    (models / "words.txt").unlink()
    monkeypatch.setenv("SRCACHE_WEIGHTS", "/nowhere")
    with pytest.raises(WeightsError) as caught:
        locate(manifest, [models])
    message = str(caught.value)
    assert "lack 2 of 4 files on this machine:\n  - other: spare.pth of mine\n  - tags: words.txt of words\n" in message
    assert f"looked in: {models}, $SRCACHE_WEIGHTS (/nowhere), the Hugging Face cache" in message
    assert f"`srcache models fetch {manifest} --from FOLDER`" in message
    assert "mine: https://example.org/mine" in message
    assert not records_folder().exists()


def test_a_part_that_two_bundles_share_is_read_and_converted_once(manifest, models, tmp_path, monkeypatch):
    locate(manifest, [models])
    other = tmp_path / "other.yaml"
    other.write_text(MANIFEST.replace("net: mine, net.config: mine", "again: mine/spare"))
    hashed = []
    monkeypatch.setattr(bundles, "file_digest", lambda path: hashed.append(path.name) or sha256_of(path))
    monkeypatch.setattr(bundles, "adopt", lambda path: pytest.fail("converted again"))
    (models / "mine/spare.pth").unlink()
    found = find_bundle(locate(other))
    assert hashed == []
    assert found["again"] == found["other"]
    assert len(list(records_folder().glob("*.json"))) == 2


def test_what_an_engine_finds_wrong_names_the_file_that_was_converted_and_the_bundle(manifest, models, monkeypatch):
    def check(parts):
        raise WeightsError(
            f"{parts['other']} is of another kind; delete {parts['other']}, and run `{fetch_command(None)}`"
        )

    monkeypatch.setattr(bundles, "find_engine", lambda name: SimpleNamespace(check_weights=check))
    with pytest.raises(WeightsError) as caught:
        locate(manifest, [models])
    path = models / "mine/spare.pth"
    assert str(caught.value) == f"{path} is of another kind; delete {path}, and run `srcache models fetch {manifest}`"


def test_a_part_with_code_in_it_is_refused(manifest, models):
    torch.save({"b": Bomb()}, models / "mine/spare.pth")
    with pytest.raises(WeightsError, match="runs no code from checkpoints"):
        locate(manifest, [models])
    assert not records_folder().exists()


def test_what_is_no_safetensors_file_is_refused(manifest, models):
    (models / "mine/unet/net.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(WeightsError, match=r"net.safetensors does not read as safetensors"):
        locate(manifest, [models])


def test_a_file_with_another_hash_than_the_manifest_says_is_damaged(manifest, models):
    known = published(models)["tags"]
    manifest.write_text(MANIFEST.replace("words.txt}", f"{{path: words.txt, sha256: {known}}}}}"))
    assert locate(manifest, [models])
    (models / "words.txt").write_text("cat\n")
    with pytest.raises(DamagedError, match=r"words.txt should have the SHA-256 \w{64}, but has \w{64}: it"):
        locate(manifest, [models])


# --- bundles that an engine makes ---


def test_a_bundle_that_nobody_publishes_is_made_where_it_is_missed(made):
    digest = locate("small")
    assert digest == made.digest
    found = find_bundle(digest)
    assert found["net"] == weights_folder() / "made/small/deep/net.txt"
    assert sorted(path.name for path in (weights_folder() / "made").iterdir()) == ["small"]


def test_a_digest_is_enough_to_make_it(made):
    assert find_bundle(str(made.digest))["words"].read_text() == "cat"
    shutil.rmtree(weights_folder() / "made")
    assert locate("small") == made.digest, "what was deleted is made again"


def test_what_is_complete_is_not_made_again_and_what_is_not_is(made, monkeypatch):
    locate("small")
    monkeypatch.setattr(Noise, "make_weights", staticmethod(lambda *_: pytest.fail("made again")))
    locate("small")
    (weights_folder() / "made/small/words.txt").write_text("torn")
    monkeypatch.setattr(Noise, "make_weights", staticmethod(make_small))
    assert locate("small") == made.digest
    assert find_bundle(str(made.digest))["words"].read_text() == "cat"


def test_an_engine_that_makes_something_else_is_named(made, monkeypatch):
    def half(name, folder):
        (folder / "words.txt").write_text("dog")

    monkeypatch.setattr(Noise, "make_weights", staticmethod(half))
    with pytest.raises(WeightsError, match=r"other files .*: deep/net.txt \(missing\), words.txt \(SHA-256 cd6357"):
        locate("small")
    assert not (weights_folder() / "made/small").exists()
    monkeypatch.delattr(Noise, "make_weights")
    with pytest.raises(WeightsError, match="test-noise should make these weights, but has no make_weights"):
        locate("small")


def test_checkpoints_and_bundles_are_not_mistaken_for_each_other(manifest, models):
    bundle, checkpoint = locate(manifest, [models]), adopt(models / "mine/unet/net.safetensors")
    with pytest.raises(WeightsError, match="are a bundle of several files, but one checkpoint is needed"):
        find(bundle)
    with pytest.raises(WeightsError, match="are one checkpoint, but a bundle of several files is needed"):
        find_bundle(checkpoint)
    with pytest.raises(WeightsError, match=f"no bundle of weights {'0' * 64} on this machine"):
        find_bundle("0" * 64)
