"""The schema of experiments' files: every shipped one fits, and so does what an experiment writes of itself."""

import pytest
import yaml
from jsonschema import Draft7Validator

from srcache.errors import ConfigError
from srcache.study.experiment.load import load_experiment, shipped_experiments
from srcache.study.experiment.parse import read_experiment
from srcache.study.experiment.schema import experiment_schema

SCHEMA = Draft7Validator(experiment_schema())
LEAST = {"name": "x", "arms": [{"arm": "lr"}]}


@pytest.mark.parametrize("name", shipped_experiments())
def test_every_shipped_experiment_fits_also_with_every_choice_written_out(name):
    Draft7Validator.check_schema(experiment_schema())
    text = shipped_experiments()[name]
    assert list(SCHEMA.iter_errors(yaml.safe_load(text))) == []
    whole = load_experiment(name, {"data.hr": "photos"} if "kind: folders" in text else {})
    assert list(SCHEMA.iter_errors(yaml.safe_load(yaml.safe_dump(whole.plain())))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"arms": None},
        {"arms": []},
        {"arms": [{"name": "lr"}]},
        {"arms": [{"arm": "lr", "colour": "red"}]},
        {"arms": [{"arm": "lr", "seed": 1}]},
        {"train": {"epochs": 0}},
        {"train": {"network": "tiny"}},
        {"train": {"monitor": "luck"}},
        {"train": {"seed": 1}},
        {"data": {"kind": "movies"}},
        {"data": {"ratios": [0.5, 0.5]}},
        {"degradation": {"factor": 1}},
        {"recipe": {"set": {}}},
        {"recipe": 3},
        {"seeds": [0, 0]},
        {"seeds": 3},
        {"compare": {"correction": "magic"}},
        {"quality": {"channel": "red"}},
        {"arms": [{"arm": "lr", "per_class": 0}]},
        {"sweep": [1]},
        {"sweep": {"s": {"over": "epochs", "values": [1, 2], "arms": ["lr"]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4], "arms": ["lr"]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4, "every"], "arms": ["lr"]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4, 4], "arms": ["lr"]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4, 8]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4, 8], "arms": ["lr"], "domains": False}}},
        {"data": {"kind": "folders", "hr": ["photos"]}},
        {"data": {"validation_share": 1}},
        {"degradation": {"factor": 2.5}},
        {"degradation": {"factor": float("inf")}},
        {"quality": {"resize": "bogus"}},
        {"quality": {"optional": 1}},
        {"compare": {"bins": float("inf")}},
        {"compare": {"draws": 10**12}},
        {"compare": {"alpha": 0.7}},
        {"train": {"rho": -1}},
        {"recipe": {"name": "compact", "set": []}},
        {"nmae": "x"},
    ],
)
def test_what_the_reader_refuses_does_not_fit(wrong):
    assert not SCHEMA.is_valid({**LEAST, **wrong})
    with pytest.raises(ConfigError):
        read_experiment({**LEAST, **wrong})


@pytest.mark.parametrize(
    "good",
    [
        {"train": {"learning_rate": "3e-3", "patience": None, "size": 64}},
        {"recipe": {"name": "compact", "set": {"scale": 2, "options.filter": "box"}}},
        {"further": {"gan": "realesrgan"}},
        {"data": None, "further": None},
        {"data": {"longest_side": 64, "limit": None}},
        {"pair": None},
        {"compare": {"alpha": "1e-2", "draws": 100.0}},
        {"sweep": {"s": {"over": "per_class", "values": [4, "all"], "arms": ["lr"], "epochs": [2.0, 1]}}},
        {"sweep": {"s": {"over": "per_class", "values": [4, 8], "arms": ["lr"], "beside": None, "domains": None}}},
    ],
)
def test_what_the_reader_takes_fits(good):
    assert list(SCHEMA.iter_errors({**LEAST, **good})) == []
    read_experiment({**LEAST, **good})
