"""Records of bundles: what is trusted by size and time, what is hashed again, and what is damaged."""

import json
import os

import pytest
from bundles import sha256_of

from srcache.errors import DamagedError, WeightsError
from srcache.weights import digests
from srcache.weights.bundle import find_bundle, locate
from srcache.weights.digests import records_folder


def test_a_file_that_moved_is_missed_then_found_again_under_the_same_digest(manifest, models, tmp_path):
    digest = locate(manifest, [models])
    moved = tmp_path / "moved/models"
    moved.parent.mkdir()
    os.rename(models, moved)
    with pytest.raises(WeightsError, match=r"is not there any more; `srcache models fetch .*mine.yaml`"):
        find_bundle(digest)
    assert locate(manifest, [moved]) == digest
    assert find_bundle(digest)["tags"] == moved / "words.txt"


def test_a_file_that_was_only_touched_is_hashed_once_and_trusted_again(manifest, models, monkeypatch):
    digest = locate(manifest, [models])
    os.utime(models / "words.txt", ns=(1, 1))
    hashed = []
    monkeypatch.setattr(digests, "file_digest", lambda path: hashed.append(path.name) or sha256_of(path))
    assert find_bundle(digest)
    assert find_bundle(digest)
    assert locate(manifest) == digest
    assert hashed == ["words.txt"]


def test_a_file_that_changed_is_damaged_until_it_is_given_anew(manifest, models):
    digest = locate(manifest, [models])
    (models / "words.txt").write_text("cow\n")
    for act in (lambda: find_bundle(digest), lambda: locate(manifest)):
        with pytest.raises(DamagedError, match=r"words.txt has changed since it was recorded.* --from FOLDER"):
            act()
    assert locate(manifest, [models]) != digest


def test_an_edit_in_place_that_keeps_the_date_is_seen(manifest, models):
    digest = locate(manifest, [models])
    before = (models / "words.txt").stat().st_mtime_ns
    (models / "words.txt").write_text("cow\ndog\n")
    os.utime(models / "words.txt", ns=(before, before))
    with pytest.raises(DamagedError, match=r"words.txt has changed"):
        find_bundle(digest)


def test_only_an_audit_sees_through_a_forged_time_in_a_record_without_a_ctime(manifest, models):
    digest = locate(manifest, [models])
    record = records_folder() / f"{digest}.json"
    plain = json.loads(record.read_text())
    for part in plain["parts"].values():
        del part["ctime"]
    record.write_text(json.dumps(plain))
    before = (models / "words.txt").stat().st_mtime_ns
    (models / "words.txt").write_text("cow\ndog\n")
    os.utime(models / "words.txt", ns=(before, before))
    assert find_bundle(digest)
    with pytest.raises(DamagedError, match=r"words.txt has changed"):
        find_bundle(digest, hashed=True)


def test_a_record_that_cannot_be_read_says_what_to_do(manifest, models):
    digest = locate(manifest, [models])
    (records_folder() / f"{digest}.json").write_text('{"format": 1}')
    with pytest.raises(DamagedError, match=r"is no record of weights .*; delete it, and fetch them again"):
        find_bundle(digest)
