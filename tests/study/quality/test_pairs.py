"""Pairs by name and never by order: of folders, of a cache and its catalogs; what does not pair is listed."""

import shutil

import caches
import numpy as np
import pytest
from images import picture
from quality_folders import BASIC, RGB, UP, noisy, save

from srcache.errors import CacheError, CatalogError, DamagedError, ImageError
from srcache.images import resize
from srcache.stores import Entry
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.pairs import Pick, pair_up
from srcache.study.quality.psnr_ssim import measure_image


def _of(recipe: str, **more) -> QualitySettings:
    return QualitySettings(pick=Pick(recipe=recipe, **more))


def test_pairs_are_found_by_name_whatever_suffix_or_order(folders):
    hr, sr = folders
    report = measure_folders(hr, sr, BASIC, RGB)
    assert list(report.rows) == [f"b/{place}" for place in range(2, 10)]
    for name, values in report.rows.items():
        clean = picture(32, 40, 9 - int(name[2:]))
        wanted = measure_image(noisy(clean, 2 + 2 * (9 - int(name[2:]))), clean, RGB)
        assert values == {"psnr": wanted.psnr, "ssim": wanted.ssim}


def test_missing_and_surplus_images_are_listed(folders):
    hr, sr = folders
    (sr / "b/9.png").unlink()
    (sr / "b/8.bmp").rename(sr / "b/eight.bmp")
    with pytest.raises(CatalogError) as caught:
        measure_folders(hr, sr, BASIC, RGB)
    assert f"2 missing in {sr}: b/8, b/9" in str(caught.value)
    assert f"1 surplus, not in {hr}: b/eight" in str(caught.value)


def test_a_dot_that_starts_no_suffix_belongs_to_the_name(tmp_path):
    for name in ("v1.2", "v1.3"):
        save(tmp_path / f"hr/{name}.png", picture(16, 16, 1))
        save(tmp_path / f"sr/{name}.png", picture(16, 16, 2))
    assert list(measure_folders(tmp_path / "hr", tmp_path / "sr", BASIC, RGB).rows) == ["v1.2", "v1.3"]


