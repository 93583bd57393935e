"""`srcache prepare`: the functions' files and reports, failures as JSON and as lines, mistakes as exit code 2."""

import json
from pathlib import Path

import pytest
from prepare_commands import contents
from srcache_cli.main import run

from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.split import make_split


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
        (["split", "{src}", "{out}", "--ratios", "a,b"], "expected numbers separated by commas"),
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
