"""info, verify and prune: what they tell of whole caches, and of caches damaged in every way that we know."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import caches
import lmdb
import pytest

from srcache.cache.manifest import create_cache, open_cache
from srcache.cache.receipts import asked_for, read_kept
from srcache.catalog.scanning import scan
from srcache.errors import BusyError, CacheError, DamagedError, MachineError
from srcache.keys import image_key
from srcache.maintain import check_process as checks
from srcache.maintain.info import Coverage, info
from srcache.maintain.prune import prune
from srcache.maintain.verify import verify
from srcache.recipe.reading import load_recipe
from srcache.stores import Entry


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return caches.build_two(tmp_path_factory.mktemp("built"))


@pytest.fixture
def cache(built, tmp_path) -> Path:
    """A cache of its own for each test: `bicubic` with 5 images, `noisy` with 2 samples of each, a file that failed."""
    return Path(shutil.copytree(built / "cache", tmp_path / "cache"))


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


# info


def test_info_tells_what_is_there(cache):
    found = info(cache)
    bicubic, noisy = found.recipes
    assert (found.store, found.damaged) == ("lmdb", ())
    assert (bicubic.folder, bicubic.recipe["scale"]) == ("bicubic-acbb464ab9619f0b", 2)
    assert (bicubic.entries, bicubic.images, bicubic.samples, bicubic.codec) == (5, 5, 1, "qoi")
    assert (noisy.entries, noisy.images, noisy.samples) == (10, 5, 2)
    assert bicubic.failed == {"empty": 1}
    assert noisy.failed == {"empty": 2}
    assert bicubic.bytes == sum(len(data) for data in _tree(cache / bicubic.folder).values())
    assert found.bytes == sum(len(data) for data in _tree(cache).values())


def test_info_tells_how_much_of_each_catalog_is_covered(cache, tmp_path):
    [digest] = open_cache(cache).catalogs()
    assert info(cache).recipes[1].catalogs == (Coverage(digest=digest, images=6, covered=5),)
    more = caches.make_photos(tmp_path / "photos")
    (more / "wörter/leer.png").unlink()
    (more / "wörter/doppelt.png").rename(more / "wörter/neu.png")
    report = caches.build(more, cache)
    assert report.added == 0
    by_digest = {one.digest: (one.covered, one.images) for one in info(cache).recipes[0].catalogs}
    assert by_digest == {digest: (5, 6), scan(more).digest: (5, 5)}
    assert len(info(cache).recipes[1].catalogs) == 2, "the other recipe has these images, too"


def test_info_tells_of_every_run(cache, built):
    [run] = info(cache).recipes[0].runs
    assert (run.added, run.failed, run.device, run.interrupted) == (5, 1, "cpu", False)
    assert run.seconds > 0
    assert run.ended[:2] == "20"
    assert run.ended[-1] == "Z"
    caches.build(built / "photos", cache)
    assert len(info(cache).recipes[0].runs) == 1, "a run that did nothing new leaves no receipt"


def test_a_failure_that_was_mended_since_is_none(cache):
    key = image_key(b"")
    _put(cache, Entry(f"{key}-000", b"x", {}))
    assert info(cache).recipes[0].failed == {}


def test_info_of_a_cache_in_which_nothing_wasbuilt(tmp_path):
    made = create_cache(tmp_path / "cache")
    assert info(made.path).recipes == ()
    made.add(load_recipe("bicubic"))
    [recipe] = info(made.path).recipes
    assert (recipe.entries, recipe.codec, recipe.runs) == (0, None, ())
    assert verify(made.path).ok


def test_info_shows_the_rest_of_a_damaged_cache(cache):
    (caches.only(cache).path / "recipe.yaml").write_text("scale: 3\n")
    next((cache / "catalogs").iterdir()).write_text("key\n")
    found = info(cache)
    assert [recipe.folder for recipe in found.recipes] == [caches.home(cache, "noisy").name]
    assert [finding.reason for finding in found.damaged] == ["damaged"] * 2
    assert found.recipes[0].catalogs == ()


def test_what_is_no_cache_is_told(tmp_path):
    for act in (info, verify, prune):
        with pytest.raises(CacheError, match="no srcache cache"):
            act(tmp_path)


# verify


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


def test_one_recipe_can_be_checked_alone(cache):
    (caches.home(cache, "noisy") / "recipe.yaml").unlink()
    assert verify(cache, "bicubic").ok
    assert verify(cache, "bicubic").recipes == (caches.home(cache).name,)
    assert not verify(cache).ok
    with pytest.raises(CacheError, match="holds no recipe 'lanczos'; it holds: bicubic-"):
        verify(cache, "lanczos")


@pytest.mark.parametrize("share", [0.9, 0.3, 0.0001])
def test_a_store_that_is_cut_off_is_damage(cache, share):
    data = caches.only(cache).store_path / "data.mdb"
    os.truncate(data, int(share * data.stat().st_size))
    report = verify(cache)
    [finding] = report.findings
    assert (finding.source, finding.reason) == (f"{caches.home(cache).name}/data.lmdb", "damaged")
    assert "cut off" in finding.detail or "does not read" in finding.detail
    assert report.entries == 10, "the other recipe is checked all the same"


def test_a_reader_that_dies_is_a_finding(cache):
    folder = caches.only(cache)
    data = folder.store_path / "data.mdb"
    size = data.stat().st_size
    os.truncate(data, 4096 * 2)
    os.truncate(data, size)
    report = verify(cache, "bicubic")
    assert not report.ok
    assert set(_reasons(report)) <= {"damaged", "crash"}


def test_a_blank_page_that_makes_the_reader_fail_an_assertion_is_a_finding(cache):
    _put(cache, *(Entry(f"{image_key(bytes([n]))}-000", bytes(900), {"pad": "x" * 900}) for n in range(200)))
    first = min(caches.contents(cache)).encode()
    data = caches.only(cache).store_path / "data.mdb"
    pages = bytearray(data.read_bytes())
    for start in range(8192, len(pages), 4096):
        page = pages[start : start + 4096]
        if page[10:12] == b"\x02\x00" and b"-000" in page and first not in page:
            pages[start : start + 4096] = bytes(4096)
    data.write_bytes(pages)
    report = verify(cache)
    assert [(one.source, one.reason) for one in report.findings] == [(f"{caches.home(cache).name}/data.lmdb", "crash")]
    assert "SIGABRT" in report.findings[0].detail
    assert report.entries == 10, "the other recipe is checked all the same"


@pytest.mark.parametrize("kind", ["SIGBUS", "SIGSEGV", "SIGABRT"])
def test_a_signal_that_broken_memory_raises_is_a_finding(cache, kind, monkeypatch):
    code = f"import json, os, signal; print(json.dumps(['at', 3, 99]), flush=True); os.kill(os.getpid(), signal.{kind})"
    _run_instead(monkeypatch, code)
    report = verify(cache, "bicubic")
    assert [(one.reason, kind in one.detail, "after 3 entries" in one.detail) for one in report.findings] == [
        ("crash", True, True)
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import sys; sys.exit('MemoryError: no more')",
        "",
        "import json; print(json.dumps(['machine', 'MemoryError: no more']))",
    ],
    ids=["killed", "broken", "mute", "told"],
)
def test_what_is_not_the_stores_fault_is_no_damage(cache, code, monkeypatch):
    _run_instead(monkeypatch, code)
    with pytest.raises(MachineError, match=r"no more|ended early"):
        verify(cache, "bicubic")


def _run_instead(monkeypatch, code):
    start = subprocess.Popen

    def other(command, **named):
        return start([*command[:1], "-c", code], **named)

    monkeypatch.setattr(checks.subprocess, "Popen", other)


def test_an_interrupted_check_leaves_no_process(cache, monkeypatch):
    started = []
    start = checks._started
    monkeypatch.setattr(checks, "_started", lambda *given: started.append(start(*given)) or started[-1])

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(cache, progress=interrupt)
    assert started[0].poll() is not None


KEY = image_key(b"somebody")


def _record(payload, **changes):
    return {"key": KEY, "sample": 0, "size": [2, 3], "checksum": image_key(payload), **changes}


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


def test_an_image_above_the_pixel_limit_is_no_damage(cache, monkeypatch):
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "100")
    assert verify(cache).ok


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


def test_one_changed_byte_of_an_image_is_found(cache):
    name, payload = min(caches.contents(cache).items())
    _replace(cache, b"images", name, payload[:40] + bytes([payload[40] ^ 1]) + payload[41:])
    [finding] = verify(cache).findings
    assert (finding.name, finding.reason) == (name, "checksum")


def test_tables_that_do_not_agree_are_found(cache):
    _replace(cache, b"records", f"{KEY}-000", json.dumps(_record(b"")).encode())
    report = verify(cache, "bicubic")
    assert sorted(_reasons(report)) == ["counts", "no_payload"]
    assert "there are 5 images, but 6 records" in next(one.detail for one in report.findings if one.reason == "counts")


def test_aliases_that_lead_nowhere_are_found(cache):
    bad = {"word": KEY.encode(), KEY: b"word", image_key(b"0"): image_key(b"nobody").encode()}
    for alias, meaning in bad.items():
        _replace(cache, b"aliases", alias, meaning)
    findings = verify(cache, "bicubic").findings
    assert {one.name: one.reason for one in findings} == dict.fromkeys(bad, "bad_alias")


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


def test_a_store_that_is_gone_is_found(cache):
    shutil.rmtree(caches.only(cache).store_path)
    report = verify(cache)
    assert [(one.source, "it is gone" in one.detail) for one in report.findings] == [
        (f"{caches.home(cache).name}/data.lmdb", True)
    ]
    assert report.absent == 6 + 2


def test_a_recipe_that_is_gone_is_found(cache):
    (caches.home(cache) / "recipe.yaml").unlink()
    assert [one.source for one in verify(cache).findings] == [f"{caches.home(cache).name}/recipe.yaml"]


def test_a_store_that_was_not_begun_is_whole(cache, tmp_path):
    home = caches.home(cache)
    shutil.rmtree(home / "receipts")
    (home / "data.lmdb/data.mdb").write_bytes(b"")
    report = verify(cache, "bicubic")
    assert report.ok
    assert report.entries == 0


# kept


def test_kept_catalogs_are_checked_against_their_digest(cache, tmp_path):
    [path] = (cache / "catalogs").iterdir()
    kept = read_kept(path)
    assert [row.name for row in kept.rows] == sorted(row.name for row in kept.rows)
    assert {row.label for row in kept.rows} == {"Möwen & Co", "wörter"}
    assert len(kept.keys) == len(kept.rows) - 1
    assert (
        path.stem
        == subprocess.run(["b2sum", "-l", "128", str(path)], capture_output=True, text=True, check=True).stdout.split()[
            0
        ]
    )


def test_the_catalog_asked_for_last_comes_last(cache):
    folder = caches.only(cache)
    fields = {"added": 0, "failed": {}, "seconds": 0, "device": None, "interrupted": False}
    for digest, samples in (("b", 1), ("a", 3), ("b", 2), ("a", 1), ("b", 1)):
        folder.write_receipt({"catalog": digest, "samples": samples, **fields})
    assert list(asked_for(folder.path).items())[1:] == [("a", 3), ("b", 2)]


# prune


def test_prune_only_tells_what_would_go_unless_it_is_told_to(cache):
    before = _tree(cache)
    report = prune(cache, ["bicubic"])
    assert _tree(cache) == before
    assert (report.removed, report.done) == ((caches.home(cache).name,), False)
    assert report.bytes == info(cache).recipes[0].bytes


def test_a_pruned_recipe_is_gone_and_the_others_stay(cache):
    others = {name: data for name, data in _tree(cache).items() if "bicubic" not in name and "lock" not in name}
    report = prune(cache, ["acbb464ab9619f0b", "bicubic"], yes=True)
    assert report.done
    assert [recipe.folder for recipe in info(cache).recipes] == [caches.home(cache, "noisy").name]
    assert _tree(cache).items() >= others.items()
    assert verify(cache).ok


def test_what_was_pruned_can_bebuilt_again_in_the_same_process(cache, built):
    before = caches.contents(cache)
    with caches.opened(cache, writable=True):
        prune(cache, ["bicubic"], yes=True)
    assert caches.build(built / "photos", cache).added == 5
    assert caches.contents(cache) == before


def test_catalogs_go_when_no_recipe_needs_them(cache, tmp_path):
    [needed] = open_cache(cache).catalogs()
    more = caches.make_photos(tmp_path / "photos")
    shutil.rmtree(more / "wörter")
    caches.build(more, cache, "small")
    other = scan(more).digest
    assert prune(cache, catalogs=True).removed == ()
    assert prune(cache, ["small"], catalogs=True).removed == (caches.home(cache, "small").name,), (
        "bicubic has its images"
    )
    with_all = prune(cache, ["small", "bicubic", "noisy"], catalogs=True, yes=True)
    assert set(with_all.removed[3:]) == {f"catalogs/{needed}.csv", f"catalogs/{other}.csv"}
    assert list((cache / "catalogs").iterdir()) == []


def test_a_recipe_that_cannot_be_read_can_be_pruned(cache):
    home = caches.home(cache)
    (home / "recipe.yaml").write_bytes(b"\xff")
    prune(cache, [home.name], yes=True)
    assert not home.exists()
    (caches.home(cache, "noisy") / "recipe.yaml").unlink()
    prune(cache, ["noisy"], yes=True)
    assert info(cache).recipes == ()
    assert verify(cache).ok


def test_a_recipe_that_is_being_filled_is_not_pruned(cache):
    with caches.only(cache).lock(), pytest.raises(BusyError, match="being filled"):
        prune(cache, ["bicubic"], yes=True)
    assert verify(cache).ok


def test_a_recipe_must_be_named_well(cache, built):
    with pytest.raises(CacheError, match="holds no recipe 'lanczos'; it holds: bicubic-acbb464ab9619f0b, noisy-"):
        prune(cache, ["bicubic", "lanczos"], yes=True)
    (cache / "bicubic-0123456789abcdef").mkdir()
    (cache / "bicubic-0123456789abcdef/recipe.yaml").touch()
    with pytest.raises(CacheError, match="holds several recipes named 'bicubic'; say which by fingerprint"):
        prune(cache, ["bicubic"], yes=True)
    assert caches.home(cache, "acbb464ab9619f0b").exists()


def test_what_a_killed_prune_left_goes_with_the_next(cache):
    home = caches.home(cache)
    home.rename(cache / f".pruned-{home.name}-1234")
    assert [recipe.folder for recipe in info(cache).recipes] == [caches.home(cache, "noisy").name]
    prune(cache, catalogs=True, yes=True)
    assert not list(cache.glob(".pruned-*"))
