"""Training runs: bit for bit the same, interrupted or not; the best epoch; leaks; what is found finished is kept."""

import csv
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from train_study import arm, arm_sets, make_stripes

from srcache.errors import BusyError, CatalogError, ConfigError, DamagedError, DeviceError, WeightsError
from srcache.study.arms.arms import arm_dataset, split_share
from srcache.study.arms.sets import ArmSets
from srcache.study.train import loop as training
from srcache.study.train.loop import train_run
from srcache.study.train.runs import EpochLine, open_run
from srcache.study.train.settings import TrainSettings

QUICK = TrainSettings(network="small:4", size=16, epochs=3, batch_size=8, augmentation="thesis")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Do not change it."""
    return make_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="module")
def sets(home):
    return arm_sets(home)


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """A run of QUICK that nothing happened to; do not change it."""
    return train_run(sets, tmp_path_factory.mktemp("whole"), QUICK)


def weights(run):
    return load_file(run.folder / "model.safetensors")


def same(one, other):
    """Equal numbers and weights, bit for bit."""
    assert one.history == other.history
    assert (one.best_epoch, one.metrics, one.weights) == (other.best_epoch, other.metrics, other.weights)
    assert (one.folder / "model.safetensors").read_bytes() == (other.folder / "model.safetensors").read_bytes()


class StopError(Exception):
    """What a listener raises in the middle of a training."""


def stop_after(steps):
    def show(done, _total):
        if done == steps:
            raise StopError

    return show


def test_it_learns_what_can_be_learned(home, tmp_path):
    settings = TrainSettings(network="small:8", size=32, epochs=10, batch_size=6, learning_rate=0.02)
    run = train_run(arm_sets(home, "sr"), tmp_path / "run", settings)
    assert run.metrics["test_accuracy"] == 1.0
    assert run.history[-1].loss < run.history[0].loss


def test_the_thesis_network_learns_with_its_own_settings(home, tmp_path):
    """RMSprop with Keras' arithmetic, no schedule; three epochs only, so just the training loss must fall."""
    settings = TrainSettings(
        network="thesis-lr", size=16, epochs=3, batch_size=6, optimizer="rmsprop", schedule="constant", monitor="last"
    )
    run = train_run(arm_sets(home), tmp_path / "run", replace(settings, learning_rate=3e-4))
    assert run.best_epoch == 3
    assert run.history[-1].loss < run.history[0].loss


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(sets, whole, tmp_path):
    torch.manual_seed(5)
    same(train_run(sets, tmp_path / "again", QUICK), whole)
    same(train_run(sets, tmp_path / "workers", replace(QUICK, workers=2)), whole)
    other = train_run(sets, tmp_path / "other", replace(QUICK, seed=1))
    assert other.history != whole.history


@pytest.mark.parametrize("steps", [1, 3, 5])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "rmsprop", "momentum": 0.5, "monitor": "last", "schedule": "cosine"},
        {"optimizer": "sgd", "momentum": 0.9, "monitor": "val_accuracy", "precision": "bf16", "schedule": "constant"},
    ],
)
def test_an_interrupted_training_goes_on_to_the_same_numbers(sets, tmp_path, steps, change):
    """Two steps make an epoch here: stopped in the first, the second and the third."""
    settings = replace(QUICK, **change)
    undisturbed = train_run(sets, tmp_path / "undisturbed", settings)
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", settings, stop_after(steps))
    with pytest.raises(ConfigError, match="is not finished; run the same `srcache train` again"):
        open_run(tmp_path / "run")
    lines: list[EpochLine] = []
    run = train_run(sets, tmp_path / "run", settings, told=lines.append)
    assert [line.epoch for line in lines] == [1, 2, 3][(steps - 1) // 2 :], "no epoch twice"
    same(run, undisturbed)
    assert not (tmp_path / "run/state").exists()


def test_dropout_is_the_same_after_an_interruption(sets, tmp_path):
    """Chance inside the network, which comes from torch's global generator."""
    settings = replace(QUICK, network="torchvision:squeezenet1_1", size=32, epochs=2, learning_rate=1e-3)
    undisturbed = train_run(sets, tmp_path / "undisturbed", settings)
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", settings, stop_after(4))
    torch.rand(3)
    same(train_run(sets, tmp_path / "run", settings), undisturbed)


def test_a_crash_between_the_last_epoch_and_the_record_costs_nothing(sets, whole, tmp_path, monkeypatch):
    def fails(_run):
        raise StopError

    monkeypatch.setattr(training.runs, "write_finished", fails)
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK)
    monkeypatch.undo()
    lines: list[EpochLine] = []
    same(train_run(sets, tmp_path / "run", QUICK, told=lines.append), whole)
    assert lines == []


