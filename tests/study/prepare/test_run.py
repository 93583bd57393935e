"""Splits, LR copies and crops: by name and seed, twice the same as once, nothing overwritten."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from srcache_cli.main import run

import srcache.study.prepare.run
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import scan
from srcache.errors import CatalogError, ConfigError, DiskFullError, RecipeError
from srcache.images import Pixels, decode
from srcache.keys import ImageKey, file_key, image_key
from srcache.progress import Progress
from srcache.study.prepare.claim import MARKER
from srcache.study.prepare.crops import CropSettings, crop, make_crops
from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.run import Prepared
from srcache.study.prepare.split import make_split
from srcache.study.prepare.stratify import SPLITS, assign, exact_shares, quotas


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path_factory.mktemp("home")))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images(folder: Path) -> dict[str, bytes]:
    found = contents(folder)
    del found[MARKER]
    return found


# --- which split ---

KEYS = st.integers(0, 40).map(lambda n: image_key(str(n).encode()))
IMAGES = st.lists(st.tuples(KEYS, st.sampled_from(["cat", "dog", "eel"])), max_size=80)
RATIOS = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.5, 0, 0.5), (1, 0, 0), (0.333, 0.333, 0.333), (0.6, 0.3, 0.1)]
)


@given(st.dictionaries(KEYS, st.sampled_from(["cat", "dog", "eel"])), RATIOS, st.integers(0, 5))
def test_every_class_gets_its_ratios_to_the_nearest_image(
    labels: dict[ImageKey, str], ratios: tuple[float, ...], seed: int
) -> None:
    shares = exact_shares(ratios)
    where = assign(labels.items(), shares, seed)
    assert where.keys() == labels.keys()
    for label, size in Counter(labels.values()).items():
        found = Counter(where[key] for key in labels if labels[key] == label)
        for name, share in zip(SPLITS, shares, strict=True):
            assert abs(found[name] - share * size) < 1, (label, name)


@given(IMAGES, RATIOS, st.integers(0, 5), st.randoms())
def test_order_does_not_matter(
    files: list[tuple[ImageKey, str]], ratios: tuple[float, ...], seed: int, random: Any
) -> None:
    before = assign(files, exact_shares(ratios), seed)
    random.shuffle(files)
    assert assign(files, exact_shares(ratios), seed) == before


@given(IMAGES)
def test_a_share_of_nothing_gets_nothing(files: list[tuple[ImageKey, str]]) -> None:
    assert set(assign(files, exact_shares((1, 0, 0)), 0).values()) <= {"train"}


def test_another_seed_is_another_split() -> None:
    files = [(image_key(bytes([n])), "cat") for n in range(100)]
    shares = exact_shares((0.5, 0.25, 0.25))
    splits = [assign(files, shares, seed) for seed in range(5)]
    assert all(one != other for place, one in enumerate(splits) for other in splits[:place])


def test_a_split_is_frozen() -> None:
    files = [(image_key(bytes([n])), "cd"[n % 2]) for n in range(20)]
    found = assign(files, exact_shares((0.6, 0.2, 0.2)), 7)
    letters = "".join(found[key][0] for key, _ in files)
    assert letters == "tvttvttttttvttvttttt", "the same data and seed must be the same split in every release"


def test_a_split_is_even_handed() -> None:
    """Over many seeds every image is in the test set equally often."""
    files = [(image_key(bytes([n])), "cat") for n in range(20)]
    hits: Counter[ImageKey] = Counter()
    for seed in range(400):
        where = assign(files, exact_shares((0.8, 0.1, 0.1)), seed)
        hits.update(key for key in where if where[key] == "test")
    assert sum(hits.values()) == 800
    assert all(15 < hits[key] < 75 for key, _ in files)


def test_many_files_of_one_key_do_not_upset_a_class() -> None:
    twin = image_key(b"twin")
    files = [(twin, "cat")] * 30 + [(image_key(bytes([n])), "cat") for n in range(70)]
    where = assign(files, exact_shares((0.8, 0.1, 0.1)), 0)
    assert Counter(where[key] for key, _ in files) == {"train": 80, "validation": 10, "test": 10}


@given(st.integers(0, 1000), RATIOS)
def test_quotas_are_whole(size: int, ratios: tuple[float, ...]) -> None:
    shares = exact_shares(ratios)
    assert sum(shares) == 1
    assert sum(quotas(size, shares)) == size
    assert all(abs(quota - share * size) < 1 for quota, share in zip(quotas(size, shares), shares, strict=True))


def test_floats_that_do_not_quite_sum_to_one() -> None:
    assert exact_shares((0.8, 0.1, 0.1)) == (Fraction(8, 10), Fraction(1, 10), Fraction(1, 10))
    assert exact_shares((0.333, 0.333, 0.333)) == (Fraction(1, 3),) * 3
    assert exact_shares((0.1 + 0.2, 0.3, 0.4))[2] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "ratios",
    [(0.8, 0.1), (0.8, 0.1, 0.1, 0), (80, 10, 10), (0.8, 0.3, -0.1), (0.5, 0.2, 0.2), (float("nan"), 1, 0), ()],
)
def test_ratios_that_make_no_sense(ratios: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="three numbers from 0 to 1 that sum to 1"):
        exact_shares(ratios)


# --- split ---


@pytest.mark.parametrize("link", ["copy", "hard"])
def test_split(photos: Path, tmp_path: Path, link: str) -> None:
    done = make_split(photos, tmp_path / "out", ratios=(0.5, 0.25, 0.25), seed=1, link=link)
    assert (done.written, done.kept, done.failures, done.doubles) == (12, 0, (), ())
    assert done.folders == (tmp_path / "out",)
    expected = {"train": 2, "validation": 1, "test": 1}
    assert done.counts == {f"{s}/{label}": expected[s] for s in SPLITS for label in ("bark", "gravel", "moss")}
    before, after = contents(photos), images(tmp_path / "out")
    assert {name.partition("/")[2]: data for name, data in after.items()} == before
    for name in after:
        same = (tmp_path / "out" / name).samefile(photos / name.partition("/")[2])
        assert same == (link == "hard")
    train = scan(tmp_path / "out/train")
    assert train.classes == ("bark", "gravel", "moss")


def test_a_split_is_the_same_again_and_elsewhere(photos: Path, tmp_path: Path) -> None:
    make_split(photos, tmp_path / "one")
    shutil.copytree(photos, tmp_path / "moved")
    make_split(tmp_path / "moved", tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    make_split(photos, tmp_path / "three", seed=1)
    assert images(tmp_path / "one").keys() != images(tmp_path / "three").keys()


def test_the_same_bytes_stay_together_and_doubles_are_told(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "bark/bark0.png", photos / "bark/again.png")
    shutil.copy(photos / "bark/bark0.png", photos / "moss/wrong.png")
    shutil.copy(photos / "gravel/gravel1.png", photos / "gravel/twice.png")
    for seed in range(6):
        done = make_split(photos, tmp_path / str(seed), ratios=(0.4, 0.3, 0.3), seed=seed)
        assert done.doubles == (("bark/again.png", "bark/bark0.png", "moss/wrong.png"),)
        keys = [{file_key(p) for p in (tmp_path / str(seed) / name).rglob("*.*")} for name in SPLITS]
        assert sum(map(len, keys)) == len(set.union(*keys)), "no key is in two splits"
        assert done.written == 15


def test_deeper_folders_and_csv_labels(photos: Path, tmp_path: Path) -> None:
    (photos / "bark/deep").mkdir()
    shutil.move(photos / "bark/bark0.png", photos / "bark/deep/bark0.png")
    make_split(photos, tmp_path / "a", ratios=(1, 0, 0))
    assert (tmp_path / "a/train/bark/deep/bark0.png").exists()
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,wet\ngravel/gravel0.png,gravel\n")
    make_split(photos / "some.csv", tmp_path / "b", ratios=(0, 0, 1))
    assert sorted(images(tmp_path / "b")) == ["test/gravel/gravel0.png", "test/wet/moss/moss0.png"]


def test_a_split_needs_labels_that_can_be_folders(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="one folder per class"):
        make_split(photos / "moss", tmp_path / "out")
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,a/b\nmoss/moss1.png,..\n")
    with pytest.raises(CatalogError, match=r"must be names of such, but are: \.\., a/b"):
        make_split(photos / "some.csv", tmp_path / "out")
    (photos / "wet/moss").mkdir(parents=True)
    shutil.copy(photos / "moss/moss0.png", photos / "wet/moss/moss0.png")
    (photos / "some.csv").write_text("path,label\nmoss/moss0.png,wet\nwet/moss/moss0.png,wet\n")
    with pytest.raises(CatalogError, match=r"several files would be called wet/moss/moss0\.png"):
        make_split(photos / "some.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_that_there_are_not(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="link must be one of copy, hard"):
        make_split(photos, tmp_path / "out", link="soft")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ConfigError, match="one file system"):
        make_split(photos, tmp_path / "out", link="hard")


def test_a_file_that_changes_under_a_split_is_a_failure(photos: Path, tmp_path: Path) -> None:
    catalog = scan(photos)
    (photos / "moss/moss0.png").write_bytes(b"other")
    (photos / "moss/moss1.png").unlink()
    done = make_split(catalog, tmp_path / "out")
    assert done.failed == {"changed": 1, "unreadable": 1}
    assert done.written == 10


# --- lr ---


@pytest.mark.parametrize("filter", ["bicubic", "lanczos", "box"])
def test_lr_is_pillows_resize(photos: Path, tmp_path: Path, filter: str) -> None:
    done = make_lr(photos, tmp_path / "lr", 4, filter)
    assert (done.written, done.kept, done.failures) == (12, 0, ())
    names = {str(Path(row.name).with_suffix(".png")) for row in scan(photos).rows}
    assert images(tmp_path / "lr").keys() == names
    for row in scan(photos).rows:
        hr = Image.open(photos / row.name)
        expected = hr.resize((hr.width // 4, hr.height // 4), Image.Resampling[filter.upper()])
        found = decode((tmp_path / "lr" / Path(row.name).with_suffix(".png")).read_bytes())
        np.testing.assert_array_equal(found, np.asarray(expected))


def test_lr_of_sides_that_do_not_divide(tmp_path: Path, make_image: Callable[..., Pixels]) -> None:
    (tmp_path / "hr").mkdir()
    Image.fromarray(make_image(15, 7)).save(tmp_path / "hr/a.b.png")
    make_lr(tmp_path / "hr", tmp_path / "lr", 6)
    assert decode((tmp_path / "lr/a.b.png").read_bytes()).shape == (3, 1, 3)


def test_names_that_would_be_one_are_refused(photos: Path, tmp_path: Path) -> None:
    Image.open(photos / "moss/moss0.png").save(photos / "moss/moss0.bmp")
    for act in (
        lambda: make_lr(photos, tmp_path / "lr", 2),
        lambda: make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=8, factor=2)),
    ):
        with pytest.raises(CatalogError, match=r"equal without their suffixes.*moss/moss0\.bmp, moss/moss0\.png"):
            act()
    assert not (tmp_path / "lr").exists()


def test_unusable_images_are_counted_and_listed(photos: Path, tmp_path: Path) -> None:
    (photos / "moss/moss0.png").write_bytes(b"")
    (photos / "moss/moss1.png").write_text("not a picture")
    data = (photos / "moss/moss2.png").read_bytes()
    (photos / "moss/moss2.png").write_bytes(data[: len(data) // 2])
    (photos / "gravel/out.png").symlink_to(tmp_path / "x.png")
    done = make_lr(photos, tmp_path / "lr", 2)
    assert done.failed == {"empty": 1, "outside_root": 1, "truncated": 1, "unreadable": 1}
    assert {problem.name for problem in done.failures} == {
        "gravel/out.png",
        "moss/moss0.png",
        "moss/moss1.png",
        "moss/moss2.png",
    }
    assert done.written == len(images(tmp_path / "lr")) == 9


def test_a_degradation_that_there_is_not(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="filter"):
        make_lr(photos, tmp_path / "lr", 2, "cubic")
    with pytest.raises(RecipeError, match="factor"):
        make_lr(photos, tmp_path / "lr", 1)
    assert not (tmp_path / "lr").exists()


# --- crops ---


def test_crops_are_cut_from_their_images(photos: Path, tmp_path: Path) -> None:
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, factor=4, per_image=3))
    assert (done.written, done.kept, done.failures) == (72, 0, ())
    assert done.folders == (tmp_path / "hr", tmp_path / "lr")
    high, low = images(tmp_path / "hr"), images(tmp_path / "lr")
    assert high.keys() == low.keys()
    assert sorted(high)[:3] == ["bark/bark0_000.png", "bark/bark0_001.png", "bark/bark0_002.png"]
    for name in high:
        square = Image.open(tmp_path / "hr" / name)
        whole = next((photos / Path(name).parent).glob(f"{Path(name).stem[:-4]}.*"))
        assert is_part(np.asarray(square), np.asarray(Image.open(whole)))
        expected = square.resize((4, 4), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "lr" / name)), np.asarray(expected))


def is_part(square: Pixels, whole: Pixels) -> bool:
    views = np.lib.stride_tricks.sliding_window_view(whole, square.shape)
    return bool((views == square).all((-3, -2, -1)).any())


def test_crops_come_from_key_seed_and_number_alone(photos: Path, tmp_path: Path) -> None:
    make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, per_image=2))
    first = images(tmp_path / "hr")
    (tmp_path / "few").mkdir()
    shutil.copy(photos / "moss/moss1.png", tmp_path / "few/renamed.png")
    make_crops(tmp_path / "few", tmp_path / "hr2", tmp_path / "lr2", CropSettings(size=16, per_image=5))
    second = images(tmp_path / "hr2")
    assert [second[f"renamed_00{n}.png"] for n in (0, 1)] == [first[f"moss/moss1_00{n}.png"] for n in (0, 1)]
    make_crops(tmp_path / "few", tmp_path / "hr3", tmp_path / "lr3", CropSettings(size=16, per_image=5, seed=1))
    assert images(tmp_path / "hr3") != second


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12), st.text(max_size=5))
def test_a_crop_is_inside(size: int, more_rows: int, more_columns: int, name: str) -> None:
    rows, columns = np.mgrid[0 : size + more_rows, 0 : size + more_columns]
    whole = np.dstack([rows, columns, rows]).astype(np.uint8)
    square = crop(whole, size, name)
    assert square.shape == (size, size, 3)
    top, left = square[0, 0, :2]
    np.testing.assert_array_equal(square, whole[top : top + size, left : left + size])


def test_crops_reach_every_place() -> None:
    whole = np.dstack([*np.mgrid[0:5, 0:4], np.zeros((5, 4))]).astype(np.uint8)
    corners = Counter(tuple(crop(whole, 2, str(n))[0, 0, :2]) for n in range(2400))
    assert len(corners) == 4 * 3
    assert all(130 < count < 270 for count in corners.values()), "each place about 200 times"


def test_crop_positions_are_frozen() -> None:
    whole = np.dstack([*np.mgrid[0:200, 0:200], np.zeros((200, 200))]).astype(np.uint8)
    places = [tuple(int(v) for v in crop(whole, 10, f"0/{image_key(b'')}/{n}")[0, 0, :2]) for n in range(3)]
    assert places == [(140, 38), (40, 140), (115, 55)], "the same data and seed must be the same crops in every release"


def test_images_smaller_than_a_crop_fail(photos: Path, tmp_path: Path) -> None:
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=32, factor=4, per_image=1))
    assert done.failed == {"too_small": 9}
    assert done.written == 2 * 3, "one image of each class is 32×32"
    assert "32×24 pixels are smaller than a square of 32" in done.failures[0].detail


@pytest.mark.parametrize("bad", [{"size": 10, "factor": 4}, {"size": 0}, {"per_image": 0}, {"size": -4}, {"factor": 1}])
def test_crops_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        CropSettings(**bad)


# --- what all have in common ---

Command = Callable[..., Prepared]


def do_split(src: Path | Catalog, out: Path, **more: Any) -> Prepared:
    return make_split(src, out, **{"ratios": (0.5, 0.25, 0.25), **more})


def do_lr(src: Path | Catalog, out: Path, **more: Any) -> Prepared:
    return make_lr(src, out, **{"factor": 2, **more})


def do_crops(src: Path | Catalog, out: Path, progress: Progress | None = None, **more: Any) -> Prepared:
    squares = CropSettings(**{"size": 16, "factor": 2, "per_image": 3, **more})
    return make_crops(src, out, out.with_name(f"{out.name}-lr"), squares, progress)


COMMANDS = pytest.mark.parametrize("command", [do_split, do_lr, do_crops])


@COMMANDS
def test_twice_is_once(photos: Path, tmp_path: Path, command: Command) -> None:
    first = command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    stamps = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}
    second = command(photos, tmp_path / "out")
    assert (second.written, second.kept) == (0, first.written)
    assert contents(tmp_path / "out") == before
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before} == stamps
    assert second.counts == first.counts


@COMMANDS
def test_an_interrupted_run_is_completed(photos: Path, tmp_path: Path, command: Command) -> None:
    whole = command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    lost = sorted(images(tmp_path / "out"))[::3]
    for name in lost:
        (tmp_path / "out" / name).unlink()
    emptied = sorted(images(tmp_path / "out"))[0]
    (tmp_path / "out" / emptied).write_bytes(b"")
    again = command(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert again.written >= len(lost) + 1
    assert again.written + again.kept == whole.written


@COMMANDS
def test_a_run_that_was_stopped_leaves_only_whole_files(photos: Path, tmp_path: Path, command: Command) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command(photos, tmp_path / "out", progress=stop)
    command(photos, tmp_path / "out")
    command(photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@COMMANDS
def test_a_disk_that_is_full(photos: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.replace, Counter[str]()

    def full(part: Path, path: Path) -> None:
        if Path(path).suffix in (".png", ".jpg"):
            calls["images"] += 1
            if calls["images"] > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(part, path)

    monkeypatch.setattr(srcache.study.prepare.run.os, "replace", full)
    with pytest.raises(DiskFullError, match="No space left on device"):
        command(photos, tmp_path / "out")
    monkeypatch.undo()
    done = command(photos, tmp_path / "out")
    assert done.kept > 0
    command(photos, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh"), "and no litter is left"


@COMMANDS
def test_threads_and_order_do_not_change_a_byte(
    photos: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(photos, tmp_path / "one")
    catalog = scan(photos)
    turned = Catalog(rows=catalog.rows[::-1], classes=catalog.classes, root=catalog.root)
    monkeypatch.setattr(srcache.study.prepare.run, "_WORKERS", 1)
    command(turned, tmp_path / "two")
    assert images(tmp_path / "one") == images(tmp_path / "two")


@COMMANDS
def test_folders_that_touch_the_source_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    before = contents(photos)
    (tmp_path / "link").symlink_to(photos)
    for place in (photos, photos / "out", photos.parent, tmp_path / "link/out", photos / "../photos/moss/../x"):
        with pytest.raises(ConfigError, match="must lie apart"):
            command(photos, place)
    assert contents(photos) == before


def test_crops_folders_must_lie_apart(photos: Path, tmp_path: Path) -> None:
    for high, low in (("out", "out"), ("out", "out/lr"), ("out/hr", "out")):
        with pytest.raises(ConfigError, match="must lie apart"):
            make_crops(photos, tmp_path / high, tmp_path / low, CropSettings(size=16))
    with pytest.raises(ConfigError, match="must lie apart"):
        make_crops(photos, tmp_path / "hr", photos / "lr", CropSettings(size=16))
    assert not (tmp_path / "hr").exists()


@COMMANDS
def test_folders_with_other_things_in_them_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="must be empty"):
        command(photos, tmp_path / "full")
    with pytest.raises(ConfigError, match="is a file"):
        command(photos, tmp_path / "full/mine.txt")
    assert contents(tmp_path / "full") == {"mine.txt": b"precious"}


@COMMANDS
def test_an_empty_folder_is_taken(photos: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".{MARKER}.k1ll3d").write_text("{")
    assert command(photos, tmp_path / "out").written > 0


@COMMANDS
def test_other_parameters_or_other_images_are_refused(photos: Path, tmp_path: Path, command: Command) -> None:
    command(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = {do_split: {"seed": 1}, do_lr: {"filter": "box"}, do_crops: {"seed": 1}}[command]
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out", **other)
    another = do_lr if command is do_split else do_split
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        another(photos, tmp_path / "out")
    shutil.copy(photos / "moss/moss0.png", photos / "moss/new.png")
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out")
    (tmp_path / "out" / MARKER).write_bytes(b"\xff broken")
    with pytest.raises(ConfigError, match="other parameters or from other images"):
        command(photos, tmp_path / "out")
    assert images(tmp_path / "out") == {name: data for name, data in before.items() if name != MARKER}


@COMMANDS
def test_progress(photos: Path, tmp_path: Path, command: Command) -> None:
    told: list[tuple[int, int]] = []
    command(photos, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert told == sorted(told)


def test_the_marker_tells_what_was_done(photos: Path, tmp_path: Path) -> None:
    make_split(photos, tmp_path / "out", seed=3, link="hard")
    assert json.loads((tmp_path / "out" / MARKER).read_text()) == {
        "srcache": "prepare",
        "format": 1,
        "command": "split",
        "parameters": {"ratios": [0.8, 0.1, 0.1], "seed": 3, "link": "hard"},
        "source": scan(photos).digest,
    }


def test_a_name_that_gets_too_long_is_a_failure(photos: Path, tmp_path: Path) -> None:
    long = "x" * 250 + ".png"
    shutil.copy(photos / "moss/moss0.png", photos / "moss" / long)
    done = make_crops(photos, tmp_path / "hr", tmp_path / "lr", CropSettings(size=16, per_image=1))
    assert [(problem.name, problem.reason) for problem in done.failures] == [(f"moss/{long}", "bad_name")]
    assert make_lr(photos, tmp_path / "half", 2).failures == ()


SLOWLY = """
import sys, time
import srcache.study.prepare.run
from srcache.study.prepare.lr import lr
real = srcache.study.prepare.run.os.replace
def slow(part, path):
    time.sleep(0.03)
    real(part, path)