def test_two_images_of_one_name_are_refused(folders):
    hr, sr = folders
    shutil.copy(sr / "b/9.png", sr / "b/9.webp")
    with pytest.raises(CatalogError, match=r"1 missing in .*: b/9; 2 surplus, .*: b/9\.png, b/9\.webp"):
        measure_folders(hr, sr, BASIC, RGB)
    for folder in (hr, sr):
        for name in ("b/9.jpg.png", "b/9.png.png"):
            shutil.copy(sr / "b/9.png", folder / name)
        for file in folder.glob("b/9.*"):
            if file.name in ("9.png", "9.webp") or file.suffix != ".png":
                file.unlink()
    shutil.move(hr / "b/9.jpg.png", hr / "b/9.jpg")
    shutil.move(hr / "b/9.png.png", hr / "b/9.png")
    rows = measure_folders(hr, sr, BASIC, RGB).rows
    assert {"b/9.jpg", "b/9.png"} <= set(rows), "both have their suffix for a name where that alone tells them apart"


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_a_folder_without_images_is_refused(folders, tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(CatalogError, match=r"none is none|none has none"):
        measure_folders(folders[0], tmp_path / "none", BASIC, RGB)


def test_a_link_that_leads_elsewhere_is_an_image_like_any(folders, tmp_path):
    (folders[1] / "b/far.png").symlink_to(folders[0] / "b/9.png")
    (folders[1] / "b/up").symlink_to(folders[1])
    with pytest.raises(CatalogError, match=r"1 surplus, not in .*hr: b/far$"):
        measure_folders(*folders, BASIC, RGB)


def test_a_recipe_of_a_folder_is_refused(folders):
    with pytest.raises(CacheError, match="no srcache cache"):
        measure_folders(*folders, BASIC, RGB, QualitySettings(pick=Pick(recipe="bicubic")))


def test_one_of_several_samples_is_measured(home):
    found = [measure_folders(home / "photos", home / "cache", BASIC, UP, _of("noisy", sample=n)).rows for n in (0, 1)]
    assert found[0] != found[1]
    from srcache.images import decode

    name = "wörter/letzte"
    for sample in (0, 1):
        stored = decode((home / f"noise/{name}-{sample:03d}.png").read_bytes())
        up = resize(decode((home / f"photos/{name}.png").read_bytes()), stored.shape[:2], "bicubic")
        assert found[sample][name]["psnr"] == measure_image(stored, up, RGB).psnr
    with pytest.raises(CatalogError, match="6 missing"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("noisy", sample=2))


def test_a_cache_with_several_recipes_wants_to_know_which(home):
    with pytest.raises(CacheError, match=r"holds 2 recipes \(bicubic-.*say which .*--recipe"):
        measure_folders(home / "photos", home / "cache", BASIC, UP)
    with pytest.raises(CacheError, match="no recipe 'lanczos'"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("lanczos"))


def test_the_catalog_that_fits_the_references_is_taken(home):
    part = home / "part"
    shutil.copytree(home / "photos/wörter", part / "wörter")
    caches.build(part, home / "cache")
    whole = measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
    some = measure_folders(part, home / "cache", BASIC, UP, _of("bicubic"))
    assert len(whole.rows) == 6
    assert some.rows == {name: row for name, row in whole.rows.items() if name.startswith("wörter/")}


def test_a_folder_within_the_names_is_measured_alone(home):
    settings = _of("bicubic", under="wörter")
    inner = measure_folders(home / "photos/wörter", home / "cache", BASIC, UP, settings)
    plain = measure_folders(home / "photos/wörter", home / "sr", BASIC, UP, QualitySettings(pick=Pick(under="wörter")))
    assert inner.rows == plain.rows
    assert sorted(inner.rows) == ["doppelt", "doppelt nochmal", "letzte", "日本"]


@pytest.mark.medium
def test_catalogs_with_the_same_names_of_other_images_are_not_guessed(home):
    other = home / "other"
    for path in (home / "photos").rglob("*.*"):
        save(other / path.relative_to(home / "photos"), picture(20, 24, len(path.name)))
    caches.build(other, home / "cache")
    with pytest.raises(CacheError, match=r"several catalogs .*--catalog: ") as caught:
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
    first, second = str(caught.value).rpartition(": ")[2].split(", ")
    found = [
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic", catalog=digest[:12])).rows
        for digest in (first, second)
    ]
    assert found[0] == measure_folders(home / "photos", home / "sr", BASIC, UP).rows
    assert found[0] != found[1]
    with pytest.raises(CacheError, match="no catalog zz is known"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic", catalog="zz"))


def test_what_the_cache_lacks_is_missing(home):
    save(home / "photos/wörter/neu.png", picture(20, 24, 77))
    with pytest.raises(CatalogError, match=r"1 missing in .*cache: wörter/neu"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))


def test_a_damaged_entry_is_not_measured(home):
    with caches.opened(home / "cache", writable=True) as store:
        name = next(iter(store.names()))
        record = {**(store.record(name) or {}), "checksum": "0" * 32}
        payload = store.get(name) or b""
        key = next(name for name in (f"{'f' * 32}-000",))
        store.put_many([Entry(key, payload, record)])
    catalog = next((home / "cache/catalogs").glob("*.csv"))
    from hashlib import blake2b

    text = catalog.read_text().replace(name[:32], "f" * 32)
    (catalog.parent / f"{blake2b(text.encode(), digest_size=16).hexdigest()}.csv").write_text(text)
    for receipt in (caches.home(home / "cache") / "receipts").iterdir():
        receipt.unlink()
    catalog.unlink()
    with pytest.raises(DamagedError, match="is not what was written"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))


def test_images_are_read_only_when_they_are_called_for(folders):
    hr, sr = folders
    (sr / "b/9.png").write_bytes(b"no image")
    (sr / "b/7.png").unlink()
    (sr / "b/7.png").symlink_to("9.png")
    found = pair_up(hr, sr, Pick())
    assert (found.recipe, [pair.name for pair in found.pairs]) == (None, [f"b/{place}" for place in range(2, 10)])
    assert np.array_equal(found.pairs[-1].reference(), picture(32, 40, 0))
    with pytest.raises(ImageError) as caught:
        found.pairs[-1].image()
    assert caught.value.reason == "unreadable"
