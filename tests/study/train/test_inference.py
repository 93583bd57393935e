"""Predictions of a run: on any folder, on any domain, with labels by name."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from train_study import arm, arm_sets

from srcache.errors import CatalogError, ConfigError, DamagedError
from srcache.study.arms.arms import arm_dataset
from srcache.study.compare.predictions import join, read_predictions, write_predictions
from srcache.study.train.inference import predict
from srcache.study.train.loop import train_run
from srcache.study.train.runs import open_run
from srcache.study.train.settings import TrainSettings

SETTINGS = TrainSettings(network="small:8", size=32, epochs=8, batch_size=6, learning_rate=0.02)


@pytest.fixture(scope="module")
def home(stripes, tmp_path_factory):
    """Images, a cache, and a run on SR; do not change it."""
    home = shutil.copytree(stripes, tmp_path_factory.mktemp("trained") / "stripes")
    train_run(arm_sets(home, "sr"), home / "run", SETTINGS)
    return home


def test_predictions_have_the_accuracy_that_training_measured(home):
    run = open_run(home / "run")
    for split, name in (("validation", "val_accuracy"), ("test", "test_accuracy")):
        found = predict(run, arm(home, "sr", split))
        assert sum(row.right for row in found.rows) / len(found.rows) == run.metrics[name]


def test_rows_are_named_keyed_and_labelled_as_the_data(home):
    data = arm(home, "sr", "test")
    found = predict(home / "run", data)
    assert found.classes == ("across", "down")
    assert [row.name for row in found.rows] == [name.removesuffix(".png") for name in data.names]
    assert [row.key for row in found.rows] == list(data.keys)
    assert [row.label for row in found.rows] == list(data.labels)
    for row in found.rows:
        assert sum(row.probabilities) == pytest.approx(1, abs=1e-12)
        assert row.prediction == found.classes[int(np.argmax(row.probabilities))]


@pytest.mark.medium
def test_every_domain_can_be_asked_about_and_joins_by_name(home, tmp_path):
    grid = {name: predict(home / "run", arm(home, name, "test")) for name in ("lr", "bicubic", "sr", "hr")}
    assert len(join(grid).names) == 6
    assert grid["sr"].rows == grid["bicubic"].rows, "this recipe's SR is the bicubic control"
    assert grid["sr"].rows != grid["hr"].rows
    write_predictions(tmp_path / "sr.csv", grid["sr"])
    assert read_predictions(tmp_path / "sr.csv") == grid["sr"]


def test_a_run_is_found_again_after_the_process_has_changed_its_folder(home, tmp_path, monkeypatch):
    monkeypatch.chdir(home)
    run = open_run("run")
    monkeypatch.chdir(tmp_path)
    assert run.folder == home / "run"
    assert len(predict(run, home / "hr/test").rows) == 6


def test_a_folder_is_taken_as_it_is(home):
    found = predict(home / "run", home / "hr/test")
    assert [row.probabilities for row in found.rows] == [
        row.probabilities for row in predict(home / "run", arm(home, "hr", "test")).rows
    ]
    assert [row.name for row in found.rows[:2]] == ["across/across 0", "across/across 1"]


def test_a_folder_without_classes_has_no_labels(home, tmp_path):
    for number, shape in enumerate([(5, 9), (70, 20), (1, 1)]):
        Image.new("RGB", shape).save(tmp_path / f"{number}.v2.png")
    found = predict(home / "run", tmp_path)
    assert [(row.name, row.label) for row in found.rows] == [("0.v2", None), ("1.v2", None), ("2.v2", None)]


def test_some_of_the_classes_are_enough(home):
    found = predict(home / "run", arm(home, "sr", "test").subset([4, 5]))
    assert [row.label for row in found.rows] == ["down", "down"]
    assert found.classes == ("across", "down")


def test_classes_that_the_run_does_not_know_are_an_error_unless_labels_are_ignored(home, tmp_path):
    shutil.copytree(home / "hr/test/down", tmp_path / "Down")
    shutil.copytree(home / "hr/test/across", tmp_path / "across")
    with pytest.raises(CatalogError, match=r"was not trained on: Down; it knows across, down\..*--unlabelled"):
        predict(home / "run", tmp_path)
    assert {row.label for row in predict(home / "run", tmp_path, labels="ignore").rows} == {None}
    with pytest.raises(ConfigError, match="labels must be one of match, ignore"):
        predict(home / "run", tmp_path, labels="guess")


def test_names_that_differ_in_the_suffix_alone_keep_it(home, tmp_path):
    for suffix in ("png", "bmp"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"a.{suffix}")
    assert [row.name for row in predict(home / "run", tmp_path).rows] == ["a.bmp", "a.png"]


def test_broken_images_are_told_and_broken_runs_refused(home, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/broken.png").write_bytes(b"no image")
    found = predict(home / "run", tmp_path / "folder")
    assert (found.rows, [(one.source, one.reason) for one in found.failures]) == ((), [("broken.png", "unreadable")])
    shutil.copytree(home / "run", tmp_path / "run")
    (tmp_path / "run/model.safetensors").write_bytes(b"")
    with pytest.raises(DamagedError, match="train again"):
        predict(tmp_path / "run", home / "hr/test")


def test_batches_move_probabilities_by_rounding_only_and_progress_is_reported(home):
    data, seen = arm(home, "hr", "test"), []
    one = predict(home / "run", data, batch_size=1, progress=lambda *counts: seen.append(counts))
    many = predict(home / "run", data, batch_size=100)
    np.testing.assert_allclose(
        [row.probabilities for row in one.rows], [row.probabilities for row in many.rows], atol=1e-5
    )
    assert seen == [(n, 6) for n in range(1, 7)]


def test_predicting_changes_nothing_global(home):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    predict(home / "run", home / "hr/test")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_mixture_is_asked_about_as_in_its_last_epoch(home):
    mixed = arm(home, "0: lr; 7: lr=0.5,hr=0.5", "test")
    found = predict(home / "run", mixed)
    mixed.set_epoch(7)
    assert {image.shape[0] for image in mixed} == {16, 32}
    kinds = ["hr" if image.shape[0] == 32 else "lr" for image in mixed]
    alone = {name: predict(home / "run", arm(home, name, "test")).rows for name in ("lr", "hr")}
    assert [row.prediction for row in found.rows] == [alone[kind][at].prediction for at, kind in enumerate(kinds)]


def test_a_run_in_another_fit_sees_other_images(home, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 48, 3), np.uint8)).save(tmp_path / "wide.png")
    run = open_run(home / "run")
    padded = predict(run, tmp_path)
    stretched = predict(replace(run, settings=replace(run.settings, fit="stretch")), tmp_path)
    assert padded.rows[0].probabilities != stretched.rows[0].probabilities


def test_arms_of_other_data_sets_can_be_asked_about(home):
    """A map-style data set in memory, without files."""
    images = [(Image.fromarray(arm(home, "hr", "test")[n]), 0) for n in range(3)]
    found = predict(home / "run", arm_dataset("hr", hr=images), labels="ignore")
    assert [row.probabilities for row in found.rows] == [
        row.probabilities for row in predict(home / "run", arm(home, "hr", "test").subset([0, 1, 2])).rows
    ]