def test_a_state_of_other_versions_is_begun_anew(sets, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "versions", lambda: {"torch": "1.0"})
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK, stop_after(5))
    monkeypatch.undo()
    lines: list[EpochLine] = []
    same(train_run(sets, tmp_path / "run", QUICK, told=lines.append), whole)
    assert [line.epoch for line in lines] == [1, 2, 3]


def test_a_state_that_is_torn_is_told(sets, tmp_path):
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK, stop_after(5))
    last = tmp_path / "run/state/last.safetensors"
    whole = last.read_bytes()
    for torn in (whole[:100], whole[:-9], b""):
        last.write_bytes(torn)
        with pytest.raises(DamagedError, match=r"state to begin anew"):
            train_run(sets, tmp_path / "run", QUICK)


def test_a_finished_run_is_not_repeated(sets, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "run")
    lines: list[EpochLine] = []
    again = train_run(sets, tmp_path / "run", replace(QUICK, workers=1), told=lines.append)
    assert again.reused
    assert lines == []
    same(again, whole)
    (tmp_path / "run/model.safetensors").unlink()
    anew = train_run(sets, tmp_path / "run", QUICK)
    assert not anew.reused, "its weights are gone"
    same(anew, whole)


def test_another_training_is_refused_unless_it_is_to_be_replaced(home, sets, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"differs in settings\.epochs, settings\.seed; choose another"):
        train_run(sets, tmp_path / "run", replace(QUICK, epochs=2, seed=3))
    with pytest.raises(ConfigError, match=r"differs in arm, inputs\.test\.arm"):
        train_run(arm_sets(home, "sr"), tmp_path / "run", QUICK)
    run = train_run(sets, tmp_path / "run", replace(QUICK, epochs=2), replace=True)
    assert (len(run.history), run.reused) == (2, False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="expected a new or empty folder, or that of a run"):
        train_run(sets, tmp_path / "mine", QUICK, replace=True)
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"


def test_pictures_in_two_sets_are_refused_and_listed(home, tmp_path):
    train = arm(home, "sr")
    with pytest.raises(CatalogError) as caught:
        ArmSets(train=train, validation=train.subset([3, 4]))
    assert str(caught.value).startswith("2 pictures are in two sets (equal keys), which would leak: ")
    assert "train/across/across 3.png = validation/across/across 3.png" in str(caught.value)
    shutil.copytree(home / "lr/test", tmp_path / "test")
    (tmp_path / "test/down/renamed.png").write_bytes((home / "lr/train/across/across 1.png").read_bytes())
    with pytest.raises(CatalogError, match=r"train/across/across 1\.png = test/down/renamed\.png"):
        ArmSets(
            train=arm(home, "lr"),
            validation=arm(home, "lr", "validation"),
            test=arm_dataset("lr", lr=tmp_path / "test"),
        )


def test_sets_that_do_not_fit_are_refused(home, tmp_path):
    train, validation = arm(home, "lr"), arm(home, "lr", "validation")
    with pytest.raises(CatalogError, match="expected a validation set with a class for every picture"):
        ArmSets(train=train, validation=validation.subset([]))
    (tmp_path / "more/sideways").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "more/sideways/a.png")
    strange = arm_dataset("lr", lr=tmp_path / "more")
    with pytest.raises(CatalogError, match="classes that the training set has not: sideways; that has across, down"):
        ArmSets(train=train, validation=strange)
    flat = arm_dataset("lr", lr=tmp_path / "more/sideways")
    with pytest.raises(CatalogError, match="expected a train set with a class for every picture"):
        ArmSets(train=flat, validation=validation)


def test_a_validation_set_with_fewer_classes_is_matched_by_name(home, tmp_path):
    shutil.copytree(home / "lr/validation/down", tmp_path / "only/down")
    sets = ArmSets(train=arm(home, "lr"), validation=arm_dataset("lr", lr=tmp_path / "only"))
    settings = TrainSettings(network="small:8", size=16, epochs=12, batch_size=6, learning_rate=0.02)
    run = train_run(sets, tmp_path / "run", settings)
    assert run.metrics["val_accuracy"] == 1.0, "down is label 0 there and 1 in training"
    assert run.balance == {"train": {"across": 9, "down": 9}, "validation": {"down": 4}}


def line(epoch, loss, accuracy):
    return EpochLine(
        epoch=epoch, loss=1.0, train_accuracy=0.5, val_loss=loss, val_accuracy=accuracy, lr=0.1, seconds=0.0
    )


