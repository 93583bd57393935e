"""`srcache eval classifiers`: its tables, its verdict, its files, its document, and mistakes."""

import json
import os
from pathlib import Path

import numpy as np
import paths
import pytest

from srcache.study.compare.predictions import PredictionRow, Predictions, write_predictions

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")
pytest.importorskip("matplotlib")

GOLDEN = paths.GOLDEN / "cli/eval-classifiers.json"
CLASSES = ("<script>", 'a, "b"')


def _write(name, right, classes=CLASSES):
    """A CSV of predictions with probabilities; labels take turns."""
    rows = []
    for place, hit in enumerate(right):
        label, other = classes if place % 2 else classes[::-1]
        answer = label if hit else other
        share = 0.61 + 0.037 * (place % 10)
        probabilities = (share, 1 - share) if answer == classes[0] else (1 - share, share)
        rows.append(PredictionRow(f"x/{place:02d}", "", label, answer, probabilities))
    write_predictions(Path(name), Predictions(classes, tuple(rows)))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Twenty images: A is right on 18, B on 9 of these, C on all but the first."""
    monkeypatch.chdir(tmp_path)
    _write("A.csv", [1] * 18 + [0] * 2)
    _write("B.csv", [1] * 9 + [0] * 11)
    _write("C.csv", [0] + [1] * 19)
    return tmp_path


@pytest.fixture
def evaluate(home, srcache):
    """Run `srcache eval classifiers …`: exit code, stdout, stderr."""
    return lambda line: srcache("eval", "classifiers", *line.split())


def _rounded(value):
    """A document whose floats are the same with every library's last digits."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _words(lines):
    """Lines without what aligns them."""
    return [" ".join(line.split()) for line in lines]


