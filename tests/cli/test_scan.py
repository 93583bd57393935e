"""`srcache scan`: a catalog that other commands take, its document, and what it refuses."""

import json
from pathlib import Path

import pytest

from srcache.catalog import hashing
from srcache.catalog.scanning import scan


def test_what_scan_prints(home, srcache):
    printed = srcache("scan", "photos", "--out", "catalog.csv")
    assert (printed.code, printed.err) == (0, "")
    digest = scan("photos").digest
    assert printed.out.splitlines() == [f"catalog.csv: catalog {digest[:8]}", "images   4", "classes  1"]
    again = srcache("scan", "photos", "--out", "catalog.csv")
    assert "images   4  as the catalog has them already" in again.out


def test_a_build_and_a_training_take_it_without_hashing(home, srcache, monkeypatch):
    assert srcache("scan", "one", "--out", "catalog.csv").code == 0
    monkeypatch.setattr(hashing, "file_key", None)
    printed = srcache("build", "catalog.csv", "--cache", "cache", "--recipe", "lanczos", "--set", "scale=2")
    assert printed.code == 0
    assert "nothing to do" in printed.out
    printed = srcache("info", "cache")
    assert f"covers   all 1 image of catalog {scan('catalog.csv').digest[:8]}" in printed.out


def test_what_could_not_be_scanned_is_listed(home, srcache):
    Path("photos/größe 1/anders.png").symlink_to("nothing")
    printed = srcache("scan", "photos", "--out", "catalog.csv")
    assert printed.code == 1
    assert "not catalogued  1  files that could not be read or are outside the folder" in printed.out
    assert printed.err.startswith("  unreadable: größe 1/anders.png: it cannot be read (No such file")
    printed = srcache("scan", "photos", "--out", "catalog.csv", "--json")
    found = json.loads(printed.out)
    assert (printed.code, found["ok"], found["result"]["images"], found["result"]["changed"]) == (1, False, 4, False)
    assert [failed["reason"] for failed in found["failures"]] == ["unreadable"]
    assert srcache("build", "catalog.csv", "--cache", "new", "--recipe", "bicubic").err.count("anders") == 0


def test_a_scanned_catalog_is_brought_up_to_date(home, srcache):
    srcache("scan", "one", "--out", "catalog.csv")
    before = scan("catalog.csv")
    Path("one/größe 1/bild 0.ppm").write_bytes(b"P6 1 1 255\nabc")
    assert scan("catalog.csv").digest == before.digest, "it says what was there when it was scanned"
    printed = srcache("build", "catalog.csv", "--cache", "new", "--recipe", "bicubic", "--device", "cpu")
    assert printed.code == 1
    assert "changed: größe 1/bild 0.ppm: größe 1/bild 0.ppm is not what was catalogued" in printed.err
    assert srcache("scan", "catalog.csv", "--out", "catalog.csv").code == 0
    assert scan("catalog.csv").digest == scan("one").digest != before.digest
    printed = srcache("build", "catalog.csv", "--cache", "new", "--recipe", "bicubic", "--device", "cpu")
    assert printed.code == 0


def test_build_hashes_the_files_of_a_catalog_if_told(home, srcache):
    srcache("scan", "one", "--out", "catalog.csv")
    Path("one/größe 1/bild 0.ppm").write_bytes(b"P6 1 1 255\nabc")
    words = ["build", "catalog.csv", "--cache", "new", "--recipe", "bicubic", "--device", "cpu", "--rehash"]
    assert srcache(*words).code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("missing --out catalog.csv", "Path 'missing' does not exist"),
        ("photos", "Missing option '--out'"),
        ("photos --out catalog", "a catalog's name ends in .csv, but got catalog"),
        ("photos --out one", "a catalog's name ends in .csv, but got one"),
        ("photos --out mine.csv", "mine.csv is there and is no scanned catalog; choose another name"),
        ("one/empty --out catalog.csv", "has none; 0 other files lie there"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    Path("mine.csv").write_text("name,grade\nme,1\n")
    Path("one/empty").mkdir()
    refuse(f"scan {line}", message)


def test_nothing_is_hashed_before_a_refusal(home, srcache, monkeypatch):
    Path("mine.csv").write_text("name,grade\nme,1\n")
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "file_key", None)
        assert srcache("scan", "photos", "--out", "mine.csv", "--rehash").code == 2
    assert srcache("scan", "photos", "--out", "mine.csv", "--force").code == 0
    assert scan("mine.csv").digest == scan("photos").digest


def test_every_file_is_hashed_again_if_told(home, srcache, monkeypatch):
    seen = []
    key = hashing.file_key
    monkeypatch.setattr(hashing, "file_key", lambda path: (seen.append(path.name), key(path))[1])
    srcache("scan", "one", "--out", "catalog.csv", "--rehash")
    srcache("scan", "one", "--out", "catalog.csv", "--rehash")
    assert seen == ["bild 0.ppm"] * 2


def test_a_link_that_leads_back_is_told_and_loses_nothing(home, srcache):
    Path("one/up").symlink_to(".")
    printed = srcache("scan", "one", "--out", "catalog.csv")
    assert (printed.code, printed.err) == (0, "  loop: up: a link to a folder that it lies in is not followed\n")
    assert json.loads(srcache("scan", "one", "--out", "catalog.csv", "--json").out)["ok"]
    Path("one/up").unlink()
