"""verify: what it reports of caches that are as they were written, and of caches damaged in every way that we know."""

import json
import os
import shutil

import caches
import lmdb
import pytest

from srcache.errors import CacheError, DamagedError, MachineError
from srcache.keys import image_key
from srcache.maintain import verify as verifying
from srcache.maintain.verify import verify
from srcache.stores import Entry


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _reasons(report):
    return [finding.reason for finding in report.findings]


def _put(cache, *entries):
    with caches.opened(cache, writable=True) as store:
        store.put_many(entries)


def _replace(cache, table, name, value):
    """Change one value behind the store's back."""
    path = str(caches.only(cache).store_path)
    with lmdb.open(path, max_dbs=3, map_size=1 << 24) as env, env.begin(write=True) as transaction:
        transaction.put(name.encode(), value, db=env.open_db(table, transaction))


@pytest.mark.medium
def test_a_whole_cache_is_ok_and_is_not_changed(cache):
    before = _tree(cache)
    seen = []
    report = verify(cache, progress=lambda done, total: seen.append((done, total)))
    after = {name: data for name, data in _tree(cache).items() if not name.endswith("lock.mdb")}
    assert report.ok
    assert (report.entries, report.absent, len(report.recipes)) == (15, 3, 2)
    assert report.bytes == sum(
        len(data) for name in ("bicubic", "noisy") for data in caches.contents(cache, name).values()
    )
    assert after == {name: before[name] for name in after}
    assert seen[-1] == (10, 10)


@pytest.mark.medium
def test_one_recipe_can_be_checked_alone(cache):
    (caches.home(cache, "noisy") / "recipe.yaml").unlink()
    assert verify(cache, "bicubic").ok
    assert verify(cache, "bicubic").recipes == (caches.home(cache).name,)
    assert not verify(cache).ok
    with pytest.raises(CacheError, match="holds no recipe 'lanczos'; it holds: bicubic-"):
        verify(cache, "lanczos")


@pytest.mark.medium
@pytest.mark.parametrize("share", [0.9, 0.3, 0.0001])
def test_a_store_that_is_cut_off_is_damage(cache, share):
    data = caches.only(cache).store_path / "data.mdb"
    os.truncate(data, int(share * data.stat().st_size))
    report = verify(cache)
    [finding] = report.findings
    assert (finding.source, finding.reason) == (f"{caches.home(cache).name}/data.lmdb", "damaged")
    assert "cut off" in finding.detail or "does not read" in finding.detail
    assert report.entries == 10, "the other recipe is checked all the same"


KEY = image_key(b"somebody")


def _record(payload, **changes):
    return {"key": KEY, "sample": 0, "size": [2, 3], "checksum": image_key(payload), **changes}


@pytest.mark.medium
def test_every_entry_that_is_not_what_was_written_is_named(cache):
    image = next(iter(caches.contents(cache).values()))
    keys = [image_key(bytes([number])) for number in range(5)]
    bad = {
        f"{keys[0]}-000": ("checksum", b"other", {"key": keys[0], "checksum": image_key(b"x")}),
        f"{keys[1]}-000": ("unreadable", b"no image", {"key": keys[1]}),
        f"{keys[2]}-000": ("empty", b"", {"key": keys[2]}),
        f"{keys[3]}-000": ("truncated", image[:-20], {"key": keys[3]}),
        f"{keys[4]}-000": ("size", image, {"key": keys[4]}),
        f"{KEY}-001": ("bad_record", image, {}),
        f"{image_key(b'1')}-000": ("bad_record", image, {}),
        "somebody": ("bad_name", image, {}),
        f"{KEY}-0": ("bad_name", image, {}),
    }
    _put(cache, *(Entry(name, payload, _record(payload, **changes)) for name, (_, payload, changes) in bad.items()))
    report = verify(cache, "bicubic")
    assert {one.name: one.reason for one in report.findings} == {name: reason for name, (reason, _, _) in bad.items()}
    assert report.entries == 5 + len(bad)
    [size] = [one.detail for one in report.findings if one.reason == "size"]
    assert size.endswith("not [2, 3]")


@pytest.mark.medium
def test_an_image_above_the_pixel_limit_is_no_damage(cache, monkeypatch):
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "100")
    assert verify(cache).ok


@pytest.mark.medium
def test_records_that_are_none_are_named(cache):
    names = sorted(caches.contents(cache))
    broken = {names[0]: b"{", names[1]: b"\xff", names[2]: b"[1]", names[3]: b"null"}
    for name, record in broken.items():
        _replace(cache, b"records", name, record)
    report = verify(cache, "bicubic")
    assert [(one.name, one.reason) for one in report.findings] == [
        *((name, "unreadable") for name in names[:2]),
        *((name, "bad_record") for name in names[2:4]),
    ]
    with caches.opened(cache) as store, pytest.raises(DamagedError, match=f"the record of {names[0]} .* is damaged"):
        store.record(names[0])


