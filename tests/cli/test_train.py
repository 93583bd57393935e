"""`srcache train`: every arm, the document, options from a file, mistakes."""

import json
import shutil

import pytest

from srcache.study.train.runs import open_run

QUICK = ("size=16", "epochs=2", "batch_size=8", "network=small:4")


def settings(*changes):
    return [word for one in (*QUICK, *changes) for word in ("--set", one)]


def sources(stripes, split="train"):
    return [
        "--lr",
        stripes / "lr" / split,
        "--hr",
        stripes / "hr" / split,
        "--cache",
        stripes / "cache",
        "--recipe",
        "lanczos",
    ]


@pytest.mark.medium
@pytest.mark.parametrize("arm", ["lr", "hr", "sr", "bicubic", "0: lr; 1: lr=0.5,sr=0.5"])
def test_every_arm_is_trained(stripes, tmp_path, srcache, arm):
    more = ["--validation", stripes / "lr/validation", "--validation-hr", stripes / "hr/validation"]
    more += ["--test", stripes / "lr/test", "--test-hr", stripes / "hr/test"]
    code, out, err = srcache("train", *sources(stripes), "--arm", arm, *more, "--out", tmp_path / "run", *settings())
    assert code == 0, err
    assert "train            9     9   18" in out
    assert "epoch   2 of 2: loss" in out
    assert "test accuracy" in out
    trained = open_run(tmp_path / "run")
    assert (trained.arm, trained.balance["test"]) == (arm, {"across": 3, "down": 3})


@pytest.mark.medium
def test_the_document(stripes, tmp_path, srcache):
    words = [*sources(stripes), "--arm", "sr", "--validation", "0.3", "--out", tmp_path / "run", *settings(), "--json"]
    code, out, _ = srcache("train", *words)
    document = json.loads(out)
    assert code == 0
    assert (document["schema"], document["ok"], document["failures"]) == ("srcache.train/1", True, [])
    assert list(document["result"]) == [
        *("folder", "arm", "classes", "best_epoch", "metrics", "balance", "device", "seconds", "stopped", "reused"),
        *("weights", "inputs", "versions", "network", "seed", "epochs", "treated"),
    ]
    assert document["result"]["balance"]["validation"] == {"across": 3, "down": 3}
    assert document["result"]["reused"] is False
    assert json.loads(srcache("train", *words)[1])["result"]["reused"] is True


@pytest.mark.medium
def test_options_may_come_from_a_file(stripes, tmp_path, srcache):
    config = tmp_path / "train.yaml"
    lines = [f"lr: {stripes / 'lr/train'}", "arm: lr", "validation: 0.3"]
    config.write_text("\n".join([*lines, "set: {size: 16, epochs: 1, network: thesis-lr, learning_rate: 1e-4}"]))
    code, _, err = srcache("train", "--config", config, "--out", tmp_path / "run")
    assert code == 0, err
    trained = open_run(tmp_path / "run")
    assert (trained.settings.network, trained.settings.learning_rate, len(trained.history)) == ("thesis-lr", 1e-4, 1)


def test_all_images_that_cannot_be_used_are_listed_before_the_first_epoch(stripes, tmp_path, srcache):
    for split in ("train", "test"):
        shutil.copytree(stripes / "lr" / split, tmp_path / split)
        (tmp_path / split / "down/down 1.png").write_bytes(b"no image")
    (tmp_path / "train/across/gone.png").symlink_to(tmp_path / "nowhere")
    words = ["train", "--lr", tmp_path / "train", "--arm", "lr", "--validation", stripes / "lr/validation"]
    words += ["--test", tmp_path / "test", "--out", tmp_path / "run", *settings()]
    code, out, err = srcache(*words)
    assert code == 1
    assert "epoch" not in out
    assert "srcache: 3 images cannot be used (unreadable 3):" in err
    for name in ("train/down/down 1.png", "train/across/gone.png", "test/down/down 1.png"):
        assert f"  unreadable: {tmp_path / name}: " in err
    assert not (tmp_path / "run").exists()
    document = json.loads(srcache(*words, "--json").out)
    assert (document["error"]["kind"], document["error"]["exit_code"]) == ("ImagesError", 1)
    assert len(document["failures"]) == 3


def test_a_mistake_is_refused(stripes, tmp_path, srcache):
    low, out = stripes / "lr/train", tmp_path / "run"

    def err(*words, code=2):
        found, _, text = srcache("train", "--out", out, *words)
        assert found == code, text
        return text

    assert "give training images: --lr, --hr or both" in err("--arm", "lr", "--validation", "0.2")
    assert "expected a folder, or a share such as 0.2" in err("--arm", "lr", "--lr", low, "--validation", "missing")
    assert "between 0 and 1" in err("--arm", "lr", "--lr", low, "--validation", "20")
    assert "which would leak: train/across" in err("--arm", "lr", "--lr", low, "--validation", low)
    assert "arm sr needs a cache" in err("--arm", "sr", "--lr", low, "--validation", "0.2")
    both = err("--arm", "lr", "--lr", low, "--validation", "0.2", "--set", "epcohs=3", "--set", "seed=-1")
    assert "there is no setting 'epcohs'" in both
    assert "seed must be" in both
    assert not out.exists()


@pytest.mark.medium
def test_another_training_in_the_folder_is_replaced_only_if_asked(stripes, tmp_path, srcache):
    words = ["train", "--lr", stripes / "lr/train", "--arm", "lr", "--validation", "0.3", "--out", tmp_path / "run"]
    assert srcache(*words, *settings())[0] == 0
    code, _, err = srcache(*words, *settings("seed=1"))
    assert code == 2
    assert "holds another training, which differs in settings.seed; choose another folder, or --replace it" in err
    assert srcache(*words, *settings("seed=1"), "--replace")[0] == 0
    assert open_run(tmp_path / "run").settings.seed == 1
