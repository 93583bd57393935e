"""The quickstart from end to end: the shipped experiment with fewer images and epochs, by its own command."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from srcache_cli.main import run

from srcache.images import decode
from srcache.study import experiment

pytestmark = pytest.mark.slow

FEWER = {"data.limit": 3, "train.epochs": 1, "arms.*.network": "small:2", "compare.draws": 200}


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Have the command load the experiment with fewer images and epochs, from wherever it imports the function."""
    load = experiment.load_experiment
    for home in ("srcache.study.experiment", "srcache.study.experiment.load"):
        patch.setattr(f"{home}.load_experiment", lambda name: load(name, FEWER))
    patch.setattr("srcache_cli.experiment._jobs", lambda _: 1)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished quickstart."""
    home = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        assert run(["quickstart", "--out", str(home / "out")]) == 0
    return home / "out"


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "results.json").read_text()))


def test_it_ends_with_a_report_of_three_seeds(out: Path, results: dict[str, Any]) -> None:
    assert results["complete"] is True
    assert [(arm["name"], len(arm["accuracy"])) for arm in results["arms"]] == [
        *(("lr", 3), ("bicubic", 3), ("sr", 3), ("mix", 3), ("bicubic+trivial", 3), ("mix+trivial", 3), ("hr", 3))
    ]
    assert (out / "report.html").stat().st_size > 50_000
    assert results["seeds"]["seeds"] == 3
    assert results["verdict"].startswith("Over 3 seeds, ")
    assert results["commands"][0].startswith("srcache quickstart --out")


def test_its_images_are_what_they_are_called(out: Path, results: dict[str, Any]) -> None:
    files = {kind: sorted((out / "data" / kind).rglob("*.png")) for kind in ("hr", "lr")}
    names = {kind: [path.relative_to(out / "data" / kind) for path in paths] for kind, paths in files.items()}
    assert names["hr"] == names["lr"]
    assert len(names["hr"]) == 8 * 3 * 3
    hr, small = (decode(files[kind][5].read_bytes()) for kind in ("hr", "lr"))
    assert hr.shape[0] == 4 * small.shape[0] == 64
    blocks = hr[..., 0].reshape(16, 4, 16, 4).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), small[..., 0].ravel())[0, 1] > 0.9
    row = results["images"][7]
    small, bicubic = (decode((out / row[kind]).read_bytes()) for kind in ("lr", "bicubic"))
    assert (np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)) == bicubic).all()


def test_super_resolution_comes_nearer_to_hr_than_interpolation(results: dict[str, Any]) -> None:
    psnr = {kind: found["metrics"]["psnr"]["mean"] for kind, found in results["quality"].items()}
    assert 15 < psnr["bicubic"] + 0.5 < psnr["sr"] < 40


def test_a_second_run_repeats_nothing(
    out: Path,
    results: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    make_small(monkeypatch)
    copy = shutil.copytree(out, tmp_path / "out")
    assert run(["quickstart", "--out", str(copy), "--json"]) == 0
    said = capfd.readouterr()
    document = json.loads(said.out)
    assert document["schema"] == "srcache.quickstart/1"
    assert (document["result"]["trained"], document["result"]["reused"]) == (0, 21)
    assert document["result"]["grid"] == results["grid"]
    assert "nothing to do" in said.err
    assert "there already" in said.err