srcache.study.prepare.run.os.replace = slow
print("started", flush=True)
lr(sys.argv[1], sys.argv[2], 2)
"""


def test_a_killed_run_is_completed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = subprocess.Popen([sys.executable, "-c", SLOWLY, str(photos), str(out)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    while not list(out.rglob("*.png")) and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    left = [path for path in out.rglob("*.png") if not path.name.startswith(".")]
    for path in left:
        Image.open(path).load()
    done = make_lr(photos, out, 2)
    assert done.kept == len(left)
    make_lr(photos, tmp_path / "fresh", 2)
    assert images(out) == images(tmp_path / "fresh")


# --- the command ---


def test_the_command_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["prepare", "split", str(photos), str(out), "--ratios", "0.5,0.25,0.25", "--seed", "1", "--link", "hard"]
    assert run(words) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        f"{out}: 12 files written, 0 there already",
        "split       class   images",
        "train       bark         2",
        "train       gravel       2",
    ]
    make_split(photos, tmp_path / "same", (0.5, 0.25, 0.25), 1, "hard")
    assert contents(out) == contents(tmp_path / "same")
    assert run(words) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["prepare", "lr", str(photos), str(tmp_path / "lr"), "--factor", "4"]) == 0
    make_lr(photos, tmp_path / "same-lr", 4)
    assert contents(tmp_path / "lr") == contents(tmp_path / "same-lr")


def test_the_command_lines_failures(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    high, low = tmp_path / "hr", tmp_path / "lr"
    words = ["prepare", "crops", str(photos), str(high), str(low), "--size", "32", "--factor", "4", "--per-image", "2"]
    assert run([*words, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "srcache.prepare/1"
    assert told["ok"] is False
    assert told["result"] == {
        "command": "crops",
        "folders": [str(high), str(low)],
        "written": 12,
        "kept": 0,
        "failed": {"too_small": 9},
        "counts": {},
        "doubles": [],
    }
    assert told["failures"][0]["reason"] == "too_small"
    assert run(words) == 1
    assert "too_small: bark/bark0.png: 32×24 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["split", "{src}", "{out}", "--ratios", "a,b"], "expected numbers with commas between"),
        (["split", "{src}", "{out}", "--ratios", "80,10,10"], "three numbers from 0 to 1"),
        (["split", "{src}", "{src}/out"], "must lie apart"),
        (["lr", "{src}", "{out}", "--factor", "2", "--filter", "cubic"], "filter must be one of"),
        (["crops", "{src}", "{out}", "{out}2", "--size", "30"], "multiple of factor"),
    ],
)
def test_the_command_lines_mistakes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert run(["prepare", *(word.format(src=photos, out=tmp_path / "out") for word in words)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
