"""`srcache train` and `srcache predict`: documents, mistakes in words, the way from pictures to predictions."""

import json

import pytest
from srcache_cli.main import run
from train_study import make_stripes

from srcache.study.compare.predictions import read_predictions
from srcache.study.train.runs import open_run

QUICK = ("size=16", "epochs=2", "batch_size=8", "network=small:4")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Do not change it."""
    return make_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture
def srcache(capfd):
    """Run a command line; its exit code, and what it says on stdout and stderr."""

    def call(*words):
        code = run([str(word) for word in words])
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return call


def settings(*changes):
    return [word for one in (*QUICK, *changes) for word in ("--set", one)]


def sources(home, split="train"):
    return ["--lr", home / "lr" / split, "--hr", home / "hr" / split, "--cache", home / "cache", "--recipe", "lanczos"]


@pytest.mark.parametrize("arm", ["lr", "hr", "sr", "bicubic", "0: lr; 1: lr=0.5,sr=0.5"])
def test_every_arm_is_trained_and_asked(home, tmp_path, srcache, arm):
    more = ["--validation", home / "lr/validation", "--validation-hr", home / "hr/validation"]
    more += ["--test", home / "lr/test", "--test-hr", home / "hr/test"]
    code, out, err = srcache("train", *sources(home), "--arm", arm, *more, "--out", tmp_path / "run", *settings())
    assert code == 0, err
    assert "train            9     9   18" in out
    assert "epoch   2 of 2: loss" in out
    assert "test accuracy" in out
    trained = open_run(tmp_path / "run")
    assert (trained.arm, trained.balance["test"]) == (arm, {"across": 3, "down": 3})
    words = ["--domain", "bicubic", "--cache", home / "cache", "--recipe", "lanczos"]
    code, out, err = srcache("predict", tmp_path / "run", home / "lr/test", "--out", tmp_path / "p.csv", *words)
    assert code == 0, err
    assert "p.csv: 6 pictures, " in out
    found = read_predictions(tmp_path / "p.csv")
    assert [row.label for row in found.rows] == ["across"] * 3 + ["down"] * 3


def test_documents(home, tmp_path, srcache):
    words = [*sources(home), "--arm", "sr", "--validation", "0.3", "--out", tmp_path / "run", *settings(), "--json"]
    code, out, _ = srcache("train", *words)
    document = json.loads(out)
    assert code == 0
    assert (document["schema"], document["ok"], document["failures"]) == ("srcache.train/1", True, [])
    assert list(document["result"]) == [
        *("folder", "arm", "classes", "best_epoch", "metrics", "balance", "device", "seconds", "stopped", "reused"),
        *("weights", "inputs", "versions", "network", "seed", "epochs"),
    ]
    assert document["result"]["balance"]["validation"] == {"across": 3, "down": 3}
    assert document["result"]["reused"] is False
    assert json.loads(srcache("train", *words)[1])["result"]["reused"] is True
    code, out, _ = srcache("predict", tmp_path / "run", home / "hr/test", "--out", tmp_path / "p.csv", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, "srcache.predict/1")
    result = document["result"]
    assert list(result) == ["out", "images", "labelled", "right", "accuracy", "predicted"]
    assert result["images"] == result["labelled"] == sum(result["predicted"].values()) == 6
    assert result["accuracy"] == result["right"] / 6


def test_a_folder_without_labels_is_said_to_have_none(home, tmp_path, srcache):
    words = [*sources(home), "--arm", "lr", "--validation", "0.3", "--out", tmp_path / "run", *settings()]
    assert srcache("train", *words)[0] == 0
    code, out, _ = srcache("predict", tmp_path / "run", home / "hr/test/down", "--out", tmp_path / "p.csv")
    assert code == 0
    assert "3 pictures, no labels" in out
    code, _, err = srcache("predict", tmp_path / "run", home / "hr", "--out", tmp_path / "p.csv")
    assert code == 2
    assert "was not trained on: test, train, validation" in err
    code, out, _ = srcache("predict", tmp_path / "run", home / "hr", "--out", tmp_path / "q.csv", "--unlabelled")
    assert code == 0
    assert "32 pictures, no labels" in out


def test_options_may_come_from_a_file(home, tmp_path, srcache):
    config = tmp_path / "train.yaml"
    lines = [f"lr: {home / 'lr/train'}", "arm: lr", "validation: 0.3"]
    config.write_text("\n".join([*lines, "set: {size: 16, epochs: 1, network: thesis-lr, learning_rate: 1e-4}"]))
    code, _, err = srcache("train", "--config", config, "--out", tmp_path / "run")
    assert code == 0, err
    trained = open_run(tmp_path / "run")
    assert (trained.settings.network, trained.settings.learning_rate, len(trained.history)) == ("thesis-lr", 1e-4, 1)


def test_mistakes_are_said_in_a_line(home, tmp_path, srcache):
    low, out = home / "lr/train", tmp_path / "run"

    def err(*words, code=2):
        found, _, text = srcache("train", "--out", out, *words)
        assert found == code, text
        return text

    assert "give training pictures: --lr, --hr or both" in err("--arm", "lr", "--validation", "0.2")
    assert "expected a folder, or a share such as 0.2" in err("--arm", "lr", "--lr", low, "--validation", "missing")
    assert "between 0 and 1" in err("--arm", "lr", "--lr", low, "--validation", "20")
    assert "which would leak: train/across" in err("--arm", "lr", "--lr", low, "--validation", low)
    assert "arm sr needs a cache" in err("--arm", "sr", "--lr", low, "--validation", "0.2")
    both = err("--arm", "lr", "--lr", low, "--validation", "0.2", "--set", "epcohs=3", "--set", "seed=-1")
    assert "there is no setting 'epcohs'" in both
    assert "seed must be" in both
    assert not out.exists()
    code, _, text = srcache("predict", tmp_path, home / "lr/test", "--out", tmp_path / "p.csv")
    assert code == 2
    assert "expected the folder of a run" in text


def test_another_training_in_the_folder_is_replaced_only_if_asked(home, tmp_path, srcache):
    words = ["train", "--lr", home / "lr/train", "--arm", "lr", "--validation", "0.3", "--out", tmp_path / "run"]
    assert srcache(*words, *settings())[0] == 0
    code, _, err = srcache(*words, *settings("seed=1"))
    assert code == 2
    assert "holds another training, which differs in settings.seed; choose another folder, or --replace it" in err
    assert srcache(*words, *settings("seed=1"), "--replace")[0] == 0
    assert open_run(tmp_path / "run").settings.seed == 1


def test_a_domain_is_needed_for_its_options(home, tmp_path, srcache):
    words = ["train", "--lr", home / "lr/train", "--arm", "lr", "--validation", "0.3", "--out", tmp_path / "run"]
    assert srcache(*words, *settings())[0] == 0
    code, _, err = srcache(
        "predict", tmp_path / "run", home / "lr/test", "--out", tmp_path / "p.csv", "--cache", home / "cache"
    )
    assert code == 2
    assert "are for a --domain, which is missing" in err
    found = srcache(
        *("predict", tmp_path / "run", home / "lr/test", "--out", tmp_path / "p.csv", "--domain", "hr"),
        *("--hr", home / "hr/test"),
    )
    assert found[0] == 0, found[2]
    direct = srcache("predict", tmp_path / "run", home / "hr/test", "--out", tmp_path / "q.csv")
    assert direct[0] == 0
    assert [row.probabilities for row in read_predictions(tmp_path / "p.csv").rows] == [
        row.probabilities for row in read_predictions(tmp_path / "q.csv").rows
    ]
