"""A cache below a URL and the folder that mirrors it: brought up to date both ways, and nothing lost."""

import json
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from shard_stores import made_entry

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import Cache, create_cache, find_folder, is_cache, open_cache
from srcache.cache.mirror import mirror_of
from srcache.errors import CacheError, ConfigError
from srcache.files.objects import ObjectFolder, object_folder
from srcache.recipe.reading import load_recipe

BICUBIC = load_recipe("bicubic")
FAILED = FailedEntry("0" * 32 + "-000", "a.png", "unreadable", "it is no image")

pytestmark = pytest.mark.medium


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of this test's own."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def elsewhere(url: str, tmp_path: Path) -> Cache:
    """The cache as another machine sees it that has never seen it before."""
    return open_cache(url, spool=Path(shutil.rmtree(tmp_path / "other", ignore_errors=True) or tmp_path / "other"))


def names(url: str) -> set[str]:
    return set(object_folder(url).listing())


def test_a_cache_below_a_url_has_the_names_of_one_on_a_disk(objects_url: str, tmp_path: Path) -> None:
    for place in (objects_url, tmp_path / "disk"):
        cache = create_cache(place, "shards")
        folder = cache.add(BICUBIC).as_writer()
        folder = replace(folder, writer="0123abcd")
        cache.keep_catalog("a" * 32, "key,name,label\n")
        with closing(folder.store(writable=True)) as store:
            store.put_many([made_entry(1)])
        folder.note_failure(FAILED)
        folder.write_receipt({"added": 1})

    def plain(found: list[str]) -> list[str]:
        return sorted(name.replace(name[-50:], "") if "receipts/" in name else name for name in found)

    on_disk = [path.relative_to(tmp_path / "disk").as_posix() for path in (tmp_path / "disk").rglob("*")]
    made_here = [name for name in on_disk if (tmp_path / "disk" / name).is_file() and not name.endswith("table.idx")]
    assert plain(list(names(objects_url))) == plain(made_here)


def test_another_machine_sees_everything(objects_url: str, tmp_path: Path) -> None:
    cache = create_cache(objects_url)
    folder = cache.add(BICUBIC).as_writer()
    cache.keep_catalog("a" * 32, "key,name,label\n")
    folder.note_failure(FAILED)
    folder.write_receipt({"added": 1})
    assert cache.place == objects_url
    assert folder.place == f"{objects_url}/{BICUBIC.folder}"
    other = elsewhere(objects_url, tmp_path)
    found = other.find("bicubic")
    assert found.path != folder.path
    assert [receipt["added"] for receipt in found.receipts()] == [1]
    assert found.failures() == {FAILED.name: FAILED}
    assert list(other.catalogs()) == ["a" * 32]
    assert other.size() == cache.size() == sum(info.size for info in object_folder(objects_url).listing().values())
    assert other.size(found.path) < other.size()


