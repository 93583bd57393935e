"""Training: it learns, the same seed gives the same numbers, nothing global is left changed, models survive a crash."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from srcache import train as room
from srcache.errors import CatalogError, ConfigError, DamagedError, DeviceError, DiskFullError
from srcache.train import Epoch, TrainResult, TrainSettings, load_model, save_model, small_cnn, train

CLASSES = ("across", "down")
QUICK = TrainSettings(epochs=2, batch_size=8, width=4)


class Stripes:
    """Stripes across (0) or down (1) with noise, 16×16; remembers which epochs it was told of."""

    def __init__(self, count: int, seed: int = 0) -> None:
        dice = torch.Generator().manual_seed(seed)
        stripes = torch.zeros(16, 16)
        stripes[::4] = stripes[1::4] = 1
        noise = 0.3 * torch.rand((count, 3, 16, 16), generator=dice)
        self.items = [(((stripes.T if i % 2 else stripes) * 0.7 + noise[i]), i % 2) for i in range(count)]
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.items[index]

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Jittered(Stripes):
    """Draws from torch's global generator, as torchvision's transforms do."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = super().__getitem__(index)
        return image * (0.5 + 0.5 * torch.rand(1)), label


def weights_of(result: TrainResult) -> list[torch.Tensor]:
    return list(result.model.state_dict().values())


def test_it_learns_what_can_be_learned() -> None:
    result = train(Stripes(64), Stripes(30, seed=1), CLASSES, replace(QUICK, epochs=6, learning_rate=0.01))
    assert result.accuracy == 1.0
    assert result.predictions == result.labels == tuple(i % 2 for i in range(30))
    assert result.history[-1].loss < result.history[0].loss


def test_labels_without_a_pattern_cannot_be_learned() -> None:
    test_set = Stripes(60, seed=1)
    test_set.items = [
        (image, random.Random(str(place)).randrange(2)) for place, (image, _) in enumerate(test_set.items)
    ]
    result = train(Stripes(64), test_set, CLASSES, replace(QUICK, epochs=6, learning_rate=0.01))
    assert 0.25 < result.accuracy < 0.75


def test_the_same_seed_gives_the_same_numbers_bit_for_bit() -> None:
    torch.manual_seed(1)
    one = train(Jittered(30), Jittered(12, seed=1), CLASSES, QUICK)
    torch.manual_seed(2)
    two = train(Jittered(30), Jittered(12, seed=1), CLASSES, QUICK)
    assert one == two
    assert all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(two), strict=True))
    other = train(Jittered(30), Jittered(12, seed=1), CLASSES, replace(QUICK, seed=1))
    assert other.history != one.history


def test_chance_and_settings_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    threads = torch.get_num_threads()
    train(Jittered(16), Jittered(8), CLASSES, replace(QUICK, threads=threads + 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


def test_a_failure_inside_leaves_no_setting_behind() -> None:
    state = torch.get_rng_state()
    bad = Stripes(8)
    bad.items[3] = (torch.zeros(3, 16, 16), 2)
    with pytest.raises(CatalogError, match=r"labels from 0 to 1 for the classes across, down, but got \[0, 1, 2\]"):
        train(Stripes(8), bad, CLASSES, QUICK)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_data_sets_are_told_the_epoch_and_listeners_the_history() -> None:
    sets, heard = (Stripes(16), Stripes(8)), list[Epoch]()
    result = train(*sets, CLASSES, replace(QUICK, epochs=3), heard.append)
    assert [examples.epochs for examples in sets] == [[0, 1, 2]] * 2
    assert tuple(heard) == result.history
    assert [line.epoch for line in heard] == [0, 1, 2]
    assert result.accuracy == heard[-1].test_accuracy
    assert result.best_accuracy == max(line.test_accuracy for line in heard)


def test_a_data_set_without_epochs_is_as_good() -> None:
    plain = [Stripes(8)[place] for place in range(8)]
    assert train(plain, plain, CLASSES, QUICK) == train(Stripes(8), Stripes(8), CLASSES, QUICK)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_any_number_of_pictures_will_do(count: int) -> None:
    result = train(Stripes(count), Stripes(count), CLASSES, replace(QUICK, epochs=1))
    assert len(result.predictions) == count
    assert math.isfinite(result.history[0].loss)


def test_every_class_and_size_gets_an_answer() -> None:
    model = small_cnn(classes=5, width=2).eval()
    for height, width in ((16, 16), (64, 48), (31, 100)):
        assert model(torch.rand(3, 3, height, width)).shape == (3, 5)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((16, 16, 3)), r"float tensors \(3, H, W\), but got ndarray"),
        (torch.zeros(3, 16, 16, dtype=torch.uint8), "float tensors"),
        (torch.zeros(3, 16, 15), r"at least 16×16 pixels, but got \(3, 16, 15\), \(3, 16, 16\)"),
        (torch.zeros(1, 16, 16), "of one size"),
    ],
)
def test_pictures_that_cannot_be_stacked_are_refused_in_words(picture: object, words: str) -> None:
    examples = Stripes(4)
    examples.items[1] = (picture, 0)  # type: ignore[call-overload]
    with pytest.raises(CatalogError, match=words):
        train(examples, Stripes(4), CLASSES, QUICK)


