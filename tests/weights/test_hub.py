"""The Hugging Face hub: its cache on this machine, and what is checked before a download."""

import errno
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from bundles import MANIFEST

from srcache.errors import DiskFullError, MissingExtraError
from srcache.weights import digests
from srcache.weights.bundle import find_bundle, locate
from srcache.weights.download import fetch
from srcache.weights.hub import Hub, Offer
from srcache.weights.manifest import BundlePart, FileSource, Repository


def test_the_hubs_cache_is_searched_without_a_network(manifest, models, tmp_path):
    pytest.importorskip("huggingface_hub")
    manifest.write_text(MANIFEST.replace("  words:\n", "  words:\n    hub: [gone/repository, some/words@v1]\n"))
    (models / "words.txt").unlink()
    repository = tmp_path / "hub/models--some--words"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/v1").write_text("c0ffee")
    (repository / "snapshots/c0ffee").mkdir(parents=True)
    (repository / "snapshots/c0ffee/words.txt").write_text("cat\ndog\n")
    digest = locate(manifest, [models])
    assert find_bundle(digest)["tags"] == repository / "snapshots/c0ffee/words.txt"
    kept = digests.read_weights_record(digest).parts["tags"]
    assert (kept.origin, kept.licence) == ("some/words@c0ffee", "unknown")


def test_without_the_hubs_package_folders_are_enough(manifest, models, monkeypatch):
    manifest.write_text(MANIFEST.replace("  words:\n", "  words:\n    hub: [some/words]\n"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert fetch(manifest, [models])
    (models / "words.txt").unlink()
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[seesr\]'"):
        fetch(manifest, [models])


def test_what_the_disk_cannot_hold_is_not_begun(tmp_path):
    pytest.importorskip("huggingface_hub")
    repository = Repository("some/words")
    part = BundlePart(name="tags", source=FileSource(name="words", repositories=(repository,)), path="words.txt")
    with pytest.raises(DiskFullError, match=r"MiB are to be downloaded to .*, but only .* are free; make room"):
        Hub().require_room([Offer(part, repository, 1 << 60, ())])


def test_what_the_disk_can_hold_is_begun(tmp_path):
    pytest.importorskip("huggingface_hub")
    repository = Repository("some/words")
    part = BundlePart(name="tags", source=FileSource(name="words", repositories=(repository,)), path="words.txt")
    Hub().require_room([])
    Hub().require_room([Offer(part, repository, 1, ()), Offer(part, repository, None, ())])


@pytest.mark.parametrize("asked", [1, 3])
def test_a_repository_that_is_gone_is_asked_once_and_the_next_one_offers(monkeypatch, asked):
    hugging_face = pytest.importorskip("huggingface_hub")
    errors, calls = hugging_face.errors, []

    def download(name, path, **how):
        calls.append((name, path, how.get("dry_run", False)))
        if name == "gone/repository":
            raise errors.RepositoryNotFoundError("404", response=Mock())
        return SimpleNamespace(file_size=7)

    monkeypatch.setattr(hugging_face, "hf_hub_download", download)
    repositories = (Repository("gone/repository"), Repository("some/words", folder="in"), Repository("last/one"))
    source, hub = FileSource(name="words", repositories=repositories), Hub()
    for number in range(asked):
        reasons = []
        part = BundlePart(name=f"part{number}", source=source, path=f"{number}.txt")
        offer = hub.offer(part, reasons)
        assert (offer.repository, offer.size, offer.rest) == (repositories[1], 7, repositories[2:])
        assert reasons == ["gone/repository: is not there, or is private"]
        assert hub.download(offer, reasons)
    assert [call for call in calls if call[0] == "gone/repository"] == [("gone/repository", "0.txt", True)]
    assert calls[-1] == ("some/words", f"in/{asked - 1}.txt", False)


def _full():
    raise OSError(errno.ENOSPC, "No space left on device")


def _full_below():
    try:
        _full()
    except OSError as error:
        raise RuntimeError("it did not come") from error


def _full_in_words():
    raise RuntimeError("Data processing error: File reconstruction error: No space left on device (os error 28)")


@pytest.mark.parametrize("fail", [_full, _full_below, _full_in_words])
def test_a_disk_that_gets_full_ends_a_download(monkeypatch, fail):
    """Another repository would fill it no less."""
    hugging_face = pytest.importorskip("huggingface_hub")
    repository = Repository("some/words")
    part = BundlePart(name="tags", source=FileSource(name="words", repositories=(repository,)), path="words.txt")
    monkeypatch.setattr(hugging_face, "hf_hub_download", lambda *_, **__: fail())
    with pytest.raises(DiskFullError, match=r"hub could not be written \(No space left on device\).*make room"):
        Hub().download(Offer(part, repository, 1, (repository,)), [])
