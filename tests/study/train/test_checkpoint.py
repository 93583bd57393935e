"""What a training keeps after each epoch: killed anywhere, it goes on to the same numbers; damage is noticed."""

import shutil
from dataclasses import replace

import pytest
import torch
from train_study import QUICK, StopError, arm_sets, assert_same, stop_after

from srcache.errors import ConfigError, DamagedError
from srcache.study.arms.sets import ArmSets
from srcache.study.train import loop, runs
from srcache.study.train.checkpoint import TrainProgress, best_weights, drop_state, load_state, save_state
from srcache.study.train.loop import train_run
from srcache.study.train.optimizers import make_optimizer
from srcache.study.train.runs import EpochLine, open_run
from srcache.study.train.settings import TrainSettings

pytestmark = [pytest.mark.medium, pytest.mark.usefixtures("no_curves")]


CHANGES = (
    {},
    {"optimizer": "rmsprop", "momentum": 0.5, "monitor": "last", "schedule": "cosine"},
    {"optimizer": "sgd", "momentum": 0.9, "monitor": "val_accuracy", "precision": "bf16", "schedule": "constant"},
)


@pytest.fixture(scope="module", params=CHANGES, ids=["adamw", "rmsprop", "sgd"])
def undisturbed(request, sets, tmp_path_factory):
    """A run that nothing happened to, by one of several optimisers; do not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "write_curves", lambda *_: False)
        return train_run(sets, tmp_path_factory.mktemp("undisturbed"), replace(QUICK, **request.param))


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_an_interrupted_training_goes_on_to_the_same_numbers(sets, undisturbed, tmp_path, steps):
    """Two steps make an epoch here: stopped in the first, the second and the third."""
    settings = undisturbed.settings
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", settings, stop_after(steps))
    with pytest.raises(ConfigError, match="is not finished; run the same `srcache train` again"):
        open_run(tmp_path / "run")
    lines: list[EpochLine] = []
    run = train_run(sets, tmp_path / "run", settings, on_epoch=lines.append)
    assert [line.epoch for line in lines] == [1, 2, 3][(steps - 1) // 2 :], "no epoch twice"
    assert_same(run, undisturbed)
    assert not (tmp_path / "run/state").exists()


def test_dropout_is_the_same_after_an_interruption(sets, tmp_path):
    """Chance inside the network, which comes from torch's global generator; few images, since the network is large."""
    few = ArmSets(train=sets.train.subset(range(0, 18, 2)), validation=sets.validation.subset([0, 7]))
    settings = replace(QUICK, network="torchvision:squeezenet1_1", size=32, epochs=2, batch_size=5, learning_rate=1e-3)
    undisturbed = train_run(few, tmp_path / "undisturbed", settings)
    with pytest.raises(StopError):
        train_run(few, tmp_path / "run", settings, stop_after(3))
    torch.rand(3)
    assert_same(train_run(few, tmp_path / "run", settings), undisturbed)
    other = train_run(few, tmp_path / "other", replace(settings, seed=1))
    assert other.history != undisturbed.history


def test_a_crash_between_the_last_epoch_and_the_record_costs_nothing(sets, finished, tmp_path, monkeypatch):
    def fails(_run):
        raise StopError

    monkeypatch.setattr(loop.runs, "write_finished", fails)
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK)
    monkeypatch.undo()
    lines: list[EpochLine] = []
    assert_same(train_run(sets, tmp_path / "run", QUICK, on_epoch=lines.append), finished)
    assert lines == []


def test_a_state_of_other_versions_is_not_used(sets, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "versions", lambda: {"torch": "1.0"})
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK, stop_after(5))
    monkeypatch.undo()
    lines: list[EpochLine] = []
    assert_same(train_run(sets, tmp_path / "run", QUICK, on_epoch=lines.append), finished)
    assert [line.epoch for line in lines] == [1, 2, 3]


def test_a_state_that_is_torn_is_refused(sets, tmp_path):
    with pytest.raises(StopError):
        train_run(sets, tmp_path / "run", QUICK, stop_after(5))
    last = tmp_path / "run/state/last.safetensors"
    good = last.read_bytes()
    for torn in (good[:100], good[:-9], b""):
        last.write_bytes(torn)
        with pytest.raises(DamagedError, match=r"state to start anew"):
            train_run(sets, tmp_path / "run", QUICK)


