"""Both experiments of the thesis from end to end: two epochs, a dozen pictures, `compact`, small sizes."""

import json
from pathlib import Path

import pytest
from srcache_cli.main import run

pytestmark = pytest.mark.slow

SMALL = {
    "data.kind": "faces",
    "data.limit": "2",
    "train.epochs": "2",
    "train.device": "cpu",
    "device": "cpu",
    "recipe": "compact",
    "quality.metrics": "[psnr,ssim]",
    "compare.draws": "200",
}
AS_PUBLISHED = {**SMALL, "arms.lr.size": "16", "arms.sr.size": "24", "arms.hr.size": "24", "train.precision": "fp32"}
CORRECTED = {
    **SMALL,
    "train.size": "24",
    "train.precision": "fp32",
    "seeds": "[0,1]",
    "further.gan": "bicubic",
    "quality.resize": "picture:bicubic",
}


def words(name: str, out: Path, changes: dict[str, str]) -> list[str]:
    found = ["experiment", name, "--out", str(out), "--jobs", "1"]
    for key, value in changes.items():
        found += ["--set", f"{key}={value}"]
    return found


@pytest.mark.parametrize(("name", "changes"), [("thesis-as-published", AS_PUBLISHED), ("thesis-corrected", CORRECTED)])
def test_the_thesis_runs_to_its_report(tmp_path: Path, name: str, changes: dict[str, str]) -> None:
    out = tmp_path / "out"
    assert run(words(name, out, changes)) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["complete"] is True
    assert sum(sum(counts.values()) for counts in results["data"]["counts"].values()) == 12
    assert all(len(history) == 2 for arm in results["arms"] for history in arm["history"])
    networks = {arm["name"]: arm["network"] for arm in results["arms"]}
    if name == "thesis-as-published":
        assert networks == {"lr": "thesis-lr, 16×16", "sr": "thesis-sr, 24×24", "hr": "thesis-sr, 24×24"}
        assert [arm["best_epoch"] for arm in results["arms"]] == [[2]] * 3, "the last, whatever validation says"
        assert results["compare"]["settings"]["correction"] == "none"
        assert "One seed alone" in results["seeds"]["verdict"]
    else:
        assert set(networks.values()) == {"thesis-sr, 24×24"}
        assert results["grid"]["domains"] == ["lr", "bicubic", "sr", "hr", "gan"]
        assert results["compare"]["settings"]["correction"] == "holm"
        assert results["seeds"]["seeds"] == 2
    assert (out / "report.html").is_file()
