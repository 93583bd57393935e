"""Catalogs: order and labels, what is left out and why, and how little is hashed a second time."""

import csv
import io
import os
import pickle
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import srcache.catalog.hashing
from srcache.catalog.hashing import memo_path
from srcache.catalog.listing import Problem
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import open_catalog, scan
from srcache.errors import CatalogError, ImageError
from srcache.images import Pixels
from srcache.keys import file_key, image_key

MINUTE = 60 * 10**9


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path_factory.mktemp("home")))


def write(path: Path, data: bytes = b"", age: int = MINUTE) -> Path:
    """A file that was last changed `age` nanoseconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or str(path).encode())
    then = time.time_ns() - age
    os.utime(path, ns=(then, then))
    return path


def tree(root: Path, *names: str) -> Path:
    for name in names:
        write(root / name)
    return root


def names(catalog: Catalog) -> list[str]:
    return [row.name for row in catalog.rows]


def reasons(catalog: Catalog) -> dict[str, str]:
    return {problem.name: problem.reason for problem in catalog.problems}


def shuffled_scandir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give folders out in another order than the file system does."""
    real = os.scandir

    class Turned:
        def __init__(self, path: Path) -> None:
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda entry: blake2b(entry.name.encode()).digest())

        def __enter__(self) -> "Turned":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self):
            return iter(self.entries)

    monkeypatch.setattr(os, "scandir", Turned)


# --- folders ---


def test_class_folders(photos: Path) -> None:
    catalog = scan(photos)
    assert catalog.classes == ("bark", "gravel", "moss")
    assert names(catalog)[:4] == ["bark/bark0.png", "bark/bark1.png", "bark/bark2.png", "bark/bark3.jpg"]
    assert [row.label for row in catalog.rows] == ["bark"] * 4 + ["gravel"] * 4 + ["moss"] * 4
    assert catalog.root == photos
    assert (catalog.problems, catalog.ignored, len(catalog)) == ((), 0, 12)
    for row in catalog.rows:
        assert row.path == photos / row.name
        assert row.key == file_key(photos / row.name)
    np.testing.assert_array_equal(catalog.load(0, check=True).rgb, np.asarray(Image.open(photos / "bark/bark0.png")))


