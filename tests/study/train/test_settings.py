"""Settings of a training: checked at birth, all mistakes at once, read as people write them."""

import json

import pytest
import yaml

from srcache.errors import ConfigError
from srcache.study.train.settings import TrainSettings, read_settings

THESIS = """
network: thesis-lr
epochs: 120
batch_size: 64
optimizer: rmsprop
learning_rate: 1e-3
epsilon: 1e-7
schedule: constant
augmentation: thesis
precision: amp
monitor: last
"""


def test_settings_come_back_as_they_were():
    settings = TrainSettings(network="torchvision:resnet18", size=96, patience=3, momentum=0.9, optimizer="sgd")
    assert read_settings(json.loads(json.dumps(settings.plain()))) == settings
    assert read_settings({}) == TrainSettings()


def test_the_thesis_is_read_as_people_write_it():
    """YAML takes 1e-3 for a text."""
    settings = read_settings(yaml.safe_load(THESIS))
    assert (settings.learning_rate, settings.epsilon, settings.input_size) == (1e-3, 1e-7, (340, 340))
    assert read_settings({"epochs": "12", "size": 32.0}) == TrainSettings(epochs=12, size=32)


def test_every_mistake_is_reported_at_once():
    wrong = {"epcohs": 3, "epochs": 0, "batch_size": "many", "network": "alexnet", "seed": -1, "fit": "crop"}
    with pytest.raises(ConfigError) as caught:
        read_settings(wrong)
    for words in (
        "there is no setting 'epcohs'",
        "epochs must be an integer of at least 1, but is 0",
        "batch_size must be an integer, but is 'many'",
        "network must be thesis-lr",
        "seed must be",
        "fit must be one of pad, stretch, but is 'crop'",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": float("nan")}, "learning_rate must be a number of at least 0"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"size": 0}, "size must be an integer of at least 1"),
        ({"workers": -1}, "workers"),
        ({"threads": 0}, "threads"),
        ({"optimizer": "adam"}, "optimizer must be one of adamw, rmsprop, sgd, but is 'adam'"),
        ({"monitor": ""}, "monitor must be one of val_loss, val_accuracy, last, but is ''"),
        ({"patience": 2, "monitor": "last"}, "patience needs a monitor that can get worse"),
        ({"weights": "a.pth"}, "weights are for networks torchvision:NAME"),
        ({"momentum": 0.9}, "momentum is for sgd and rmsprop"),
    ],
)
def test_what_cannot_be_or_has_no_effect_is_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        TrainSettings(**change)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": True}, "epochs must be an integer, but is True"),
        ({"epochs": 1.5}, "epochs must be an integer, but is 1.5"),
        ({"epochs": None}, "epochs must be an integer, but is None"),
        ({"size": [3, 4]}, "size must be an integer or null"),
        ({"device": 0}, "device must be a text, but is 0"),
    ],
)
def test_values_of_another_type_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        read_settings(values)
