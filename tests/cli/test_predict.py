"""`srcache predict`: a CSV file of predictions, with and without labels, of images as they are or in another domain."""

import json
import shutil

import pytest

from srcache.study.compare.predictions import read_predictions


@pytest.mark.parametrize("domain", ["lr", "sr", "bicubic", "hr", "lr=0.5,sr=0.5"])
def test_every_domain_is_classified(stripes, run_on_lr, tmp_path, srcache, domain):
    words = ["--domain", domain, "--cache", stripes / "cache", "--recipe", "lanczos", "--hr", stripes / "hr/test"]
    code, out, err = srcache("predict", run_on_lr, stripes / "lr/test", "--out", tmp_path / "p.csv", *words)
    assert code == 0, err
    assert "p.csv: 6 images, " in out
    found = read_predictions(tmp_path / "p.csv")
    assert [row.label for row in found.rows] == ["across"] * 3 + ["down"] * 3


def test_the_document(stripes, run_on_lr, tmp_path, srcache):
    code, out, _ = srcache("predict", run_on_lr, stripes / "hr/test", "--out", tmp_path / "p.csv", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, "srcache.predict/1")
    result = document["result"]
    assert list(result) == ["out", "images", "failed", "labelled", "right", "accuracy", "predicted"]
    assert result["images"] == result["labelled"] == sum(result["predicted"].values()) == 6
    assert result["accuracy"] == result["right"] / 6


def test_what_predict_prints_is_what_the_file_holds(stripes, run_on_lr, tmp_path, srcache):
    _, out, _ = srcache("predict", run_on_lr, stripes / "lr/test", "--out", tmp_path / "p.csv", "--batch", 2)
    rows = read_predictions(tmp_path / "p.csv").rows
    right = sum(row.prediction == row.label for row in rows)
    head, *table = out.splitlines()
    assert head == f"{tmp_path / 'p.csv'}: 6 images, {right} of 6 right ({100 * right / 6:.1f} %)"
    predicted = [row.prediction for row in rows]
    assert [line.split() for line in table] == [
        ["class", "predicted"],
        *([name, str(predicted.count(name))] for name in ("across", "down")),
    ]


def test_a_folder_without_labels_is_said_to_have_none(stripes, run_on_lr, tmp_path, srcache):
    code, out, _ = srcache("predict", run_on_lr, stripes / "hr/test/down", "--out", tmp_path / "p.csv")
    assert code == 0
    assert "3 images, no labels" in out
    code, _, err = srcache("predict", run_on_lr, stripes / "hr", "--out", tmp_path / "p.csv")
    assert code == 2
    assert "was not trained on: test, train, validation" in err
    code, out, _ = srcache("predict", run_on_lr, stripes / "hr", "--out", tmp_path / "q.csv", "--unlabelled")
    assert code == 0
    assert "32 images, no labels" in out


def test_images_that_cannot_be_used_have_no_row_and_are_listed(stripes, run_on_lr, tmp_path, srcache):
    shutil.copytree(stripes / "lr/test", tmp_path / "test")
    (tmp_path / "test/down/down 1.png").write_bytes(b"no image")
    (tmp_path / "test/across/gone.png").symlink_to(tmp_path / "nowhere")
    words = ["predict", run_on_lr, tmp_path / "test", "--out", tmp_path / "p.csv"]
    code, out, err = srcache(*words)
    assert code == 1
    assert "p.csv: 5 images, " in out
    assert "failed: unreadable 2" in out
    assert "unreadable: down/down 1.png: the bytes are not an image" in err
    assert "down/down 1" not in {row.name for row in read_predictions(tmp_path / "p.csv").rows}
    words += ["--domain", "sr", "--cache", stripes / "cache", "--recipe", "lanczos", "--json"]
    document = json.loads(srcache(*words).out)
    assert (document["ok"], document["result"]["failed"]) == (False, {"missing": 1, "unreadable": 1})
    assert {one["source"] for one in document["failures"]} == {"down/down 1.png", "across/gone.png"}


def test_a_domain_is_needed_for_its_options(stripes, run_on_lr, tmp_path, srcache):
    code, _, err = srcache(
        "predict", run_on_lr, stripes / "lr/test", "--out", tmp_path / "p.csv", "--cache", stripes / "cache"
    )
    assert code == 2
    assert "belong to a --domain, which is missing" in err
    found = srcache(
        *("predict", run_on_lr, stripes / "lr/test", "--out", tmp_path / "p.csv", "--domain", "hr"),
        *("--hr", stripes / "hr/test"),
    )
    assert found[0] == 0, found[2]
    direct = srcache("predict", run_on_lr, stripes / "hr/test", "--out", tmp_path / "q.csv")
    assert direct[0] == 0
    assert [row.probabilities for row in read_predictions(tmp_path / "p.csv").rows] == [
        row.probabilities for row in read_predictions(tmp_path / "q.csv").rows
    ]


def test_a_folder_that_is_no_run_is_refused(stripes, tmp_path, srcache):
    code, _, text = srcache("predict", tmp_path, stripes / "lr/test", "--out", tmp_path / "p.csv")
    assert code == 2
    assert "expected the folder of a run" in text