def test_keys_are_what_b2sum_prints(photos: Path) -> None:
    row = scan(photos).rows[0]
    printed = subprocess.run(["b2sum", "-l", "128", photos / row.name], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[0] == row.key


ODD_NAMES = st.lists(
    st.lists(st.text("aB-.0 é_", min_size=1, max_size=3).filter(lambda part: part[0] != "."), min_size=2, max_size=4),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ODD_NAMES)
def test_order_and_labels_are_image_folders(tmp_path: Path, paths: list[list[str]]) -> None:
    from torchvision.datasets import ImageFolder

    root = tmp_path / "tree"
    shutil.rmtree(root, ignore_errors=True)
    for parts in paths:
        write(root.joinpath(*(f"{part}x" for part in parts[:-1]), f"{parts[-1]}.PNG"))
    theirs = ImageFolder(str(root))
    ours = scan(root)
    assert [str(row.path) for row in ours.rows] == [path for path, _ in theirs.samples]
    assert [ours.classes.index(row.label or "") for row in ours.rows] == theirs.targets
    assert list(ours.classes) == theirs.classes


def test_the_file_systems_order_does_not_matter(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scan(photos)
    shuffled_scandir(monkeypatch)
    assert scan(photos) == before


def test_one_image_in_the_root_makes_it_flat(tmp_path: Path) -> None:
    catalog = scan(tree(tmp_path, "b/2.png", "a.jpg", "b/c/3.webp", "z.txt", "b/notes.md"))
    assert names(catalog) == ["a.jpg", "b/2.png", "b/c/3.webp"]
    assert {row.label for row in catalog.rows} == {None}
    assert catalog.classes == ()
    assert catalog.ignored == 2


def test_hidden_things_are_skipped_and_other_files_counted(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/.2.png", ".git/3.png", "a/.thumbs/4.png", "a/Thumbs.db", "readme", "b/x.json", "a/.x")
    catalog = scan(tmp_path)
    assert names(catalog) == ["a/1.png"]
    assert catalog.classes == ("a",)
    assert catalog.ignored == 3


@pytest.mark.parametrize(
    "suffix", ["jpg", "JPEG", "Png", "bmp", "webp", "tif", "TIFF", "gif", "ppm", "qoi", "jp2", "avif"]
)
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    assert names(scan(tree(tmp_path, f"a/x.{suffix}"))) == [f"a/x.{suffix}"]


def test_equal_bytes_are_two_rows_with_one_key(tmp_path: Path) -> None:
    write(tmp_path / "a/1.png", b"same")
    write(tmp_path / "b/2.png", b"same")
    catalog = scan(tmp_path)
    assert [row.key for row in catalog.rows] == [image_key(b"same")] * 2
    assert [row.label for row in catalog.rows] == ["a", "b"]


def test_an_empty_file_is_catalogued_and_fails_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    catalog = scan(tmp_path)
    assert catalog.rows[0].key == image_key(b"")
    with pytest.raises(ImageError) as caught:
        catalog.load(0)
    assert caught.value.reason == "empty"


def test_links(tmp_path: Path) -> None:
    outside = write(tmp_path / "elsewhere/secret.png")
    root = tree(tmp_path / "root", "a/1.png", "a/deep/2.png")
    (root / "a/in.png").symlink_to("deep/2.png")
    (root / "a/out.png").symlink_to(outside)
    (root / "a/gone.png").symlink_to(root / "nowhere.png")
    (root / "a/loop.png").symlink_to(root / "a/loop.png")
    (root / "b").symlink_to(outside.parent)
    (root / "c").symlink_to(root / "a")
    (root / "a/deep/up").symlink_to(root)
    (root / "a/text.txt").symlink_to(outside)
    catalog = scan(root)
    assert names(catalog) == ["a/1.png", "a/in.png", "a/deep/2.png"]
    assert catalog.rows[1].key == catalog.rows[2].key
    assert reasons(catalog) == {
        "a/out.png": "outside_root",
        "b": "outside_root",
        "a/gone.png": "unreadable",
        "a/loop.png": "unreadable",
    }
    assert catalog.classes == ("a",)
    assert catalog.ignored == 3


def test_a_root_that_is_a_link_is_followed(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    linked = scan(tmp_path / "link")
    assert linked.to_csv() == scan(photos).to_csv()
    assert linked.root == tmp_path / "link"


def test_a_root_named_like_a_neighbour_is_not_inside_it(tmp_path: Path) -> None:
    other = write(tmp_path / "data2/x.png")
    root = tree(tmp_path / "data", "a/1.png")
    (root / "a/2.png").symlink_to(other)
    assert reasons(scan(root)) == {"a/2.png": "outside_root"}


def test_a_file_that_cannot_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = srcache.catalog.hashing.file_key

    def denied(path: Path) -> str:
        if path.name == "bark1.png":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(srcache.catalog.hashing, "file_key", denied)
    catalog = scan(photos)
    assert catalog.problems == (Problem("bark/bark1.png", "unreadable", "it cannot be read (Permission denied)"),)
    assert len(catalog) == 11


def test_a_folder_that_cannot_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def denied(path: Path) -> object:
        if Path(path).name == "moss":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    catalog = scan(photos)
    assert reasons(catalog) == {"moss": "unreadable"}
    assert len(catalog) == 8


def test_a_file_that_vanishes_before_it_is_loaded(photos: Path) -> None:
    catalog = scan(photos)
    (photos / "bark/bark0.png").unlink()
    with pytest.raises(ImageError) as caught:
        catalog.load(0)
    assert caught.value.reason == "unreadable"


def test_a_file_that_changed_is_told_if_asked(photos: Path) -> None:
    catalog = scan(photos)
    shutil.copy(photos / "moss/moss0.png", photos / "bark/bark0.png")
    assert catalog.load(0).rgb.shape == (24, 32, 3)
    with pytest.raises(ImageError, match=r"bark/bark0\.png is not what was catalogued") as caught:
        catalog.load(0, check=True)
    assert caught.value.reason == "changed"


def test_names_that_are_not_utf8(photos: Path) -> None:
    bad = os.fsencode(photos / "bark") + b"/caf\xe9.png"
    Path(os.fsdecode(bad)).write_bytes(b"x")
    os.mkdir(os.fsencode(photos) + b"/\xff")
    catalog = scan(photos)
    assert {problem.reason for problem in catalog.problems} == {"bad_name"}
    assert sorted(problem.name for problem in catalog.problems) == ["\\udcff", "bark/caf\\udce9.png"]
    assert len(catalog) == 12


def test_a_pipe_is_no_image(photos: Path) -> None:
    os.mkfifo(photos / "bark/pipe.png")
    assert scan(photos).ignored == 1


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"expected a folder of images or a \.csv file, but .*gone does not exist"):
        scan(tmp_path / "gone")
    with pytest.raises(CatalogError, match=r"\.jpg.*2 other files lie there"):
        scan(tree(tmp_path, "a/notes.txt", "b.doc"))
    with pytest.raises(CatalogError, match="another kind of file"):
        scan(tmp_path / "b.doc")


def test_nothing_but_problems_are_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").symlink_to(write(tmp_path / "x.png"))
    with pytest.raises(CatalogError, match=r"a\.png is outside_root"):
        scan(root)


# --- the catalog as a value ---


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


def test_open_catalog_takes_folders_and_catalogs(photos: Path) -> None:
    catalog = open_catalog(str(photos))
    assert catalog == scan(photos)
    assert open_catalog(catalog) is catalog


def test_a_row_without_a_file_says_so() -> None:
    catalog = Catalog(rows=(Row(image_key(b""), "a.png", None, None),))
    with pytest.raises(ImageError, match=r"a\.png has no file"):
        catalog.load(0)


# --- CSV files ---


def csv_of(folder: Path, text: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "images.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("column", ["path", "file", "filename", "image", "name", "Path", " FILE "])
def test_csv_columns(photos: Path, column: str) -> None:
    path = csv_of(photos, f"note,{column},label\nx,moss/moss1.png,wet\ny,./bark/bark0.png,dry\n\n")
    catalog = scan(path)
    assert names(catalog) == ["moss/moss1.png", "bark/bark0.png"]
    assert [row.label for row in catalog.rows] == ["wet", "dry"]
    assert catalog.classes == ("dry", "wet")
    assert catalog.root == photos
    assert catalog.rows[0].key == file_key(photos / "moss/moss1.png")


def test_csv_labels_that_are_numbers_are_ordered_by_value(photos: Path) -> None:
    rows = "moss/moss1.png,10\nbark/bark0.png,2\nmoss/moss0.png,0\n"
    assert scan(csv_of(photos, f"path,label\n{rows}")).classes == ("0", "2", "10")
    assert scan(csv_of(photos, f"path,label\n{rows}bark/bark1.png,a\n")).classes == ("0", "10", "2", "a")


def test_csv_without_labels_and_with_a_byte_order_mark(photos: Path) -> None:
    catalog = scan(csv_of(photos, "\ufeffpath\r\nmoss/moss1.png\r\n".encode()))
    assert catalog.rows == (
        Row(file_key(photos / "moss/moss1.png"), "moss/moss1.png", None, photos / "moss/moss1.png"),
    )
    assert catalog.classes == ()


def test_a_catalogs_own_csv_is_one(photos: Path) -> None:
    catalog = scan(photos)
    assert scan(csv_of(photos, catalog.to_csv())).to_csv() == catalog.to_csv()
    flat = scan(photos / "moss")
    assert scan(csv_of(photos / "moss", flat.to_csv())).to_csv() == flat.to_csv()


def test_all_mistakes_of_a_csv_are_told_with_their_lines(photos: Path) -> None:
    lines = ["path,label", "/etc/x.png,a", "../x.png,a", "moss/moss0.png", "a/../../x.png,b", ",c", "moss/moss1.png,"]
    with pytest.raises(CatalogError) as caught:
        scan(csv_of(photos, "\n".join([*lines, "moss/moss2.png,a", "./moss/moss2.png,b"])))
    message = str(caught.value)
    for line in (2, 3, 4, 5, 6, 7, 9):
        assert f"line {line}:" in message, line
    assert "line 8:" not in message
    assert "moss/moss2.png is already on line 8" in message


def test_many_mistakes_are_shortened(photos: Path) -> None:
    with pytest.raises(CatalogError, match="and 30 more"):
        scan(csv_of(photos, "path\n" + "".join(f"../{n}.png\n" for n in range(50))))


@pytest.mark.parametrize("text", [b"", b"a,b\n1,2\n", b"path\n\xff\xfe.png\n", b'path\n"a\n', b"path\n\0\n"])
def test_a_csv_that_is_none(photos: Path, text: bytes) -> None:
    with pytest.raises(CatalogError, match=r"images\.csv"):
        scan(csv_of(photos, text))


def test_files_that_a_csv_names_in_vain(photos: Path, tmp_path: Path) -> None:
    (photos / "out.png").symlink_to(write(tmp_path / "x.png"))
    catalog = scan(csv_of(photos, "path\nmoss/moss0.png\nmoss/none.png\nmoss\nout.png\n"))
    assert names(catalog) == ["moss/moss0.png"]
    assert reasons(catalog) == {"moss/none.png": "missing", "moss": "missing", "out.png": "outside_root"}
    with pytest.raises(CatalogError, match=r"none\.png is missing"):
        scan(csv_of(photos, "path\nnone.png\n"))


# --- the memo ---


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were hashed since the list was last emptied."""
    seen: list[str] = []
    real, lock = srcache.catalog.hashing.file_key, threading.Lock()

    def counted(path: Path) -> str:
        with lock:
            seen.append(path.name)
        return real(path)

    monkeypatch.setattr(srcache.catalog.hashing, "file_key", counted)
    return seen


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tree(tmp_path / "old", *(f"{label}/{number}.png" for label in "ab" for number in range(3)))


def test_a_second_scan_hashes_nothing(old: Path, hashed: list[str]) -> None:
    first = scan(old)
    assert len(hashed) == 6
    hashed.clear()
    assert scan(old) == first
    assert hashed == []


def test_rehash(old: Path, hashed: list[str]) -> None:
    scan(old)
    hashed.clear()
    scan(old, rehash=True)
    assert len(hashed) == 6
    hashed.clear()
    scan(old)
    assert hashed == []


def touch(root: Path) -> None:
    os.utime(root / "a/1.png", ns=(1, time.time_ns() - MINUTE // 2))


def grow(root: Path) -> None:
    status = (root / "a/1.png").stat()
    (root / "a/1.png").write_bytes(b"longer than it was before" * 9)
    os.utime(root / "a/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(root: Path) -> None:
    """Other bytes of the same length, with the same mtime, in a new file."""
    path = root / "a/1.png"
    status, data = path.stat(), path.read_bytes()
    (root / "a/1.tmp").write_bytes(data[::-1])
    os.utime(root / "a/1.tmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(root / "a/1.tmp", path)


def rename(root: Path) -> None:
    (root / "a/1.png").rename(root / "a/new.png")


@pytest.mark.parametrize("change", [touch, grow, replace, rename])
def test_only_what_changed_is_hashed_again(old: Path, hashed: list[str], change: Callable[[Path], None]) -> None:
    scan(old)
    hashed.clear()
    change(old)
    found = scan(old)
    assert hashed == ["new.png" if change is rename else "1.png"]
    assert [row.key for row in found.rows] == [file_key(old / row.name) for row in found.rows]
    hashed.clear()
    scan(old)
    assert hashed == []


def test_a_file_that_was_changed_just_now_is_hashed_again(old: Path, hashed: list[str]) -> None:
    write(old / "a/0.png", b"first", age=10**9)
    write(old / "a/1.png", b"tomorrow", age=-24 * 60 * MINUTE)
    scan(old)
    hashed.clear()
    scan(old)
    assert sorted(hashed) == ["0.png", "1.png"]


def test_a_second_write_in_the_same_tick_is_seen(old: Path) -> None:
    path = write(old / "a/0.png", b"first", age=0)
    tick = path.stat().st_mtime_ns
    scan(old)
    path.write_bytes(b"other")
    os.utime(path, ns=(tick, tick))
    assert scan(old).rows[0].key == image_key(b"other")


def test_forgotten_files_leave_the_memo(old: Path) -> None:
    scan(old)
    before = memo_path(old).stat().st_size
    shutil.rmtree(old / "b")
    scan(old)
    assert memo_path(old).stat().st_size < before * 0.7


def test_a_csv_of_some_does_not_forget_the_others(old: Path, hashed: list[str]) -> None:
    scan(old)
    write(old / "c.png")
    scan(csv_of(old, "path\na/0.png\nc.png\n"))
    (old / "c.png").unlink()
    hashed.clear()
    scan(old)
    assert hashed == []


def test_the_memo_lies_where_the_user_says(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["SRCACHE_HOME"])
    assert memo_path(old).parent == home / "memo"
    assert memo_path(old).stem == blake2b(os.fsencode(old.resolve()), digest_size=16).hexdigest()
    monkeypatch.delenv("SRCACHE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert memo_path(old).parent == tmp_path / "xdg/srcache/memo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert memo_path(old).parent == tmp_path / "me/.cache/srcache/memo"


def test_a_memo_of_ones_own(old: Path, tmp_path: Path, hashed: list[str]) -> None:
    scan(old, memo=tmp_path / "own.json")
    assert not memo_path(old).exists()
    hashed.clear()
    scan(old, memo=tmp_path / "own.json")
    assert hashed == []


def test_a_link_and_its_target_share_a_memo(old: Path, tmp_path: Path, hashed: list[str]) -> None:
    scan(old)
    (tmp_path / "link").symlink_to(old)
    hashed.clear()
    scan(tmp_path / "link")
    assert hashed == []


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_damaged_memo_is_as_good_as_none(old: Path, hashed: list[str], place: float) -> None:
    first = scan(old)
    memo = memo_path(old)
    data = bytearray(memo.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    memo.write_bytes(data)
    hashed.clear()
    assert scan(old) == first
    assert len(hashed) == 6
    hashed.clear()
    scan(old)
    assert hashed == []


@pytest.mark.parametrize("text", [b"", b"{}", b"srcache memo 2 x\n[]", b"\0" * 99])
def test_a_memo_of_another_kind(old: Path, hashed: list[str], text: bytes) -> None:
    write(memo_path(old), text or b" ")
    scan(old)
    assert len(hashed) == 6


def test_a_cache_folder_that_cannot_be_written(
    old: Path, hashed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", b"x")
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "file"))
    assert scan(old) == scan(old)
    assert len(hashed) == 12


def test_a_memo_that_cannot_be_finished_leaves_no_litter(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(scan(old)) == 6
    assert list(memo_path(old).parent.iterdir()) == []


def test_an_interrupted_scan_goes_on_where_it_was(tmp_path: Path, hashed: list[str]) -> None:
    root = tree(tmp_path / "many", *(f"a/{number:04d}.png" for number in range(600)))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(root, progress=interrupt, workers=1)
    done = len(hashed)
    assert 0 < done <= 600
    assert len(scan(root)) == 600
    assert len(hashed) == 600


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "many", *(f"a/{number:04d}.png" for number in range(300)))
    told: list[tuple[int, int]] = []
    scan(root, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (300, 300)
    assert told == sorted(told)
    assert len(told) < 20, "not once per file"


def test_threads_do_not_change_the_catalog(photos: Path) -> None:
    assert scan(photos, workers=1, rehash=True) == scan(photos, workers=7, rehash=True)


def test_a_scan_decodes_nothing(
    photos: Path, make_image: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "moss/moss0.png").write_bytes(b"broken")
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened a picture"))
    assert len(scan(photos)) == 12