def test_training_asks_for_what_it_needs_only(
    objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    cache = create_cache(objects_url)
    cache.keep_catalog("a" * 32, "key,name,label\n")
    cache.add(BICUBIC).as_writer().write_receipt({"added": 1})
    shutil.rmtree(home)
    asked, read = list[str](), ObjectFolder.read
    monkeypatch.setattr(ObjectFolder, "read", lambda *it: (asked.append(it[1]), read(*it))[1])
    folder = find_folder(objects_url, "bicubic")
    assert sorted(asked) == [f"{BICUBIC.folder}/recipe.yaml", "srcache.json"]
    assert folder.receipts() == []
    asked.clear()
    assert len(open_cache(objects_url).find("bicubic").receipts()) == 1
    assert len(asked) == 2, "the catalog and the receipt"
    asked.clear()
    open_cache(objects_url)
    assert asked == [], "everything is here"


def test_what_was_not_uploaded_is_uploaded_by_the_next_process(objects_url: str, tmp_path: Path) -> None:
    """A build was killed after it had noted a failure."""
    folder = create_cache(objects_url).add(BICUBIC).as_writer()
    folder.note_failure(FAILED)
    assert elsewhere(objects_url, tmp_path).find().failures() == {}
    again = open_cache(objects_url)
    assert again.find().failures() == {FAILED.name: FAILED}, "bringing it up to date takes nothing away"
    again.push()
    assert elsewhere(objects_url, tmp_path).find().failures() == {FAILED.name: FAILED}


def test_a_journal_that_grows_is_replaced_below_the_url(objects_url: str, tmp_path: Path) -> None:
    folder = create_cache(objects_url).add(BICUBIC).as_writer()
    for number in range(3):
        folder.note_failure(replace(FAILED, name=f"{number:032d}-000"))
        folder.push()
        open_cache(objects_url)
    assert len(folder.failures()) == 3
    other = elsewhere(objects_url, tmp_path)
    assert len(other.find().failures()) == 3


def test_what_was_deleted_elsewhere_is_deleted_here(objects_url: str, tmp_path: Path) -> None:
    cache = create_cache(objects_url)
    folder = cache.add(BICUBIC).as_writer()
    folder.write_receipt({"added": 1})
    other = elsewhere(objects_url, tmp_path)
    assert other.mirror is not None
    other.mirror.delete(BICUBIC.folder)
    assert other.folders() == []
    assert names(objects_url) == {"srcache.json"}
    assert open_cache(objects_url).paths() == []
    assert not folder.path.exists()


def test_many_machines_make_one_cache(objects_url: str, tmp_path: Path) -> None:
    made = list[Cache]()

    def make(number: int) -> None:
        cache = create_cache(objects_url, spool=tmp_path / f"{number}")
        cache.add(BICUBIC).as_writer().write_receipt({"added": number})
        made.append(cache)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    receipts = open_cache(objects_url).find().receipts()
    assert sorted(receipt["added"] for receipt in receipts) == [0, 1, 2, 3]


def test_what_a_url_is_not_good_for_is_said(objects_url: str) -> None:
    with pytest.raises(CacheError, match="is no srcache cache"):
        open_cache(objects_url)
    assert not is_cache(objects_url)
    with pytest.raises(CacheError, match=r"keeps its images in shards, not in lmdb, which needs a disk"):
        create_cache(objects_url, "lmdb")
    objects = object_folder(objects_url)
    objects.put("a/strange.txt", b"1")
    with pytest.raises(CacheError, match="holds objects, and is no srcache cache"):
        create_cache(objects_url)
    objects.delete(["a/strange.txt"])
    objects.put("srcache.json", json.dumps({"format": 1, "store": "lmdb"}).encode())
    with pytest.raises(CacheError, match=r"keeps its images in lmdb, which cannot be read over a network"):
        open_cache(objects_url)


def test_names_that_lead_out_of_the_mirror_are_not_taken(objects_url: str, home: Path) -> None:
    create_cache(objects_url).add(BICUBIC)
    objects = object_folder(objects_url)
    strange = ["catalogs/b.csv", f"{BICUBIC.folder}/receipts/x y.json", f"{BICUBIC.folder}/lock", ".synced.json"]
    for name in strange:
        objects.put(name, b"1")
    cache = open_cache(objects_url)
    assert [name for name in strange[:3] if (cache.path / name).exists() and name != strange[2]] == []
    assert cache.catalogs() == {}


def test_a_spool_is_for_urls_and_lies_where_it_is_told(objects_url: str, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="leave --spool out"):
        create_cache(tmp_path / "cache", spool=tmp_path / "spool")
    cache = create_cache(objects_url, spool=tmp_path / "spool")
    assert cache.path.is_relative_to(tmp_path / "spool")
    assert mirror_of(objects_url).path != cache.path


def test_a_url_that_is_a_path_or_holds_a_password_is_refused() -> None:
    with pytest.raises(ConfigError, match="pass it as text"):
        open_cache(Path("s3://bucket/cache"))
    with pytest.raises(ConfigError, match="must not hold a password"):
        open_cache("s3://me:secret@bucket/cache")
