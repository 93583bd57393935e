"""What a folder or a CSV file names: ImageFolder's order and labels, what is left out, each mistake with its line."""

import os
import shutil
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_trees import csv_of, names, reasons, tree, write
from torchvision.datasets import ImageFolder

from srcache.catalog.listing import OWN_FILES
from srcache.catalog.rows import Row
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError
from srcache.keys import file_key
from srcache.maintain.export import RECORDS
from srcache.study.prepare import claim, samples


def shuffled_scandir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give folders out in another order than the file system does."""
    real = os.scandir

    class Turned:
        def __init__(self, path: Path) -> None:
            with real(path) as entries:
                self.entries = sorted(entries, key=lambda entry: blake2b(os.fsencode(entry.name)).digest())

        def __enter__(self) -> "Turned":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self):
            return iter(self.entries)

    monkeypatch.setattr(os, "scandir", Turned)


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


def test_the_file_systems_order_does_not_matter_to_the_words_about_a_folder_without_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tmp_path / os.fsdecode(b"%d\xff.png" % number)).touch()
    shuffled_scandir(monkeypatch)
    with pytest.raises(CatalogError, match=r"; 0\S+ is bad_name, 1\S+ is bad_name, 2"):
        scan(tmp_path)


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
    assert catalog.classes == ("a", "b"), "a folder without images is a class of its own number"
    assert catalog.ignored == 3


@pytest.mark.parametrize(
    "suffix", ["jpg", "JPEG", "Png", "bmp", "webp", "tif", "TIFF", "gif", "ppm", "qoi", "jp2", "avif"]
)
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    assert names(scan(tree(tmp_path, f"a/x.{suffix}"))) == [f"a/x.{suffix}"]


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
    assert names(catalog) == [
        *("a/1.png", "a/in.png", "a/out.png", "a/deep/2.png", "b/secret.png"),
        *("c/1.png", "c/in.png", "c/out.png", "c/deep/2.png"),
    ]
    assert catalog.rows[1].key == catalog.rows[3].key
    assert reasons(catalog) == {
        **{f"{label}/{name}.png": "unreadable" for label in "ac" for name in ("gone", "loop")},
        **{f"{label}/deep/up": "loop" for label in "ac"},
    }
    assert catalog.classes == ("a", "b", "c")
    assert catalog.ignored == 2, "a link to an image under a name that is none"


def test_a_snapshot_of_the_hub_is_read_through_its_links(tmp_path: Path) -> None:
    blob = write(tmp_path / "blobs/5e1f", b"an image")
    snapshot = tmp_path / "snapshots/0a1b"
    (snapshot / "cats").mkdir(parents=True)
    (snapshot / "cats/1.jpg").symlink_to("../../../blobs/5e1f")
    (snapshot / "dogs").symlink_to(tree(tmp_path / "elsewhere", "2.png"))
    catalog = scan(snapshot)
    assert [(row.name, row.label) for row in catalog.rows] == [("cats/1.jpg", "cats"), ("dogs/2.png", "dogs")]
    assert catalog.rows[0].key == file_key(blob)
    assert not catalog.problems
    assert [str(row.path) for row in catalog.rows] == [path for path, _ in ImageFolder(snapshot).samples]


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/1.png", "b/2.png")
    (root / "a/b").symlink_to("../b")
    (root / "b/a").symlink_to("../a")
    (root / "b/self").symlink_to(".")
    catalog = scan(root)
    assert names(catalog) == ["a/1.png", "a/b/2.png", "b/2.png", "b/a/1.png"]
    assert set(reasons(catalog).values()) == {"loop"}


def test_a_csv_leads_to_no_files_of_other_folders(tmp_path: Path) -> None:
    other = write(tmp_path / "data2/x.png")
    root = tree(tmp_path / "data", "a/1.png")
    (root / "a/2.png").symlink_to(other)
    assert reasons(scan(csv_of(root, "path\na/1.png\na/2.png\n"))) == {"a/2.png": "outside_root"}
    assert names(scan(root)) == ["a/1.png", "a/2.png"]


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


@pytest.mark.parametrize("column", ["path", "file", "filename", "image", "name", "Path", " FILE "])
def test_csv_columns(photos: Path, column: str) -> None:
    path = csv_of(photos, f"note,{column},label\nx,moss/moss1.png,wet\ny,./bark/bark0.png,dry\n\n")
    catalog = scan(path)
    assert names(catalog) == ["moss/moss1.png", "bark/bark0.png"]
    assert [row.label for row in catalog.rows] == ["wet", "dry"]
    assert catalog.classes == ("dry", "wet")
    assert catalog.root == photos
    assert catalog.rows[0].key == file_key(photos / "moss/moss1.png")


def test_csv_without_labels_and_with_a_byte_order_mark(photos: Path) -> None:
    catalog = scan(csv_of(photos, "\ufeffpath\r\nmoss/moss1.png\r\n".encode()))
    assert catalog.rows == (
        Row(file_key(photos / "moss/moss1.png"), "moss/moss1.png", None, photos / "moss/moss1.png"),
    )
    assert catalog.classes == ()


def test_all_mistakes_of_a_csv_are_reported_with_their_lines(photos: Path) -> None:
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


def test_what_srcache_itself_leaves_beside_images_is_not_told(photos: Path) -> None:
    assert {claim.MARKER, samples._MARKER, RECORDS} == OWN_FILES
    before = scan(photos).ignored
    for name in (*OWN_FILES, "notes.txt"):
        (photos / name).write_bytes(b"{}")
    assert scan(photos).ignored == before + 1