def test_empty_sets_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a test set with pictures"):
        train(Stripes(4), Stripes(0), CLASSES, QUICK)
    with pytest.raises(ConfigError, match="expected a training set with pictures"):
        train(Stripes(0), Stripes(4), CLASSES, QUICK)


def test_a_loss_that_explodes_is_refused() -> None:
    examples = Stripes(8)
    examples.items[0] = (torch.full((3, 16, 16), math.nan), 0)
    with pytest.raises(ConfigError, match=r"no longer a number in epoch 0; lower learning_rate \(now 0.003\)"):
        train(examples, Stripes(4), CLASSES, QUICK)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"batch_size": 0}, {"width": 0}, {"threads": 0}, {"learning_rate": math.inf}, {"seed": -1}],
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        TrainSettings(**change)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(DeviceError):
        train(Stripes(4), Stripes(4), CLASSES, replace(QUICK, device="abacus"))


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    result = train(Stripes(24), Stripes(10, seed=1), CLASSES, QUICK)
    save_model(result, tmp_path / "run")
    model, classes = load_model(tmp_path / "run")
    images = torch.stack([image for image, _ in Stripes(10, seed=1).items])
    with torch.inference_mode():
        assert torch.equal(model(images), result.model(images))
        assert tuple(model(images).argmax(1).tolist()) == result.predictions
    assert classes == CLASSES
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model.json", "model.safetensors"]


def test_a_result_is_plain_json() -> None:
    result = train(Stripes(8), Stripes(4), CLASSES, QUICK)
    plain = json.loads(json.dumps(result.plain(), allow_nan=False))
    assert plain["accuracy"] == result.accuracy
    assert TrainSettings(**plain["settings"]) == QUICK
    assert tuple(Epoch(**line) for line in plain["history"]) == result.history


def test_a_model_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    result = train(Stripes(8), Stripes(4), CLASSES, QUICK)
    save_model(result, tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match="train again"):
        load_model(tmp_path)
    for text in ("{", "[]", "{}"):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(DamagedError, match="train again"):
            load_model(tmp_path)
    with pytest.raises(ConfigError, match=r"expected model\.safetensors and model\.json"):
        load_model(tmp_path / "nowhere")


def test_a_crash_while_saving_leaves_no_torn_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (train(Stripes(8), Stripes(4), CLASSES, replace(QUICK, seed=seed)) for seed in (0, 1))
    save_model(first, tmp_path)
    writes: list[Path] = []

    def second_write_fails(path: Path, data: bytes | str) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise DiskFullError("full")
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    monkeypatch.setattr(room, "write_whole", second_write_fails)
    with pytest.raises(DiskFullError):
        save_model(second, tmp_path)
    monkeypatch.undo()
    with pytest.raises(DamagedError, match="train again"):
        load_model(tmp_path)
    save_model(second, tmp_path)
    assert all(map(torch.equal, load_model(tmp_path)[0].state_dict().values(), weights_of(second)))
