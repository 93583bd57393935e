"""`srcache prepare`: what each of its commands writes and prints, failures, and mistakes."""

import json
import re
from pathlib import Path

import pytest
from images import picture
from PIL import Image
from prepare_commands import contents
from srcache_cli.main import run

from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.split import make_split


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_split_prints_the_counts_of_every_class(photos, tmp_path, srcache):
    words = ("prepare", "split", photos, tmp_path / "data", "--ratios", "0.5,0.25,0.25", "--seed", 3)
    printed = srcache(*words)
    assert (printed.code, printed.err) == (0, "")
    head, *table = printed.out.splitlines()
    assert head == f"{tmp_path / 'data'}: 12 files written, 0 there already"
    counts = {"train": "2", "validation": "1", "test": "1"}
    assert [line.split() for line in table] == [
        ["split", "class", "images"],
        *([split, label, count] for split, count in counts.items() for label in ("bark", "gravel", "moss")),
    ]
    assert srcache(*words).out.startswith(f"{tmp_path / 'data'}: 0 files written, 12 there already (nothing to do)\n")


def test_equal_files_in_different_classes_are_named(photos, tmp_path, srcache):
    (photos / "moss/copy.png").write_bytes((photos / "bark/bark0.png").read_bytes())
    printed = srcache("prepare", "split", photos, tmp_path / "data")
    assert printed.code == 0
    assert "\nsame bytes in different classes: bark/bark0.png, moss/copy.png\n" in printed.out
    assert printed.out.endswith("too few usable ones for its share: test/bark, test/gravel, test/moss\n")


def test_links_share_their_bytes_with_the_source(photos, tmp_path, srcache):
    assert srcache("prepare", "split", photos, tmp_path / "data", "--link", "hard").code == 0
    linked = {path.stat().st_ino for path in (tmp_path / "data").rglob("*.*") if path.parent.name in ("bark", "moss")}
    assert linked <= {path.stat().st_ino for path in photos.rglob("*.*")}
    assert len(linked) == 8


def test_lr_copies_have_the_names_and_a_part_of_the_size(photos, tmp_path, srcache):
    printed = srcache("prepare", "lr", photos, tmp_path / "lr", "--factor", 4, "--filter", "box")
    assert (printed.code, printed.out) == (0, f"{tmp_path / 'lr'}: 12 files written, 0 there already\n")
    with Image.open(photos / "bark/bark0.png") as source, Image.open(tmp_path / "lr/bark/bark0.png") as copy:
        assert copy.size == (source.width // 4, source.height // 4)


def test_crops_are_pairs_that_depend_on_the_seed(tmp_path, srcache):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(40, 60, 1)).save(tmp_path / "in/one.png")
    made = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        hr, lr = tmp_path / name / "hr", tmp_path / name / "lr"
        words = ("--size", 16, "--factor", 4, "--per-image", 3, "--seed", seed, "--json")
        printed = srcache("prepare", "crops", tmp_path / "in", hr, lr, *words)
        result = json.loads(printed.out)["result"]
        assert (result["command"], result["folders"]) == ("crops", [str(hr), str(lr)])
        assert sorted(_files(hr)) == sorted(_files(lr))
        assert len(_files(hr)) == 3
        made[name] = list(_files(hr).values())
    assert made["first"] == made["again"] != made["other"]


def test_failures_are_listed_and_cut_short(tmp_path, srcache):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture(8, 8)).save(tmp_path / "in/good.png")
    for number in range(12):
        (tmp_path / f"in/bad{number:02}.png").write_bytes(b"no image")
    printed = srcache("prepare", "lr", tmp_path / "in", tmp_path / "lr", "--factor", 2)
    assert printed.code == 1
    assert printed.out == f"{tmp_path / 'lr'}: 1 file written, 0 there already\nimages: 11 duplicates\n"
    lines = printed.err.splitlines()
    assert len(lines) == 11
    assert re.match(r"  \w+: bad00\.png: ", lines[0])
    assert lines[-1] == "  … and 2 more (--json lists all)"
    document = json.loads(srcache("prepare", "lr", tmp_path / "in", tmp_path / "lr", "--factor", 2, "--json").out)
    assert (document["schema"], document["ok"]) == ("srcache.prepare/1", False)
    assert [one["name"] for one in document["failures"]] == [f"bad{number:02}.png" for number in range(12)]
    assert (document["result"]["written"], document["result"]["kept"]) == (0, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("split photos out --ratios 0.8;0.2", "expected numbers separated by commas, such as 0.8,0.1,0.1"),
        ("split photos out --ratios 0.8,0.1", "ratios must be three numbers from 0 to 1 that sum to 1"),
        ("split photos photos", "must lie apart, but one is inside the other or the same"),
        ("split missing out", "Path 'missing' does not exist"),
        ("split photos out --link soft", "'soft' is not one of"),
        ("lr photos out", "Missing option '--factor'"),
        ("lr photos out --factor 1", "1 is not in the range"),
        (
            "lr photos out --factor 2 --filter sharp",
            "filter must be one of nearest, box, bilinear, hamming, bicubic, lanczos, but is 'sharp'",
        ),
        ("crops photos hr lr --size 30 --factor 4", "size must be a multiple of factor 4, but is 30"),
        ("crops photos hr hr --size 16 --factor 4", "must lie apart"),
        ("nothing", "No such command 'nothing'"),
    ],
)
def test_a_mistake_is_refused(photos, monkeypatch, refuse, line, message):
    monkeypatch.chdir(photos.parent)
    refuse(f"prepare {line}", message)


def test_the_commands_write_what_the_functions_write(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_images_that_are_too_small_are_failures(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    high, low = tmp_path / "hr", tmp_path / "lr"
    words = ["prepare", "crops", str(photos), str(high), str(low), "--size", "32", "--factor", "4", "--per-image", "2"]
    assert run([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "srcache.prepare/1"
    assert document["ok"] is False
    assert document["result"] == {
        "command": "crops",
        "folders": [str(high), str(low)],
        "written": 12,
        "kept": 0,
        "failed": {"too_small": 9},
        "counts": {},
        "doubles": [],
        "lacking": [],
        "treated": {},
    }
    assert document["failures"][0]["reason"] == "too_small"
    assert run(words) == 1
    assert "too_small: bark/bark0.png: 32×24 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["split", "{src}", "{out}", "--ratios", "a,b"], "expected numbers separated by commas"),
        (["split", "{src}", "{out}", "--ratios", "80,10,10"], "three numbers from 0 to 1"),
        (["split", "{src}", "{src}/out"], "must lie apart"),
        (["lr", "{src}", "{out}", "--factor", "2", "--filter", "cubic"], "filter must be one of"),
        (["crops", "{src}", "{out}", "{out}2", "--size", "30"], "multiple of factor"),
    ],
)
def test_after_a_mistake_no_folder_is_made(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run(["prepare", *(word.format(src=photos, out=tmp_path / "out") for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
