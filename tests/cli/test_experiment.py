"""`srcache experiment`: what it prints, its document, and what reaches the run."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from srcache_cli import experiment
from srcache_cli.main import cli, run
from srcache_cli.options import parse_changes
from tiny_experiment import make_images, tiny

CHANGES = ["--set", "train.epochs=1", "--jobs", 1]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The configuration mine.yaml of a tiny study with two arms and one seed, in the current folder."""
    monkeypatch.chdir(tmp_path)
    small = tiny(make_images(tmp_path / "data"), seeds=[0], arms=[{"name": "lr", "arm": "lr"}, {"arm": "hr"}])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(small.plain()))
    return "mine.yaml"


@pytest.mark.medium
def test_what_experiment_prints(config, srcache):
    printed = srcache("experiment", config, "--out", "out", *CHANGES)
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert any(line.startswith("training hr, seed 0: epoch  1 of 1") for line in lines)
    start = lines.index("Accuracy on 10 test images of each arm's own kind")
    assert lines[start + 1].split() == ["arm", "network", "accuracy", "spread", "seed", "0"]
    for name, line in zip(("lr", "hr"), lines[start + 2 : start + 4], strict=True):
        assert re.fullmatch(rf"{name} +small:2, 16×16 +(\d+\.\d %) +– +\1", line)
    quality = next(number for number, line in enumerate(lines) if line.startswith("Image quality against HR ("))
    assert lines[quality + 1].split() == ["psnr", "ssim"]
    assert any(line.startswith("HR and LR are ") or line.startswith("HR is right ") for line in lines)
    assert any(line.startswith("Verdict: ") for line in lines)
    assert lines[-3:-1] == [
        "2 networks trained, 0 there already; everything is in",
        "out, the report is out/report.html",
    ]
    assert re.fullmatch(r"done in [\d.]+ (s|min)", lines[-1])


@pytest.mark.medium
def test_with_json_progress_is_on_stderr_and_the_command_is_recorded(config, srcache, tmp_path):
    printed = srcache("experiment", config, "--out", "out", *CHANGES, "--json")
    document = json.loads(printed.out)
    assert (document["schema"], document["ok"]) == ("srcache.experiment/1", True)
    assert list(document["result"]) == [
        *("out", "results", "report", "answer", "verdict", "arms", "sweeps", "grid", "treated", "trained", "reused"),
        "seconds",
    ]
    assert [list(arm) for arm in document["result"]["arms"]] == 2 * [["name", "domain", "accuracy", "mean", "spread"]]
    assert "training lr, seed 0" in printed.err
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["commands"] == [
        "srcache experiment mine.yaml --out out --set train.epochs=1",
        "srcache report out",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2"), ("lanczos", "lanczos"), ([0, 1], "[0, 1]"), (None, "null"), ({"a": True}, "{a: true}"), ("2", "'2'")],
)
def test_a_recorded_change_is_read_as_the_same_value(value, text):
    assert experiment._word(value) == text
    assert parse_changes([f"key={text}"]) == {"key": value}


@pytest.mark.parametrize(
    ("devices", "threads", "cores", "jobs"),
    [
        (["cpu", "cpu"], [1, 1], 4, 4),
        (["cpu", "cpu"], [1, 2], 4, 2),
        (["cpu"], [8], 4, 1),
        (["cpu", "cuda"], [1, 1], 4, 1),
        (["auto"], [1], 4, 1),
    ],
)
def test_trainings_at_the_same_time_fit_the_cores(monkeypatch, devices, threads, cores, jobs):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    settings = [SimpleNamespace(device=device, threads=count) for device, count in zip(devices, threads, strict=True)]
    arms = [SimpleNamespace(settings=one) for one in settings]
    assert experiment._jobs(SimpleNamespace(arms=arms)) == jobs