def test_a_finished_run_is_not_repeated(sets, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    lines: list[EpochLine] = []
    again = train_run(sets, tmp_path / "run", replace(QUICK, workers=1), on_epoch=lines.append)
    assert again.reused
    assert lines == []
    assert_same(again, finished)
    (tmp_path / "run/model.safetensors").unlink()
    anew = train_run(sets, tmp_path / "run", QUICK)
    assert not anew.reused, "its weights are gone"
    assert_same(anew, finished)


def test_another_training_is_refused_unless_it_is_to_be_replaced(stripes, sets, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"differs in settings\.epochs, settings\.seed; choose another"):
        train_run(sets, tmp_path / "run", replace(QUICK, epochs=2, seed=3))
    with pytest.raises(ConfigError, match=r"differs in arm, inputs\.test\.arm"):
        train_run(arm_sets(stripes, "sr"), tmp_path / "run", QUICK)
    run = train_run(sets, tmp_path / "run", replace(QUICK, epochs=2), replace=True)
    assert (len(run.history), run.reused) == (2, False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="expected a new or empty folder, or that of a run"):
        train_run(sets, tmp_path / "mine", QUICK, replace=True)
    assert (tmp_path / "mine/notes.txt").read_text() == "mine"


def test_a_crash_in_the_first_moment_leaves_a_folder_that_can_be_used(sets, finished, tmp_path):
    (tmp_path / "run/state").mkdir(parents=True)
    (tmp_path / "run/state/lock").write_text("123")
    (tmp_path / "run/.run.json.abc").touch()
    assert_same(train_run(sets, tmp_path / "run", QUICK), finished)


def test_a_training_that_failed_before_its_first_epoch_ended_is_in_nobodys_way(sets, finished, tmp_path):
    with pytest.raises(ConfigError, match="no finite number"):
        train_run(sets, tmp_path / "run", replace(QUICK, optimizer="sgd", learning_rate=1e30, schedule="constant"))
    assert_same(train_run(sets, tmp_path / "run", QUICK), finished)


LINE = EpochLine(epoch=1, loss=1.0, train_accuracy=0.5, val_loss=0.9, val_accuracy=0.6, lr=0.1, seconds=2.0)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_a_state_comes_back_as_it_was_kept(tmp_path, optimizer):
    """The next step of both is the same, so nothing that it depends on was left out."""
    settings = TrainSettings(optimizer=optimizer, momentum=0.0 if optimizer == "adamw" else 0.5)

    def prepared(seed):
        torch.manual_seed(seed)
        network = torch.nn.Linear(3, 2)
        return network, make_optimizer(network, settings)

    def step(network, optimizer, image):
        optimizer.zero_grad()
        network(image).square().sum().backward()
        optimizer.step()

    ours, theirs = prepared(0), prepared(1)
    image, identity = torch.rand(4, 3), {"arm": "lr", "inputs": {"size": (1, 2)}}
    step(*ours, image)
    progress = TrainProgress(identity=identity, history=(LINE,), best_epoch=1, scaler={"scale": 2.0})
    save_state(tmp_path, *ours, progress)
    assert torch.equal(best_weights(tmp_path, 1)["weight"], ours[0].weight)
    found = load_state(tmp_path, identity, *theirs)
    assert (found.history, found.best_epoch, found.scaler) == ((LINE,), 1, {"scale": 2.0})
    for pair in (ours, theirs):
        step(*pair, image)
    assert torch.equal(ours[0].weight, theirs[0].weight)
    assert torch.equal(ours[0].bias, theirs[0].bias)


def test_a_state_of_another_training_touches_nothing(tmp_path):
    network = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(network, TrainSettings())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert load_state(tmp_path, {"arm": "lr"}, network, optimizer) is None
    save_state(tmp_path, torch.nn.Linear(3, 2), optimizer, TrainProgress(identity={"arm": "lr"}, scaler={}))
    assert load_state(tmp_path, {"arm": "sr"}, network, optimizer) is None
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_the_weights_of_the_best_epoch_are_kept(tmp_path):
    network = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(network, TrainSettings())
    for epoch, best in ((1, 1), (2, 1), (3, 3)):
        progress = TrainProgress(identity={}, history=(LINE,) * epoch, best_epoch=best, scaler={})
        save_state(tmp_path, network, optimizer, progress)
        held = sorted(path.name for path in (tmp_path / "state").iterdir())
        assert held == [f"best-000{best}.safetensors", "last.safetensors"]
    with pytest.raises(DamagedError, match=r"best-0001\.safetensors is not what a training wrote"):
        best_weights(tmp_path, 1)
    drop_state(tmp_path)
    drop_state(tmp_path)
    assert not (tmp_path / "state").exists()