@pytest.mark.medium
def test_the_golden_document(evaluate):
    code, out, _ = evaluate("A.csv B.csv C.csv --out out --json")
    document = json.loads(out)
    assert (code, document["schema"], document["ok"]) == (0, "srcache.eval/1", True)
    normal = _rounded(document)
    if os.environ.get("SRCACHE_WRITE_GOLDENS"):
        GOLDEN.write_text(json.dumps(normal, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    words = "scripts of users read this; SRCACHE_WRITE_GOLDENS=1 writes it again, if it is meant to change"
    assert normal == json.loads(GOLDEN.read_text(encoding="utf-8")), words


@pytest.mark.medium
def test_tables_verdict_and_files_for_people(evaluate, home):
    code, out, err = evaluate("A.csv second=B.csv C.csv --out out")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split()[:4] == ["classifier", "right", "images", "accuracy"]
    assert lines[1].startswith("A              18      20     0.900  0.699 to 0.972")
    assert "A - second 9 0 0.0039 0.0020 0.0059 significant +0.450, +0.181 to +0.646 12" in _words(lines)
    assert any(line.startswith("Cochran's Q: 15.") for line in lines)
    assert "pair b c exact p mid-p mid-p, holm at 0.05 accuracy difference images for power 0.8" in _words(lines)
    (verdict,) = [line for line in lines if line.startswith("Verdict: ")]
    assert verdict.startswith("Verdict: 2 of 3 pairs differ significantly at 0.05 after Holm's correction for 3 pairs")
    wrote = [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]
    assert wrote[0] == "out/compare.json"
    assert {path.name for path in (home / "out").iterdir()} == {Path(path).name for path in wrote}
    assert "out/confusion-second.png" in wrote
    assert "out/discordant-A-second.csv" in wrote
    assert json.loads(Path("out/compare.json").read_text())["verdict"] == verdict.removeprefix("Verdict: ")


def test_nothing_is_written_unasked(evaluate, home):
    before = sorted(home.iterdir())
    assert evaluate("A.csv B.csv")[0] == 0
    assert sorted(home.iterdir()) == before


@pytest.mark.medium
def test_the_same_name_again_is_another_seed(evaluate):
    rng = np.random.default_rng(0)
    for place in range(3):
        _write(f"a{place}.csv", rng.random(40) < 0.9)
        _write(f"b{place}.csv", rng.random(40) < 0.5)
    line = "A=a0.csv B=b0.csv A=a1.csv B=b1.csv A=a2.csv B=b2.csv"
    code, out, _ = evaluate(line)
    assert code == 0
    assert out.startswith("Seed 1 of 3:")
    assert "Seed 3: A is right more often than B" in out
    assert "A - B  3 of 3       +0." in out
    assert "Verdict: Over 3 seeds, the arms differ by intervals over images and seeds: A against B +" in out
    first, again, other = (json.loads(evaluate(f"{line} --json --seed {seed}")[1])["result"] for seed in (0, 0, 7))
    assert first == again
    assert first["comparison"]["seeds"]["seed"] == 0
    assert [len(arm["accuracies"]) for arm in first["comparison"]["seeds"]["arms"]] == [3, 3]
    assert other["comparison"]["seeds"]["pairs"][0]["tests"] == first["comparison"]["seeds"]["pairs"][0]["tests"]


def test_options_decide(evaluate):
    document = json.loads(evaluate("A.csv B.csv C.csv --alpha 0.1 --correction none --test exact --json")[1])
    settings = document["result"]["comparison"]["settings"]
    assert (settings["alpha"], settings["correction"], settings["test"]) == (0.1, "none", "exact")
    assert document["result"]["comparison"]["pairs"][0]["odds_ratio"]["level"] == 0.9


def test_options_from_a_file(evaluate):
    Path("options.yaml").write_text("predictions: [A.csv, B.csv]\nalpha: 0.001\n")
    assert "not significant at 0.001" in evaluate("--config options.yaml")[1]


def test_one_file_is_scored(evaluate):
    code, out, _ = evaluate("A.csv")
    assert code == 0
    assert "pair" not in out
    assert "there is nothing to compare it with" in out


def test_undefined_scores_are_a_dash_with_a_note(evaluate):
    Path("p.csv").write_text("name,label,prediction\nx,a,a\ny,b,a\n")
    Path("q.csv").write_text("name,label,prediction\nx,a,a\ny,b,a\n")
    _, out, _ = evaluate("p.csv q.csv")
    assert out.splitlines()[1].endswith("  –    –")
    assert "note: p: precision counts as 0 for what was never predicted (b)" in out
    assert "p - q 0 0 1.0000 1.0000 1.0000 no +0.000, -0.573 to +0.573 –" in _words(out.splitlines())
    assert "right on the same 1 of 2 images: there is nothing to test" in out


def test_paths_with_equals_signs_are_paths(evaluate):
    Path("lr=0.1").mkdir()
    os.replace("B.csv", "lr=0.1/B.csv")
    assert "A - B " in evaluate("A.csv lr=0.1/B.csv")[1]
    assert "A - two " in evaluate("A.csv two=lr=0.1/B.csv")[1]


MISTAKES = {
    "": "Missing argument '[NAME=]FILE...'",
    "A.csv missing.csv": "missing.csv cannot be read as CSV in UTF-8",
    "A.csv x=missing.csv": "missing.csv cannot be read",
    "A.csv A.csv": "several files would be called A; give names, such as LR=A.csv",
    "A.csv A=B.csv": "several files would be called A",
    "A=A.csv A=B.csv C=C.csv": "every arm needs the same number of seeds, and at least one, but A has 2, C has 1",
    "A.csv short.csv": "short lacks 2 of 20 images: x/18, x/19",
    "A.csv other.csv": "the same image has different labels",
    "bare.csv": "only labelled images can be scored, but 1 of 1 have no label: x",
    "A.csv bad.csv": "line 2: x: the prediction 'b' is none of the classes 'a'",
    "A.csv B.csv --alpha 1": "alpha must be above 0 and below 0.5, but is 1.0",
    "A.csv B.csv --correction hs": "a correction is one of holm, bonferroni, none, but got 'hs'",
    "A.csv B.csv --test chi2": "a test is one of mid-p, exact, but got 'chi2'",
    "A.csv B.csv --power 0": "power must be above 0 and below 1",
    "A.csv B.csv --seed -1": "seed must be an integer from 0 to",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_refused_with_exit_code_2(evaluate, line):
    _write("short.csv", [1] * 18)
    _write("other.csv", [1] * 20, CLASSES[::-1])
    Path("bare.csv").write_text("name,prediction\nx,a\n")
    Path("bad.csv").write_text("name,prediction,p_a\nx,b,1\n")
    code, out, err = evaluate(f"{line} --out out")
    assert (code, out) == (2, "")
    assert MISTAKES[line] in " ".join(err.split())
    assert not Path("out").exists()


def test_a_mistake_with_json_is_a_document(evaluate):
    code, out, _ = evaluate("A.csv missing.csv --json")
    document = json.loads(out)
    assert (code, document["schema"], document["ok"]) == (2, "srcache.eval/1", False)
    assert document["error"]["kind"] == "CatalogError"


@pytest.mark.medium
def test_a_folder_that_cannot_be_written_is_the_machines_fault(evaluate):
    Path("file").touch()
    code, _, err = evaluate("A.csv B.csv --out file/out")
    assert code == 4
    assert "could not be written" in err