def _result(**changes):
    """A finished experiment with two seeds, one arm, and an image that was left out."""
    results = {
        "config": {"seeds": [3, 5]},
        "data": {"counts": {"test": {"across": 1, "down": 2}}},
        "arms": [
            {"name": "sr", "network": "small", "mean": 0.75, "spread": 0.05, "accuracy": [0.7, 0.8]},
        ],
        "quality": {
            "bicubic": {
                **{"convention": "RGB", "pairs": 3},
                "metrics": {"psnr": {"mean": 30.123, "n": 3}, "lpips": {"mean": 0.25, "n": 2}},
            },
            "hr": {"convention": "RGB", "pairs": 3, "metrics": {"psnr": {"mean": None, "n": 3}}},
        },
        "compare": {"images": 2},
        "seeds": {"verdict": "One seed alone says little."},
    }
    failures = [
        {"step": "lr", "reason": "empty", "source": f"{number}.png", "detail": "no bytes"} for number in range(12)
    ]
    return SimpleNamespace(
        **{"results": results, "verdict": "No difference.", "failures": failures, "trained": 1, "reused": 3}
        | {"out": "out", "report": "out/report.html", "seconds": 3.0}
        | changes
    )


def test_tables_and_failures_of_a_finished_experiment(capsys):
    assert experiment.show_result("experiment", _result(), as_json=False) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == [
        "Accuracy on 2 of 3 test images of each arm's own kind",
        "arm  network  accuracy  spread  seeds 3, 5",
        "sr   small      75.0 %   5.0 %  70.0 %, 80.0 %",
        "",
        "Image quality against HR (RGB)",
        "         psnr             lpips",
        "bicubic  30.12 (n 3)      0.25 (n 2 of 3)",
        "HR       identical (n 3)  –",
        "",
        "Verdict: No difference.",
        "",
        "1 network trained, 3 there already; everything is in",
        "out, the report is out/report.html",
        "done in 3.0 s",
    ]
    lines = err.splitlines()
    assert lines[1:3] == ["12 images could not be used:", "  lr: empty: 0.png: no bytes"]
    assert lines[-1] == "  … and 2 more (--json lists all)"


def test_with_one_seed_its_verdict_is_followed_by_a_warning(capsys):
    result = _result(failures=[])
    result.results["config"]["seeds"] = [3]
    assert experiment.show_result("experiment", result, as_json=False) == 0
    out, err = capsys.readouterr()
    assert "Verdict: No difference.\nOne seed alone says little.\n" in out
    assert err == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("quickstart", "Missing option '--out'"),
        ("--out out", "Missing argument 'CONFIG'"),
        ("quickstart --out out --set a", "expected key=value, such as scale=2, but got 'a'"),
        ("quickstart --out out --set train.colour=1", "colour"),
        ("quickstart --out out --jobs 0", "0 is not in the range"),
        ("nothing --out out", "no experiment is named 'nothing'"),
    ],
)
def test_a_mistake_is_refused(tmp_path, monkeypatch, refuse, line, message):
    monkeypatch.chdir(tmp_path)
    refuse(f"experiment {line}", message)


@pytest.mark.medium
def test_an_image_that_cannot_be_read_is_listed_and_a_second_run_trains_nothing(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "images")
    (folder / "test/down/down-1.png").write_bytes(b"no image")
    small = tiny(folder, seeds=[0], arms=[{"arm": "lr"}, {"arm": "hr"}])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(small.plain()))
    words = ["experiment", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]
    words += ["--set", "train.epochs=1", "--jobs", "1"]
    said = CliRunner().invoke(cli, [*words, "--json"], standalone_mode=False)
    assert said.return_value == 1
    document = yaml.safe_load(said.stdout)
    assert (document["schema"], document["ok"]) == ("srcache.experiment/1", False)
    assert set(document["result"]) == {
        *("out", "results", "report", "answer", "verdict", "arms", "sweeps", "grid", "treated", "trained", "reused"),
        "seconds",
    }
    assert [failure["source"] for failure in document["failures"]] == ["test/down/down-1.png"]
    assert "training hr, seed 0: epoch  1 of 1" in said.stderr
    said = CliRunner().invoke(cli, words, standalone_mode=False)
    assert said.return_value == 1
    assert "Verdict: " in said.stdout
    assert "One seed alone" in said.stdout
    assert "0 networks trained, 2 there already" in said.stdout
    assert "1 image could not be used" in said.stderr
    assert "unreadable" in said.stderr or "down-1.png" in said.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [(["nothing", "--out", "out"], 2), (["quickstart"], 2), (["quickstart", "--out", "out", "--set", "a"], 2)],
)
def test_mistakes_end_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["experiment", *words]) == code
    assert os.listdir(tmp_path) == []
