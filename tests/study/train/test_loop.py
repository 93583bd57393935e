"""Training runs: bit for bit the same by one seed, the best epoch, what sets decide, what callbacks see."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from train_study import QUICK, StopError, arm, arm_sets, assert_same, stop_after, weights_of

from srcache.errors import BusyError, ConfigError, DeviceError, ImagesError, WeightsError
from srcache.study.arms.arms import arm_dataset, split_share
from srcache.study.arms.sets import ArmSets
from srcache.study.train import loop
from srcache.study.train.loop import train_run
from srcache.study.train.runs import EpochLine
from srcache.study.train.settings import TrainSettings

pytestmark = [pytest.mark.medium, pytest.mark.usefixtures("no_curves")]


def test_it_learns_what_can_be_learned(stripes, tmp_path):
    settings = TrainSettings(network="small:8", size=32, epochs=10, batch_size=6, learning_rate=0.02)
    run = train_run(arm_sets(stripes, "sr"), tmp_path / "run", settings)
    assert run.metrics["test_accuracy"] == 1.0
    assert run.history[-1].loss < run.history[0].loss


def test_the_thesis_network_learns_with_its_own_settings(stripes, tmp_path):
    """RMSprop with Keras' arithmetic, no schedule; three epochs only, so just the training loss must fall."""
    settings = TrainSettings(
        network="thesis-lr", size=16, epochs=3, batch_size=6, optimizer="rmsprop", schedule="constant", monitor="last"
    )
    run = train_run(arm_sets(stripes), tmp_path / "run", replace(settings, learning_rate=3e-4))
    assert run.best_epoch == 3
    assert run.history[-1].loss < run.history[0].loss


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(sets, finished, tmp_path):
    torch.manual_seed(5)
    assert_same(train_run(sets, tmp_path / "again", QUICK), finished)
    assert_same(train_run(sets, tmp_path / "workers", replace(QUICK, workers=2)), finished)
    other = train_run(sets, tmp_path / "other", replace(QUICK, seed=1))
    assert other.history != finished.history


def test_a_validation_set_with_fewer_classes_is_matched_by_name(stripes, tmp_path):
    shutil.copytree(stripes / "lr/validation/down", tmp_path / "only/down")
    sets = ArmSets(train=arm(stripes, "lr"), validation=arm_dataset("lr", lr=tmp_path / "only"))
    settings = TrainSettings(network="small:8", size=16, epochs=12, batch_size=6, learning_rate=0.02)
    run = train_run(sets, tmp_path / "run", settings)
    assert run.metrics["val_accuracy"] == 1.0, "down is label 0 there and 1 in training"
    assert run.balance == {"train": {"across": 9, "down": 9}, "validation": {"down": 4}}


def line(epoch, loss, accuracy):
    return EpochLine(
        epoch=epoch, loss=1.0, train_accuracy=0.5, val_loss=loss, val_accuracy=accuracy, lr=0.1, seconds=0.0
    )


def test_the_best_epoch_is_chosen_by_the_named_metric_and_of_equal_ones_the_first():
    history = (line(1, 0.9, 0.5), line(2, 0.4, 0.7), line(3, 0.4, 0.8), line(4, 0.6, 0.8))
    assert [loop._best_epoch(history, monitor) for monitor in ("val_loss", "val_accuracy", "last")] == [2, 3, 4]


def test_the_kept_weights_are_those_of_the_best_epoch(sets, tmp_path):
    """The first of the most accurate ones, found again by training just so many epochs and keeping the last."""
    settings = replace(QUICK, epochs=12, schedule="constant", learning_rate=0.02, monitor="val_accuracy")
    run = train_run(sets, tmp_path / "long", settings)
    best = max(run.history, key=lambda one: (one.val_accuracy, -one.epoch))
    assert run.best_epoch == best.epoch < 12, "or this test says nothing"
    short = train_run(sets, tmp_path / "short", replace(settings, epochs=best.epoch, monitor="last"))
    assert short.history == run.history[: best.epoch]
    assert all(torch.equal(value, weights_of(short)[name]) for name, value in weights_of(run).items())
    assert run.metrics == short.metrics


def test_patience_ends_a_training_that_gets_no_better(sets, tmp_path):
    settings = replace(QUICK, epochs=30, schedule="constant", learning_rate=0.02, monitor="val_accuracy", patience=2)
    run = train_run(sets, tmp_path / "run", settings)
    assert run.stopped
    assert len(run.history) == run.best_epoch + 2 < 30
    assert not train_run(sets, tmp_path / "finished", QUICK).stopped


def test_the_history_is_written_while_it_grows(sets, tmp_path):
    counts = []
    train_run(
        sets,
        tmp_path / "run",
        QUICK,
        on_epoch=lambda _: counts.append(len((tmp_path / "run/history.csv").read_text().splitlines())),
    )
    assert counts == [2, 3, 4]


def test_the_test_set_is_only_looked_at_in_the_end(stripes, sets, finished, tmp_path):
    without = train_run(arm_sets(stripes, test=False), tmp_path / "run", QUICK)
    assert without.history == finished.history
    assert without.weights == finished.weights
    assert set(finished.metrics) - set(without.metrics) == {"test_loss", "test_accuracy"}


