"""A catalog as a value: its CSV text and digest are frozen, and its images are loaded and checked."""

import csv
import io
import os
import pickle
import shutil
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from image_trees import tree, write

from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import scan
from srcache.errors import ImageError
from srcache.keys import image_key


def test_an_empty_file_is_catalogued_and_fails_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    catalog = scan(tmp_path)
    assert catalog.rows[0].key == image_key(b"")
    with pytest.raises(ImageError) as caught:
        catalog.load(0)
    assert caught.value.reason == "empty"


def test_a_file_that_vanishes_before_it_is_loaded(photos: Path) -> None:
    catalog = scan(photos)
    (photos / "bark/bark0.png").unlink()
    with pytest.raises(ImageError) as caught:
        catalog.load(0)
    assert caught.value.reason == "unreadable"


def test_a_file_that_changed_is_reported_if_asked(photos: Path) -> None:
    catalog = scan(photos)
    shutil.copy(photos / "moss/moss0.png", photos / "bark/bark0.png")
    assert catalog.load(0).rgb.shape == (24, 32, 3)
    with pytest.raises(ImageError, match=r"bark/bark0\.png is not what was catalogued") as caught:
        catalog.load(0, check=True)
    assert caught.value.reason == "changed"


def test_csv_text_is_frozen(tmp_path: Path) -> None:
    write(tmp_path / "a/1.png", b"one")
    write(tmp_path / 'a/"2",\n.png', b"two")
    catalog = scan(tmp_path)
    one, two = (blake2b(data, digest_size=16).hexdigest() for data in (b"one", b"two"))
    expected = f'key,name,label\n{two},"a/""2"",\n.png",a\n{one},a/1.png,a\n'
    assert catalog.to_csv() == expected, "caches keep this text"
    assert catalog.digest == blake2b(expected.encode(), digest_size=16).hexdigest()
    assert catalog.digest == "36de20a308fac04959e236106103b964", "caches name their catalogs by it"


def test_the_csv_text_reads_back_with_a_csv_reader(photos: Path) -> None:
    catalog = scan(photos)
    read = list(csv.DictReader(io.StringIO(catalog.to_csv(), newline="")))
    assert [(r["key"], r["name"], r["label"]) for r in read] == [(r.key, r.name, r.label) for r in catalog.rows]


def test_the_digest_is_of_names_labels_and_bytes_not_of_places(photos: Path, tmp_path: Path) -> None:
    before = scan(photos).digest
    moved = shutil.move(photos, tmp_path / "moved")
    assert scan(moved).digest == before
    os.rename(moved / "moss", moved / "lichen")
    assert scan(moved).digest != before


def test_a_catalog_is_pickled_and_compared(photos: Path) -> None:
    catalog = scan(photos)
    back = pickle.loads(pickle.dumps(catalog))
    assert back == catalog
    np.testing.assert_array_equal(back.load(3).rgb, catalog.load(3).rgb)


def test_a_row_without_a_file_says_so() -> None:
    catalog = Catalog(rows=(Row(image_key(b""), "a.png", None, None),))
    with pytest.raises(ImageError, match=r"a\.png has no file"):
        catalog.load(0)


def test_a_name_with_a_carriage_return_is_one_row(tmp_path: Path) -> None:
    name = "a\rb/1\r\n.png"
    write(tmp_path / name, b"one")
    write(tmp_path / "b/2.png", b"two")
    catalog = scan(tmp_path)
    read = list(csv.reader(io.StringIO(catalog.to_csv(), newline=""), strict=True))
    assert read[1][1:] == [name, "a\rb"]
    (tmp_path / "kept.csv").write_text(catalog.to_csv(), newline="")
    assert scan(tmp_path / "kept.csv").to_csv() == catalog.to_csv()


def test_a_name_with_a_bare_cr_reads_back_from_the_catalog_that_a_cache_keeps(tmp_path: Path) -> None:
    from srcache.cache.manifest import create_cache
    from srcache.cache.receipts import read_kept

    catalog = scan(tree(tmp_path / "photos", "a\rb.png", "plain.png"))
    cache = create_cache(tmp_path / "cache")
    cache.keep_catalog(catalog.digest, catalog.to_csv())
    kept = read_kept(cache.catalogs()[catalog.digest])
    assert [row.name for row in kept.rows] == ["a\rb.png", "plain.png"]
