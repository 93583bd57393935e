"""A scanned catalog: the same catalog as that of what was scanned, and no file is looked at to read it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from image_trees import csv_of, names, tree, write

from srcache.catalog import hashing
from srcache.catalog.pairing import hr_paths
from srcache.catalog.rows import Catalog
from srcache.catalog.scanned import COLUMNS, is_scanned, require_writable, write_scanned
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError, ImageError
from srcache.keys import file_key

KEY = "0123456789abcdef" * 2
OTHER = "f" * 32


def rewritten(base: Path, out: Path) -> Catalog:
    write_scanned(scan(base), out)
    return scan(out)


@pytest.fixture
def no_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(hashing, "file_key", refuse)


@pytest.mark.parametrize("out", ["catalog.csv", "photos/catalog.csv", "photos/bark/catalog.csv", "deep/er/catalog.csv"])
def test_it_is_the_catalog_of_what_was_scanned_wherever_it_lies(photos: Path, out: str) -> None:
    catalog, found = scan(photos), rewritten(photos, photos.parent / out)
    assert found.rows == catalog.rows
    assert (found.classes, found.root, found.digest) == (catalog.classes, catalog.root, catalog.digest)
    assert all(row.key == file_key(row.path) for row in found.rows if row.path)


def test_what_it_looks_like(photos: Path) -> None:
    write_scanned(scan(photos), photos.parent / "catalog.csv")
    lines = (photos.parent / "catalog.csv").read_text().splitlines()
    assert lines[0] == "key,name,label,class_number,path" == ",".join(COLUMNS)
    assert lines[1] == f"{file_key(photos / 'bark/bark0.png')},bark/bark0.png,bark,0,photos/bark/bark0.png"
    write_scanned(scan(photos), photos / "moss/catalog.csv")
    lines = (photos / "moss/catalog.csv").read_text().splitlines()
    assert lines[1].endswith(f",bark/bark0.png,bark,0,{photos}/bark/bark0.png"), "not below the CSV's folder: absolute"
    assert lines[-1].endswith(",moss/moss3.jpg,moss,2,moss3.jpg")


def test_it_moves_with_the_images_that_lie_below_it(photos: Path, tmp_path: Path) -> None:
    catalog = rewritten(photos, photos.parent / "catalog.csv")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(photos, moved / "photos")
    shutil.move(photos.parent / "catalog.csv", moved / "images.csv")
    found = scan(moved / "images.csv")
    assert found.digest == catalog.digest
    assert found.load(0, check=True).rgb.shape == (24, 32, 3)


def test_no_file_is_hashed_or_looked_at(photos: Path, no_hashing: None) -> None:
    out = photos.parent / "catalog.csv"
    with pytest.raises(AssertionError, match="was hashed"):
        scan(photos)
    lines = [",".join(COLUMNS), f"{KEY},a/1.png,a,0,nowhere/a/1.png"]
    out.write_text("\n".join(lines))
    (row,) = scan(out).rows
    assert (row.key, row.name, row.label, row.path) == (KEY, "a/1.png", "a", photos.parent / "nowhere/a/1.png")
    with pytest.raises(CatalogError, match=r"a/1\.png is unreadable"):
        scan(out, trust=False)


@pytest.mark.parametrize("how", [{"trust": False}, {"rehash": True}])
def test_its_files_are_hashed_if_it_is_not_trusted(photos: Path, how: dict[str, bool]) -> None:
    before = rewritten(photos, photos.parent / "catalog.csv")
    (photos / "bark/bark0.png").write_bytes(b"other bytes")
    (photos / "moss/moss3.jpg").unlink()
    found = scan(photos.parent / "catalog.csv", **how)
    assert found.rows[0] == replace(before.rows[0], key=file_key(photos / "bark/bark0.png"))
    assert found.rows[1:] == before.rows[1:-1]
    assert [(problem.name, problem.reason) for problem in found.problems] == [("moss/moss3.jpg", "unreadable")]
    assert found.classes == before.classes


def test_an_image_that_changed_since_fails_when_it_is_read(photos: Path) -> None:
    catalog = rewritten(photos, photos.parent / "catalog.csv")
    shutil.copy(photos / "moss/moss0.png", photos / "bark/bark0.png")
    (photos / "bark/bark1.png").unlink()
    for index, reason in enumerate(["changed", "unreadable"]):
        with pytest.raises(ImageError) as caught:
            catalog.load(index, check=True)
        assert caught.value.reason == reason


def test_classes_have_the_numbers_that_the_scanned_has(tmp_path: Path) -> None:
    """Folders are numbered as text, integers in a CSV file by their value; a scanned catalog says which it was."""
    folder = tree(tmp_path / "tree", "1/a.png", "2/a.png", "10/a.png")
    assert rewritten(folder, tmp_path / "one.csv").classes == scan(folder).classes == ("1", "10", "2")
    listed = csv_of(folder, "path,label\n10/a.png,10\n2/a.png,2\n1/a.png,1\n")
    assert rewritten(listed, tmp_path / "two.csv").classes == scan(listed).classes == tuple(map(str, range(11)))
    assert names(scan(tmp_path / "two.csv")) == ["10/a.png", "2/a.png", "1/a.png"]


def test_classes_without_images_keep_their_numbers(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", "b/1.png", "d/1.png", "d/2.png")
    for name in ("a", "c", "e, f\r"):
        (folder / name).mkdir()
    catalog, found = scan(folder), rewritten(folder, tmp_path / "catalog.csv")
    assert (found.classes, found.digest, len(found)) == (catalog.classes, catalog.digest, 3)
    assert found.classes == ("a", "b", "c", "d", "e, f\r")
    assert (tmp_path / "catalog.csv").read_text().splitlines()[4] == ",,a,0,"
    assert scan(tmp_path / "catalog.csv", trust=False).classes == catalog.classes
    assert not write_scanned(found, tmp_path / "catalog.csv"), "what is written again is the same"


def test_lines_that_are_taken_out_move_no_class(photos: Path) -> None:
    write_scanned(scan(photos), photos / "catalog.csv")
    lines = (photos / "catalog.csv").read_text().splitlines()
    (photos / "catalog.csv").write_text("\n".join([lines[0], lines[-1]]))
    assert scan(photos / "catalog.csv").classes == ("0", "1", "moss")
    (photos / "catalog.csv").write_text("\n".join([lines[0], lines[-1].replace(",2,", ",1000000000,")]))
    with pytest.raises(CatalogError, match="expected class numbers below 100000, but got 1000000000"):
        scan(photos / "catalog.csv")


def test_labels_that_cannot_be_classes_say_so_as_they_do_in_what_was_scanned(photos: Path) -> None:
    listed = csv_of(photos, "path,label\nbark/bark0.png,0.5\nbark/bark1.png,1.5\n")
    found = rewritten(listed, photos.parent / "catalog.csv")
    assert (found.classes, [row.label for row in found.rows]) == ((), ["0.5", "1.5"])
    assert "its labels are numbers, among them 0.5" in found.unclassed


def test_names_may_be_odd(tmp_path: Path) -> None:
    odd = ["a\rb.png", "c\nd.png", 'e"f,g.png', " spaces .png", "é ü.png", "#=1.png", "-x.png"]
    folder = tree(tmp_path / "größe, 1\r", *odd)
    found = rewritten(folder, tmp_path / "catalog.csv")
    assert found.rows == scan(folder).rows
    assert sorted(names(found)) == sorted(odd)
    assert found.classes == ()


def test_links_keep_their_own_name(tmp_path: Path) -> None:
    folder = tree(tmp_path / "tree", "a/1.png")
    (folder / "a/2.png").symlink_to("1.png")
    (tmp_path / "link").symlink_to("tree")
    found = rewritten(tmp_path / "link", tmp_path / "catalog.csv")
    assert [str(row.path) for row in found.rows] == [f"{tmp_path}/link/a/1.png", f"{tmp_path}/link/a/2.png"]


def test_hr_images_are_found_in_it(photos: Path) -> None:
    write_scanned(scan(photos), photos / "moss/catalog.csv")
    assert hr_paths(["bark/bark0.jpg"], photos / "moss/catalog.csv") == [photos / "bark/bark0.png"]


# --- what counts as one ----------------------------------------------------------------------------------------------


def test_a_kept_catalog_beside_its_images_is_one(photos: Path, no_hashing: None) -> None:
    text = f"key,name,label\n{KEY},bark/bark0.png,10\n{OTHER},bark/bark1.png,9\n"
    found = scan(csv_of(photos, text))
    assert (found.rows[0].key, found.rows[0].path) == (KEY, photos / "bark/bark0.png")
    assert found.classes == tuple(map(str, range(11)))


def test_a_column_of_that_name_with_other_things_in_it_is_none(photos: Path) -> None:
    path = csv_of(photos, "key,path\n17,bark/bark0.png\n18,bark/bark1.png\n")
    assert not is_scanned(path)
    assert [row.key for row in scan(path).rows] == [file_key(photos / f"bark/bark{n}.png") for n in range(2)]
    assert not is_scanned(csv_of(photos, "key,path\n"))
    assert not is_scanned(csv_of(photos, f"key,other\n{KEY},x\n"))
    assert not is_scanned(csv_of(photos, f"key,path\n{KEY}\n"))
    assert not is_scanned(csv_of(photos, ""))
    assert not is_scanned(photos)
    assert not is_scanned(photos / "none.csv")


def test_every_mistake_is_told_with_its_line(photos: Path) -> None:
    lines = [
        ",".join(COLUMNS),
        f"{KEY},a/1.png,a,0,a/1.png",
        f"{KEY[:-1]},a/2.png,a,0,a/2.png",
        f"{KEY.upper()},a/3.png,a,0,a/3.png",
        f"{KEY},a/../4.png,a,0,a/4.png",
        f"{KEY},/a/5.png,a,0,a/5.png",
        f"{KEY},a/6.png,a,0,../a/6.png",
        f"{KEY},a/1.png,a,0,a/1.png",
        f"{KEY},a/7.png,a,0",
        f"{KEY},a/8.png,a,1,a/8.png",
        f"{KEY},a/9.png,,,a/9.png",
        f"{KEY},,a,0,a/9.png",
        f"{KEY},a/10.png,a,0,",
        f"{KEY},b/1.png,b,x,b/1.png",
    ]
    with pytest.raises(CatalogError) as caught:
        scan(csv_of(photos, "\n".join(lines)))
    said = str(caught.value).splitlines()
    wanted = {
        3: "expected a key",
        4: "expected a key",
        5: "expected a name",
        6: "expected a name",
        7: "expected a path",
    }
    wanted |= {
        8: "a/1.png is already on line 2",
        9: "expected 5 cells, but got 4",
        10: "a has class number '1', but '0'",
    }
    wanted |= {11: "there is no label, but others have one", 12: "expected a name", 13: "expected a path"}
    wanted |= {14: "expected a class number, but got 'x'"}
    for line, words in wanted.items():
        assert [one for one in said if f"line {line}: {words}" in one], line
    assert len(said) == 1 + len(wanted)


def test_two_labels_with_one_number_are_a_mistake(photos: Path) -> None:
    text = f"{','.join(COLUMNS)}\n{KEY},a/1.png,a,0,a/1.png\n{OTHER},b/1.png,b,0,b/1.png\n"
    with pytest.raises(CatalogError, match="several labels have the same class number"):
        scan(csv_of(photos, text))


# --- what it replaces ------------------------------------------------------------------------------------------------


def test_writing_it_twice_changes_nothing(photos: Path) -> None:
    out, catalog = photos.parent / "catalog.csv", scan(photos)
    assert write_scanned(catalog, out)
    before = out.stat()
    assert not write_scanned(catalog, out)
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write(photos / "moss/new.png")
    assert write_scanned(scan(photos), out)
    assert len(scan(out)) == 13
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("data", [b"", b"hello", b"key,name,label\n", b"path\nx.png\n", b"\xff\xfe", b'"'])
def test_another_file_is_replaced_only_if_that_was_asked_for(photos: Path, data: bytes) -> None:
    out, catalog = photos.parent / "catalog.csv", scan(photos)
    out.write_bytes(data)
    with pytest.raises(CatalogError, match="is there and is no scanned catalog; choose another name"):
        write_scanned(catalog, out)
    assert out.read_bytes() == data
    write_scanned(catalog, out, force=True)
    assert scan(out).digest == catalog.digest


def test_a_folder_or_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CatalogError, match="is a folder; name a file in it"):
        require_writable(tmp_path / "folder.csv", force=True)
    with pytest.raises(CatalogError, match=r"ends in \.csv, but got catalog\.txt"):
        require_writable(Path("catalog.txt"))
    require_writable(tmp_path / "new.CSV")


def test_a_name_without_a_folder_is_in_the_current_one(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    write_scanned(scan("photos"), Path("catalog.csv"))
    assert "photos/bark/bark0.png\n" in Path("catalog.csv").read_text()
    assert scan("catalog.csv").rows == scan(photos).rows
    assert sorted(os.listdir()) == ["catalog.csv", "photos"]