def test_progress_counts_every_step(sets, tmp_path):
    seen = []
    train_run(sets, tmp_path / "run", QUICK, lambda *counts: seen.append(counts))
    assert seen == [(step, 6) for step in range(1, 7)], "18 images by 8, the rest of 2 left out for its statistics"


def test_a_short_last_batch_is_used_where_no_statistics_depend_on_it(sets, tmp_path):
    seen = []
    settings = replace(QUICK, network="thesis-lr", epochs=1)
    train_run(sets, tmp_path / "run", settings, lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_image_at_a_time_is_refused_where_it_cannot_be(stripes, tmp_path):
    sets = arm_sets(stripes, test=False)
    settings = replace(QUICK, network="torchvision:mobilenet_v3_small", size=32, batch_size=1)
    with pytest.raises(ConfigError, match=r"cannot train on one image at a time .* raise batch_size"):
        train_run(sets, tmp_path / "run", settings)


def test_a_loss_that_explodes_is_refused_with_advice(sets, tmp_path):
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
    assert torch.equal(weights_of(runs[0])["1.features.0.weight"], trained.state_dict()["features.0.weight"])
    assert runs[0].inputs["weights"] == runs[1].inputs["weights"] is not None
    assert_same(*runs)
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(tmp_path / "trained.pth", tmp_path / "moved")
    assert train_run(sets, tmp_path / "pth", replace(settings, weights=str(moved))).reused, "by content, not by place"
    with pytest.raises(WeightsError, match="expected a file of weights"):
        train_run(sets, tmp_path / "none", replace(settings, weights=str(tmp_path / "none.pth")))


def test_devices_and_precisions_that_are_not_there_are_refused(sets, tmp_path):
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


def test_a_share_of_the_training_set_can_validate(stripes, tmp_path):
    train, validation = split_share(arm(stripes, "sr"), 0.3)
    run = train_run(ArmSets(train=train, validation=validation), tmp_path / "run", QUICK)
    assert run.balance["validation"] == {"across": 3, "down": 3}


def test_mixtures_change_while_training_and_stay_while_measuring(stripes, tmp_path):
    """Policies count epochs from 0; a validation set that changed would compare epochs with each other unfairly."""
    seen = []

    def watched(name, data):
        return replace(data, on_epoch=lambda epoch: (seen.append((name, epoch)), data.set_epoch(epoch)))

    sets = arm_sets(stripes, "lr=0.5,hr=0.5").named
    train_run(ArmSets(**{name: watched(name, data) for name, data in sets.items()}), tmp_path / "run", QUICK)
    epochs = [("train", 0), ("validation", 2), ("train", 1), ("validation", 2), ("train", 2), ("validation", 2)]
    assert seen == [*epochs, ("test", 2)]


def test_one_mixture_may_serve_two_sets(stripes, tmp_path):
    """Both parts get their epochs through the same data set."""
    train, validation = split_share(arm(stripes, "lr=0.5,hr=0.5"), 0.3)
    run = train_run(ArmSets(train=train, validation=validation), tmp_path / "run", QUICK)
    apart = ArmSets(train=split_share(arm(stripes, "lr=0.5,hr=0.5"), 0.3)[0], validation=validation)
    assert train_run(apart, tmp_path / "apart", QUICK).history == run.history


def test_two_trainings_into_one_folder_do_not_meet(sets, tmp_path):
    def again(done, _total):
        if done == 3:
            with pytest.raises(BusyError, match="state is being trained by process"):
                train_run(sets, tmp_path / "run", QUICK)

    assert len(train_run(sets, tmp_path / "run", QUICK, again).history) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_is_damaged_meanwhile_is_told_with_all_others(stripes, tmp_path, workers):
    shutil.copytree(stripes / "lr", tmp_path / "lr")
    sets = ArmSets(**{name: arm_dataset("lr", lr=tmp_path / "lr" / name) for name in ("train", "validation")})
    for place in ("train/down/down 3.png", "train/across/across 5.png", "validation/down/down 1.png"):
        (tmp_path / "lr" / place).write_bytes(b"no image")
    with pytest.raises(ImagesError, match=r"3 images cannot be used \(unreadable 3\)") as caught:
        train_run(sets, tmp_path / "run", replace(QUICK, workers=workers))
    assert len(caught.value.failures) == 3


def test_files_that_could_not_be_catalogued_are_no_smaller_set(stripes, tmp_path):
    shutil.copytree(stripes / "lr/train", tmp_path / "train")
    (tmp_path / "train/down/gone.png").symlink_to(tmp_path / "nowhere")
    sets = ArmSets(train=arm_dataset("lr", lr=tmp_path / "train"), validation=arm(stripes, "lr", "validation"))
    with pytest.raises(ImagesError, match=r"unreadable: .*gone\.png: "):
        train_run(sets, tmp_path / "run", QUICK)
    assert not (tmp_path / "run").exists()