def test_the_best_epoch_is_told_by_the_named_metric_and_of_equal_ones_the_first():
    history = (line(1, 0.9, 0.5), line(2, 0.4, 0.7), line(3, 0.4, 0.8), line(4, 0.6, 0.8))
    assert [training._best(history, monitor) for monitor in ("val_loss", "val_accuracy", "last")] == [2, 3, 4]


def test_the_kept_weights_are_those_of_the_best_epoch(sets, tmp_path):
    """The first of the most accurate ones, found again by training just so many epochs and keeping the last."""
    settings = replace(QUICK, epochs=12, schedule="constant", learning_rate=0.02, monitor="val_accuracy")
    run = train_run(sets, tmp_path / "long", settings)
    best = max(run.history, key=lambda one: (one.val_accuracy, -one.epoch))
    assert run.best_epoch == best.epoch < 12, "or this test says nothing"
    short = train_run(sets, tmp_path / "short", replace(settings, epochs=best.epoch, monitor="last"))
    assert short.history == run.history[: best.epoch]
    assert all(torch.equal(value, weights(short)[name]) for name, value in weights(run).items())
    assert run.metrics == short.metrics


def test_patience_ends_a_training_that_gets_no_better(sets, tmp_path):
    settings = replace(QUICK, epochs=30, schedule="constant", learning_rate=0.02, monitor="val_accuracy", patience=2)
    run = train_run(sets, tmp_path / "run", settings)
    assert run.stopped
    assert len(run.history) == run.best_epoch + 2 < 30
    assert not train_run(sets, tmp_path / "whole", QUICK).stopped


