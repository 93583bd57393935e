"""Run folders: what was written is read back, what is not complete is refused, a crash tears nothing."""

import csv
import json
import math
import sys

import pytest
import torch
from PIL import Image
from train_study import QUICK

from srcache.errors import ConfigError, DamagedError, DiskFullError
from srcache.study.train.networks import build_network
from srcache.study.train.runs import (
    EpochLine,
    TrainRun,
    open_run,
    read_record,
    write_curves,
    write_finished,
    write_started,
    write_weights,
)
from srcache.study.train.settings import TrainSettings

SETTINGS = TrainSettings(network="small:2", size=16)
LINES = tuple(
    EpochLine(epoch=n, loss=1 / n, train_accuracy=0.1 * n, val_loss=2 / n, val_accuracy=0.3, lr=1e-3, seconds=0.5)
    for n in (1, 2, 3)
)


def make_run(folder) -> TrainRun:
    network = build_network(SETTINGS.network, 2, SETTINGS.input_size)
    run = TrainRun(
        folder=folder,
        arm="sr",
        classes=("größe", "<b>"),
        settings=SETTINGS,
        inputs={"train": {"arm": "sr"}},
        history=LINES,
        best_epoch=3,
        metrics={"val_loss": 2 / 3},
        balance={"train": {"größe": 3, "<b>": 4}},
        versions={"torch": torch.__version__},
        device="cpu",
        weights=write_weights(folder / "model.safetensors", network.state_dict()),
        seconds=1.5,
        stopped=False,
    )
    write_finished(run)
    return run


def test_a_run_comes_back_as_it_was(tmp_path):
    torch.manual_seed(0)
    run = make_run(tmp_path)
    again = open_run(tmp_path)
    assert again == run
    assert not again.reused
    images = torch.rand(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(again.network()(images), run.network()(images))
    assert not again.network().training


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected the folder of a run .* has no run\.json"):
        open_run(tmp_path)
    write_started(tmp_path, {"arm": "lr"})
    assert read_record(tmp_path) == {"schema": "srcache.run/1", "complete": False, "arm": "lr"}
    with pytest.raises(ConfigError, match="is not finished"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": "srcache.run/2", "complete": true}', "\xff"])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedError, match=r"run\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"epochs": 0}},
        {"history": [{"epoch": 1}]},
        {"classes": None},
        {"classes": []},
        {"classes": "ab"},
        {"classes": ["a", 1]},
        {"classes": ["a", "a"]},
        {"best_epoch": ...},
    ],
)
def test_a_record_with_other_content_is_refused(tmp_path, change):
    make_run(tmp_path)
    record = {**json.loads((tmp_path / "run.json").read_text()), **change}
    record = {name: value for name, value in record.items() if value is not ...}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(DamagedError, match=r"is not what a training writes .* train again"):
        open_run(tmp_path)


def test_weights_that_are_not_what_was_written_are_refused(tmp_path):
    run, path = make_run(tmp_path), tmp_path / "model.safetensors"
    good = path.read_bytes()
    for torn in (good[:-1], b"", good[:-1] + bytes([good[-1] ^ 1])):
        path.write_bytes(torn)
        with pytest.raises(DamagedError, match=r"is not what run\.json beside it describes; train again"):
            run.network()
    path.unlink()
    with pytest.raises(ConfigError, match="expected a run's weights"):
        run.network()


@pytest.mark.parametrize("change", [{"classes": ["a", "b", "c"]}, {"settings": {"network": "small:3", "size": 16}}])
def test_weights_of_another_network_are_refused(tmp_path, change):
    make_run(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(DamagedError, match=r"does not fit the network that run\.json beside it describes"):
        open_run(tmp_path).network()


def test_a_crash_while_writing_leaves_the_old_record(tmp_path, monkeypatch):
    run = make_run(tmp_path)

    def fails(*_):
        raise DiskFullError("full")

    monkeypatch.setattr("srcache.files.os.replace", fails)
    with pytest.raises(DiskFullError):
        write_finished(run)
    monkeypatch.undo()
    assert open_run(tmp_path) == run
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "run.json"]


def test_numbers_that_json_has_not_become_null(tmp_path):
    write_started(tmp_path, {"one": {"two": [1.5, math.nan, math.inf]}})
    assert json.loads((tmp_path / "run.json").read_text())["one"] == {"two": [1.5, None, None]}


@pytest.mark.medium
def test_curves_are_the_same_plot_every_time(tmp_path):
    for name in ("a", "b"):
        assert write_curves(tmp_path / name, LINES, 2, "sr: small, seed 0")
    first = (tmp_path / "a/curves.png").read_bytes()
    assert first == (tmp_path / "b/curves.png").read_bytes()
    with Image.open(tmp_path / "a/curves.png") as plot:
        assert plot.size == (900, 360)
        assert len(plot.convert("RGB").getcolors(1 << 24)) > 20
    assert write_curves(tmp_path / "c", LINES[:1], 1, "$not mathtext_{")


def test_without_matplotlib_there_are_no_curves_and_no_error(tmp_path, monkeypatch):
    for module in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not write_curves(tmp_path, LINES, 2, "")
    assert not (tmp_path / "curves.png").exists()


def test_the_history_is_a_csv_that_reads_back_exactly(finished):
    with (finished.folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert tuple(EpochLine(**{k: float(v) for k, v in row.items()}) for row in rows) == finished.history
    with Image.open(finished.folder / "curves.png") as image:
        assert min(image.size) > 300


def test_the_record_is_json_that_says_everything(sets, finished):
    record = json.loads((finished.folder / "run.json").read_text())
    assert record["schema"] == "srcache.run/1"
    assert record["complete"] is True
    assert record["settings"] == QUICK.plain()
    assert record["balance"]["train"] == {"across": 9, "down": 9}
    assert record["inputs"]["train"] == sets.train.inputs
    assert set(record["versions"]) >= {"python", "torch", "srcache"}
    assert record["best_epoch"] == finished.best_epoch
    assert math.isfinite(record["seconds"])
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        *("curves.png", "history.csv", "model.safetensors", "run.json"),
    ]
    assert open_run(finished.folder) == finished
