"""export: files for everybody, pixel for pixel what is stored, under names that nobody has to fear."""

import io
import json
import re
import shutil
from pathlib import Path

import caches
import numpy as np
import pytest
from PIL import Image

from srcache.cache.manifest import is_cache, open_cache
from srcache.cache.receipts import KeptCatalog, KeptRow
from srcache.catalog.names import stem_of
from srcache.errors import BusyError, CacheError, ChecksumError
from srcache.images import as_file, decode, encode
from srcache.keys import file_key, image_key
from srcache.maintain.export import export, export_cache
from srcache.maintain.verify import verify
from srcache.stores import Entry


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    photos = caches.make_photos(folder / "photos")
    for name, samples in (("bicubic", 1), ("small", 1), ("noisy", 2)):
        caches.build(photos, folder / "cache", name, samples)
    return folder


@pytest.fixture
def cache(home) -> Path:
    return home / "cache"


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _lines(folder):
    return [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def test_files_are_called_by_key_and_hold_the_stored_pixels(cache, tmp_path):
    seen = []
    report = export(cache, tmp_path / "out", "bicubic", progress=lambda *at: seen.append(at))
    stored, files = caches.contents(cache), _files(tmp_path / "out")
    assert set(files) == {"records.jsonl", *(f"{name}.png" for name in stored)}
    for name, payload in stored.items():
        opened = Image.open(io.BytesIO(files[f"{name}.png"]))
        assert opened.format == "PNG"
        assert np.array_equal(np.asarray(opened), decode(payload))
    assert (report.files, report.absent, report.recipe) == (5, (), caches.home(cache).name)
    assert report.bytes == sum(len(data) for name, data in files.items() if name != "records.jsonl")
    assert seen[-1] == (5, 5)


def test_records_lie_beside_the_files(cache, tmp_path):
    export(cache, tmp_path, "noisy")
    with caches.opened(cache, "noisy") as store:
        expected = [
            {"file": f"{name}.png", "key": name[:32], "sample": int(name[33:]), "record": store.record(name)}
            for name in store.names()
        ]
    assert _lines(tmp_path) == expected


def test_lossy_images_are_copied_byte_for_byte(cache, tmp_path):
    export(cache, tmp_path / "out", "small")
    stored = caches.contents(cache, "small")
    assert _files(tmp_path / "out").items() >= {f"{name}.jpg": payload for name, payload in stored.items()}.items()


def test_names_are_those_of_the_source_images(cache, home, tmp_path):
    report = export(cache, tmp_path, "bicubic", names=True)
    assert set(_files(tmp_path)) == {
        "records.jsonl",
        "Möwen & Co/erste möwe.png",
        "Möwen & Co/v1.2 final.png",
        "wörter/日本.png",
        "wörter/doppelt.png",
        "wörter/doppelt nochmal.png",
        "wörter/letzte.png",
    }
    assert report.absent == ("wörter/leer.png",)
    assert (tmp_path / "wörter/doppelt.png").read_bytes() == (tmp_path / "wörter/doppelt nochmal.png").read_bytes()
    key = file_key(home / "photos/wörter/日本.webp")
    pixels = decode(caches.contents(cache)[f"{key}-000"])
    assert np.array_equal(decode((tmp_path / "wörter/日本.png").read_bytes()), pixels)
    assert [line["key"] for line in _lines(tmp_path) if line["file"] == "wörter/日本.png"] == [key]


def test_samples_are_numbered(cache, tmp_path):
    report = export(cache, tmp_path, "noisy", names=True)
    names = sorted(name for name in _files(tmp_path) if name.startswith("Möwen"))
    assert names == [f"Möwen & Co/{stem}-{n:03d}.png" for stem in ("erste möwe", "v1.2 final") for n in (0, 1)]
    assert report.files == 12


def test_names_are_those_of_the_last_build(home, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    photos = caches.make_photos(tmp_path / "photos")
    shutil.rmtree(photos / "Möwen & Co")
    (photos / "wörter/letzte.png").rename(photos / "wörter/neu.v2")
    (photos / "wörter/neu.v2").rename(photos / "wörter/neu.v2.png")
    caches.build(photos, cache)
    export(cache, tmp_path / "out", "bicubic", names=True)
    assert set(_files(tmp_path / "out")) == {
        "records.jsonl",
        "wörter/日本.png",
        "wörter/doppelt.png",
        "wörter/doppelt nochmal.png",
        "wörter/neu.v2.png",
    }


def test_names_without_a_receipt_are_those_of_the_only_catalog(home, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    shutil.rmtree(caches.home(cache) / "receipts")
    assert export(cache, tmp_path / "out", "bicubic", names=True).files == 6
    open_cache(cache).keep_catalog(image_key(b"key,name,label\n"), "key,name,label\n")
    with pytest.raises(CacheError, match=r"no catalog is known that .* run the same `build` again first"):
        export(cache, tmp_path / "other", "bicubic", names=True)


def test_names_that_differ_in_the_suffix_alone_keep_it(cache, tmp_path, monkeypatch):
    key = next(iter(caches.contents(cache)))[:32]
    rows = tuple(KeptRow(key, name, "") for name in ("a/cat.jpg", "a/cat.png", "dog.png"))
    monkeypatch.setattr("srcache.maintain.export.chosen_catalog", lambda *_: KeptCatalog("0" * 32, rows))
    export(cache, tmp_path / "out", "bicubic", names=True)
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert files == ["a/cat.jpg.png", "a/cat.png.png", "dog.png"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a/x.jpg", "a/x.png", "a/x.png.png"], r"written to one file: a/x\.png \(with \.png\)"),
        (["../../evil.png"], r"names below the folder, but the catalog has: \.\./\.\./evil"),
        (["/etc/evil.png"], "names below the folder, but the catalog has: /etc/evil"),
        (["a/../../evil.png"], "names below the folder"),
        (["a.jpg", "a.png/b.jpg"], "written to one file: a "),
        (["records.jsonl/b.jpg"], r"written to one file: records\.jsonl"),
        (["ü" * 127 + ".x.png"], "longer than 255 bytes cannot be written"),
        (["a\0b.png"], "names below the folder"),
    ],
)
def test_names_that_no_folder_can_hold_are_refused_before_anything_is_written(
    cache, tmp_path, monkeypatch, rows, message
):
    key = next(iter(caches.contents(cache)))[:32]
    catalog = KeptCatalog("0" * 32, tuple(KeptRow(key, name, "") for name in rows))
    monkeypatch.setattr("srcache.maintain.export.chosen_catalog", lambda *_: catalog)
    with pytest.raises(CacheError, match=message):
        export(cache, tmp_path / "out", "bicubic", names=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("cat.png", "cat"),
        ("a/b.v2.JPEG", "a/b.v2"),
        ("00000012", "00000012"),
        ("scan 1.5", "scan 1.5"),
        ("a.d/b", "a.d/b"),
        (".png", ".png"),
        ("a/.png", "a/.png"),
    ],
)
def test_only_an_image_suffix_is_taken_off(name, stem):
    assert stem_of(name) == stem


def test_a_stored_image_becomes_a_file_that_everybody_opens(make_image):
    pixels = make_image(9, 7)
    for codec, suffix in (("qoi", ".png"), ("png", ".png"), ("jpeg:90", ".jpg"), ("webp:80", ".webp")):
        payload = encode(pixels, codec)
        found, data = as_file(payload)
        assert found == suffix
        assert np.array_equal(decode(data), decode(payload))
        assert data == payload or codec == "qoi"


def test_the_destination_must_be_new_or_empty(cache, tmp_path):
    (tmp_path / "empty").mkdir()
    assert export(cache, tmp_path / "empty", "bicubic").files == 5
    (tmp_path / "file").touch()
    for taken in ("empty", "file"):
        with pytest.raises(CacheError, match="exists and is not empty; choose a new or an empty folder"):
            export(cache, tmp_path / taken, "bicubic")
    for inside in (cache, cache / "deep/er", cache / "../cache/x"):
        with pytest.raises(CacheError, match="lies in the cache; export to another place"):
            export(cache, inside, "bicubic")


def _stop_after(files):
    """A listener that ends an export after so many files."""

    def show(done, _total):
        if done >= files:
            raise KeyboardInterrupt

    return show


@pytest.mark.parametrize("names", [False, True])
def test_an_export_that_was_stopped_is_completed_by_the_same_call_alone(cache, tmp_path, names):
    whole = export(cache, tmp_path / "whole", "bicubic", names=names)
    with pytest.raises(KeyboardInterrupt):
        export(cache, tmp_path / "out", "bicubic", names=names, progress=_stop_after(1))
    (tmp_path / "out/.0123456789abcdef-01234567.part").write_bytes(b"half")
    for other in ({"recipe": "small", "names": names}, {"recipe": "bicubic", "names": not names}):
        with pytest.raises(CacheError, match="exists and is not empty"):
            export(cache, tmp_path / "out", **other)
    assert export(cache, tmp_path / "out", "bicubic", names=names).files == whole.files
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    with pytest.raises(CacheError, match="exists and is not empty"):
        export(cache, tmp_path / "out", "bicubic", names=names)


def test_a_second_export_into_a_folder_is_kept_out(cache, tmp_path):
    refused = []

    def second(_done, _total):
        with pytest.raises(BusyError, match="out is being exported into by process"):
            export(cache, tmp_path / "out", "bicubic")
        refused.append(True)

    assert export(cache, tmp_path / "out", "bicubic", progress=second).files == 5
    assert refused


def test_a_cache_whose_export_was_stopped_is_completed(cache, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export_cache(cache, tmp_path / "out", "bicubic", kind="lmdb", progress=_stop_after(1))
    assert is_cache(tmp_path / "out")
    with pytest.raises(CacheError, match="is a cache; choose"):
        export_cache(cache, tmp_path / "out", "small", kind="lmdb")
    (done,) = export_cache(cache, tmp_path / "out", "bicubic", kind="lmdb").recipes
    assert done.entries == 5
    with pytest.raises(CacheError, match="is a cache; choose"):
        export_cache(cache, tmp_path / "out", "bicubic", kind="lmdb")


def test_mistakes_are_told(cache, tmp_path):
    with pytest.raises(CacheError, match=r"holds 3 recipes \(bicubic-.*noisy-"):
        export(cache, tmp_path)
    with pytest.raises(CacheError, match="no srcache cache"):
        export(tmp_path, tmp_path / "out")


def test_an_only_recipe_need_not_be_named(home, tmp_path):
    caches.build(home / "photos", tmp_path / "cache")
    assert export(tmp_path / "cache", tmp_path / "out").files == 5
    shutil.rmtree(caches.only(tmp_path / "cache").store_path)
    with pytest.raises(CacheError, match="holds no images yet"):
        export(tmp_path / "cache", tmp_path / "other")


def test_a_damaged_image_is_never_exported(home, tmp_path):
    cache, key = Path(shutil.copytree(home / "cache", tmp_path / "cache")), image_key(b"somebody")
    with caches.opened(cache, writable=True) as store:
        store.put_many([Entry(f"{key}-000", b"x", {"key": key, "sample": 0, "checksum": image_key(b"y")})])
    with pytest.raises(ChecksumError, match=rf"{key}-000 in {cache}/.* \(BLAKE2b\); run `srcache repair`, which drops"):
        export(cache, tmp_path / "out", "bicubic")
    assert not list((tmp_path / "out").glob(f"{key}*"))
    assert not list((tmp_path / "out").glob(".*.part")), "no half files"


@pytest.mark.parametrize("kind", ["lmdb", "shards"])
def test_a_cache_of_another_kind_is_complete(cache, home, tmp_path, kind):
    report = export_cache(cache, tmp_path / "out", "bicubic", kind=kind)
    (one,) = report.recipes
    assert (one.folder, one.added, one.failed) == (caches.home(cache).name, 5, {})
    assert [folder.path.name for folder in open_cache(tmp_path / "out").folders()] == [one.folder]
    assert caches.pixels(tmp_path / "out") == caches.pixels(cache)
    assert verify(tmp_path / "out").ok
    again = caches.build(home / "photos", tmp_path / "out")
    assert (again.stored, again.added) == (5, 0), "build finds everything done"


def test_a_cache_has_shards_of_a_size(cache, tmp_path):
    export_cache(cache, tmp_path / "out", "bicubic", kind="shards", shard_bytes=4000)
    shards = list(caches.only(tmp_path / "out").store_path.glob("*.tar"))
    assert len(shards) > 1


def test_a_cache_goes_only_into_a_new_place(cache, tmp_path):
    export_cache(cache, tmp_path / "out", "bicubic", kind="lmdb")
    line = f"srcache merge {cache} --into {tmp_path / 'out'} --recipe {caches.home(cache).name}"
    with pytest.raises(CacheError, match=re.escape(line)):
        export_cache(cache, tmp_path / "out", "bicubic", kind="lmdb")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(CacheError, match="exists and is not empty"):
        export_cache(cache, tmp_path / "full", "bicubic", kind="lmdb")
    with pytest.raises(CacheError, match="lies in the cache"):
        export_cache(cache, cache / "out", "bicubic", kind="lmdb")
    with pytest.raises(CacheError, match="holds 3 recipes"):
        export_cache(cache, tmp_path / "new", kind="lmdb")


def test_names_may_be_those_of_an_earlier_catalog(home, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    (digest,) = open_cache(cache).catalogs()
    shutil.copytree(home / "photos/wörter", tmp_path / "few")
    caches.build(tmp_path / "few", cache)
    assert export(cache, tmp_path / "last", "bicubic", names=True).files == 4
    assert export(cache, tmp_path / "first", "bicubic", names=True, catalog=digest[:8]).files == 6