def test_the_history_is_a_csv_that_reads_back_exactly(whole):
    with (whole.folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert tuple(EpochLine(**{k: float(v) for k, v in row.items()}) for row in rows) == whole.history
    with Image.open(whole.folder / "curves.png") as picture:
        assert min(picture.size) > 300


def test_the_history_is_written_while_it_grows(sets, tmp_path):
    counts = []
    train_run(
        sets,
        tmp_path / "run",
        QUICK,
        told=lambda _: counts.append(len((tmp_path / "run/history.csv").read_text().splitlines())),
    )
    assert counts == [2, 3, 4]


def test_the_test_set_is_only_looked_at_in_the_end(home, sets, whole, tmp_path):
    without = train_run(arm_sets(home, test=False), tmp_path / "run", QUICK)
    assert without.history == whole.history
    assert without.weights == whole.weights
    assert set(whole.metrics) - set(without.metrics) == {"test_loss", "test_accuracy"}


def test_progress_counts_every_step(sets, tmp_path):
    seen = []
    train_run(sets, tmp_path / "run", QUICK, lambda *counts: seen.append(counts))
    assert seen == [(step, 6) for step in range(1, 7)], "18 pictures by 8, the rest of 2 left out for its statistics"


def test_a_short_last_batch_is_used_where_no_statistics_hang_on_it(sets, tmp_path):
    seen = []
    settings = replace(QUICK, network="thesis-lr", epochs=1)
    train_run(sets, tmp_path / "run", settings, lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_picture_at_a_time_is_refused_where_it_cannot_be(home, tmp_path):
    sets = arm_sets(home, test=False)
    settings = replace(QUICK, network="torchvision:mobilenet_v3_small", size=32, batch_size=1)
    with pytest.raises(ConfigError, match=r"cannot train on one picture at a time .* raise batch_size"):
        train_run(sets, tmp_path / "run", settings)


def test_a_loss_that_explodes_is_refused_in_words(sets, tmp_path):
    settings = replace(QUICK, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(ConfigError, match=r"loss .*of epoch 1 is no finite number; lower learning_rate \(now 1e\+30\)"):
        train_run(sets, tmp_path / "run", settings)


def test_chance_and_settings_of_the_caller_are_left_alone(sets, tmp_path):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train_run(sets, tmp_path / "run", replace(QUICK, epochs=1, threads=threads + 1))
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "other", QUICK, stop_after(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_pretrained_weights_come_from_a_file_and_are_part_of_the_inputs(sets, tmp_path):
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    trained = squeezenet1_1(num_classes=5)
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    settings = replace(QUICK, network="torchvision:squeezenet1_1", size=32, epochs=1, learning_rate=0.0)
    settings = replace(settings, weight_decay=0.0, schedule="constant")
    runs = [
        train_run(sets, tmp_path / kind, replace(settings, weights=str(tmp_path / f"trained.{kind}")))
        for kind in ("safetensors", "pth")
    ]
    assert torch.equal(weights(runs[0])["1.features.0.weight"], trained.state_dict()["features.0.weight"])
    assert runs[0].inputs["weights"] == runs[1].inputs["weights"] is not None
    same(*runs)
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(tmp_path / "trained.pth", tmp_path / "moved")
    assert train_run(sets, tmp_path / "pth", replace(settings, weights=str(moved))).reused, "by content, not by place"
    with pytest.raises(WeightsError, match="expected a file of weights"):
        train_run(sets, tmp_path / "none", replace(settings, weights=str(tmp_path / "none.pth")))


def test_devices_and_precisions_that_are_not_there_are_said(sets, tmp_path):
    with pytest.raises(DeviceError):
        train_run(sets, tmp_path / "run", replace(QUICK, device="abacus"))
    with pytest.raises(ConfigError, match="precision fp16 is for CUDA devices"):
        train_run(sets, tmp_path / "run", replace(QUICK, precision="fp16"))
    assert not (tmp_path / "run").exists()


def test_amp_on_a_cpu_is_bf16(sets, tmp_path):
    amp, bf16, full = (
        train_run(sets, tmp_path / name, replace(QUICK, epochs=1, precision=name)) for name in ("amp", "bf16", "fp32")
    )
    assert amp.weights == bf16.weights != full.weights
    assert abs(amp.history[0].loss - full.history[0].loss) < 0.1


def test_the_record_is_json_that_says_everything(sets, whole):
    record = json.loads((whole.folder / "run.json").read_text())
    assert record["schema"] == "srcache.run/1"
    assert record["complete"] is True
    assert record["settings"] == QUICK.plain()
    assert record["balance"]["train"] == {"across": 9, "down": 9}
    assert record["inputs"]["train"] == sets.train.inputs
    assert set(record["versions"]) >= {"python", "torch", "srcache"}
    assert record["best_epoch"] == whole.best_epoch
    assert math.isfinite(record["seconds"])
    assert sorted(path.name for path in whole.folder.iterdir()) == [
        *("curves.png", "history.csv", "model.safetensors", "run.json"),
    ]
    assert open_run(whole.folder) == whole


def test_a_share_of_the_training_set_can_validate(home, tmp_path):
    train, validation = split_share(arm(home, "sr"), 0.3)
    run = train_run(ArmSets(train=train, validation=validation), tmp_path / "run", QUICK)
    assert run.balance["validation"] == {"across": 3, "down": 3}


def test_mixtures_change_while_training_and_stay_while_measuring(home, tmp_path, monkeypatch):
    """Policies count epochs from 0; a validation set that changed would compare epochs with each other unfairly."""
    sets, seen = arm_sets(home, "lr=0.5,hr=0.5"), []
    for name, data in sets.named.items():
        tell = data.set_epoch
        monkeypatch.setattr(
            data, "set_epoch", lambda epoch, name=name, tell=tell: (seen.append((name, epoch)), tell(epoch))
        )
    train_run(sets, tmp_path / "run", QUICK)
    epochs = [("train", 0), ("validation", 2), ("train", 1), ("validation", 2), ("train", 2), ("validation", 2)]
    assert seen == [*epochs, ("test", 2)]


def test_one_mixture_may_serve_two_sets(home, tmp_path):
    """Both parts are told their epochs through the same data set."""
    train, validation = split_share(arm(home, "lr=0.5,hr=0.5"), 0.3)
    run = train_run(ArmSets(train=train, validation=validation), tmp_path / "run", QUICK)
    apart = ArmSets(train=split_share(arm(home, "lr=0.5,hr=0.5"), 0.3)[0], validation=validation)
    assert train_run(apart, tmp_path / "apart", QUICK).history == run.history


def test_two_trainings_into_one_folder_do_not_meet(sets, tmp_path):
    def again(done, _total):
        if done == 3:
            with pytest.raises(BusyError, match="state is being trained by process"):
                train_run(sets, tmp_path / "run", QUICK)

    assert len(train_run(sets, tmp_path / "run", QUICK, again).history) == 3


def test_a_crash_in_the_first_moment_leaves_a_folder_that_can_be_used(sets, whole, tmp_path):
    (tmp_path / "run/state").mkdir(parents=True)
    (tmp_path / "run/state/lock").write_text("123")
    (tmp_path / "run/.run.json.abc").touch()
    same(train_run(sets, tmp_path / "run", QUICK), whole)


def test_a_training_that_failed_before_its_first_epoch_ended_is_in_nobodys_way(sets, whole, tmp_path):
    with pytest.raises(ConfigError, match="no finite number"):
        train_run(sets, tmp_path / "run", replace(QUICK, optimizer="sgd", learning_rate=1e30, schedule="constant"))
    same(train_run(sets, tmp_path / "run", QUICK), whole)