@pytest.mark.medium
def test_one_changed_byte_of_an_image_is_found(cache):
    name, payload = min(caches.contents(cache).items())
    _replace(cache, b"images", name, payload[:40] + bytes([payload[40] ^ 1]) + payload[41:])
    [finding] = verify(cache).findings
    assert (finding.name, finding.reason) == (name, "checksum")


@pytest.mark.medium
def test_tables_that_do_not_agree_are_found(cache):
    _replace(cache, b"records", f"{KEY}-000", json.dumps(_record(b"")).encode())
    report = verify(cache, "bicubic")
    assert sorted(_reasons(report)) == ["counts", "no_payload"]
    assert "there are 5 images, but 6 records" in next(one.detail for one in report.findings if one.reason == "counts")


@pytest.mark.medium
def test_aliases_that_lead_nowhere_are_found(cache):
    bad = {"word": KEY.encode(), KEY: b"word", image_key(b"0"): image_key(b"nobody").encode()}
    for alias, meaning in bad.items():
        _replace(cache, b"aliases", alias, meaning)
    findings = verify(cache, "bicubic").findings
    assert {one.name: one.reason for one in findings} == dict.fromkeys(bad, "bad_alias")


@pytest.mark.medium
def test_texts_that_were_changed_are_found(cache):
    [catalog] = (cache / "catalogs").iterdir()
    catalog.write_text(catalog.read_text().replace("letzte", "letzter"))
    receipt = next((caches.home(cache) / "receipts").iterdir())
    receipt.write_text('{"samples": "many"}')
    (caches.home(cache, "noisy") / "recipe.yaml").write_bytes(b"\xff")
    assert {one.source: one.reason for one in verify(cache).findings} == {
        str(path.relative_to(cache)): "damaged"
        for path in (catalog, receipt, caches.home(cache, "noisy") / "recipe.yaml")
    }


@pytest.mark.medium
def test_a_store_that_is_gone_is_found(cache):
    shutil.rmtree(caches.only(cache).store_path)
    report = verify(cache)
    assert [(one.source, "it is gone" in one.detail) for one in report.findings] == [
        (f"{caches.home(cache).name}/data.lmdb", True)
    ]
    assert report.absent == 6 + 2


@pytest.mark.medium
def test_a_recipe_that_is_gone_is_found(cache):
    (caches.home(cache) / "recipe.yaml").unlink()
    assert [one.source for one in verify(cache).findings] == [f"{caches.home(cache).name}/recipe.yaml"]


@pytest.mark.medium
def test_a_store_that_was_not_begun_is_whole(cache, tmp_path):
    home = caches.home(cache)
    shutil.rmtree(home / "receipts")
    (home / "data.lmdb/data.mdb").write_bytes(b"")
    report = verify(cache, "bicubic")
    assert report.ok
    assert report.entries == 0


@pytest.mark.medium
def test_damaged_lines_of_a_journal_are_told_and_one_that_was_cut_short_is_not(cache):
    journal = caches.home(cache) / "failures.jsonl"
    good = journal.read_bytes()
    journal.write_bytes(good + b'{"name": "cut sho\n' + b"\xff\xfe\n" + b"[" * 3000 + b"\n" + b'{"name": 1}\n' + good)
    assert verify(cache, "noisy").ok
    report = verify(cache, "bicubic")
    [finding] = report.findings
    assert (finding.source, finding.reason) == (f"{caches.home(cache).name}/failures.jsonl", "damaged")
    assert "lines 2, 3, 4 of" in finding.detail
    assert report.entries == 5


@pytest.mark.medium
def test_a_recipe_that_cannot_be_checked_keeps_no_other_from_it(cache, monkeypatch):
    real = verifying.check

    def check(folder, progress):
        if folder.recipe.name == "noisy":
            raise MachineError("no more memory")
        return real(folder, progress)

    monkeypatch.setattr(verifying, "check", check)
    with pytest.raises(MachineError, match="no more memory"):
        verify(cache)
    shutil.rmtree(caches.only(cache).store_path)
    report = verify(cache)
    assert [(one.source, one.reason) for one in report.findings] == [
        (f"{caches.home(cache).name}/data.lmdb", "damaged"),
        (caches.home(cache, "noisy").name, "unchecked"),
    ]
