"""The JSON schema of an experiment's file, for editors: made of the dataclasses that `parse` fills."""

from typing import Any

from srcache.files.json_schema import DRAFT, Schema, object_schema, type_schema
from srcache.images import FILTERS, PROFILES
from srcache.study.compare.pairwise import MOST_BINS, MOST_DRAWS, TESTS, CompareSettings
from srcache.study.experiment.config import (
    ALL,
    KINDS,
    SWEEPS,
    ArmChoice,
    DataChoice,
    Experiment,
    QualityChoice,
    RecipeChoice,
    SafetyChoice,
    SweepChoice,
)
from srcache.study.prepare.lr import Shrinking
from srcache.study.prepare.split import LINKS
from srcache.study.quality.psnr_ssim import CHANNELS, RESIZES
from srcache.study.statistics.corrections import CORRECTIONS
from srcache.study.train.settings import CHOICES, NUMBERS, TrainSettings

_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$"}
_NETWORK = r"^(thesis-lr|thesis-sr|small(:[1-9][0-9]*)?|torchvision:.+)$"
_COUNT = {"minimum": 1}
_SHARE = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}


def experiment_schema() -> Schema:
    """What a file of an experiment may hold; a part that is not described here may hold anything."""
    sections: dict[str, Schema] = {
        "name": _NAME,
        "data": object_schema(
            DataChoice,
            {
                "kind": {"enum": list(KINDS)},
                "link": {"enum": list(LINKS)},
                "ratios": {"minItems": 3, "maxItems": 3, "items": {"type": "number", **_SHARE}},
                "validation_share": _SHARE,
                "seed": {"minimum": 0},
                "limit": {"type": ["integer", "null"], **_COUNT},
                "longest_side": {"type": ["integer", "null"], **_COUNT},
            },
        ),
        "degradation": object_schema(
            Shrinking,
            {"factor": {"minimum": 2}, "filter": {"enum": list(FILTERS)}, "color_profile": {"enum": list(PROFILES)}},
        ),
        "recipe": _recipe(),
        "further": {"type": ["object", "null"], "additionalProperties": _recipe()},
        "arms": {"type": "array", "minItems": 1, "items": _arm()},
        "seeds": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "integer", "minimum": 0}},
        "quality": object_schema(
            QualityChoice,
            {"channel": {"enum": list(CHANNELS)}, "resize": {"enum": list(RESIZES)}, "crop_border": {"minimum": 0}},
        ),
        "safety": object_schema(SafetyChoice, {}),
        "sweep": {"type": ["object", "null"], "additionalProperties": _sweep()},
        "compare": object_schema(
            CompareSettings,
            {
                "correction": {"enum": list(CORRECTIONS)},
                "test": {"enum": list(TESTS)},
                "alpha": {"exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
                "power": _SHARE,
                "draws": {**_COUNT, "maximum": MOST_DRAWS},
                "bins": {**_COUNT, "maximum": MOST_BINS},
                "seed": {"minimum": 0},
            },
        ),
    }
    for name in ("data", "degradation", "quality", "safety", "compare"):
        sections[name] = {**sections[name], "type": ["object", "null"]}
    whole = object_schema(Experiment, sections)
    whole["properties"]["train"] = {
        "description": "how all arms are trained; an arm says what differs",
        **_settings(),
        "type": ["object", "null"],
    }
    return {"$schema": DRAFT, "title": "An experiment of srcache", **whole, "required": ["arms"]}


def _settings() -> Schema:
    """How something is trained; the seeds are those of the experiment."""
    more: dict[str, Schema] = {name: {"enum": list(choices)} for name, choices in CHOICES.items()}
    more["network"] = {"pattern": _NETWORK}
    more |= {name: _COUNT for name in ("epochs", "batch_size", "threads")}
    more |= {name: {"minimum": 0} for name in NUMBERS}
    more |= {name: {"type": ["integer", "null"], **_COUNT} for name in ("size", "patience")}
    more["workers"] = {"minimum": 0}
    return object_schema(TrainSettings, more, without=("seed",))


def _arm() -> Schema:
    few = {"type": ["integer", "null"], **_COUNT}
    found = object_schema(ArmChoice, {"name": _NAME, "per_class": few}, without=("settings",))
    properties: dict[str, Any] = {**found["properties"], **_settings()["properties"]}
    return {**found, "properties": properties, "required": ["arm"]}


def _sweep() -> Schema:
    value = {"anyOf": [{"type": "number", "minimum": 0}, {"enum": [ALL]}]}
    more: dict[str, Schema] = {
        "over": {"enum": list(SWEEPS)},
        "values": {"minItems": 2, "uniqueItems": True, "items": value},
        "arms": {"minItems": 1, "uniqueItems": True},
        "domains": {"type": ["array", "null"], "items": {"type": "string"}, "uniqueItems": True},
        "epochs": {"type": ["array", "null"], "items": {"type": "integer", **_COUNT}},
        "beside": {"type": ["object", "null"], "additionalProperties": value},
    }
    return {**object_schema(SweepChoice, more), "required": ["over", "values", "arms"]}


def _recipe() -> Schema:
    """A recipe's name, or a mapping with its changes under `set`."""
    name = {"description": "a shipped recipe, or a YAML file", **type_schema(str)}
    known = object_schema(RecipeChoice, {})
    known["properties"] = {"name": name, "set": {**known["properties"]["changes"], "type": ["object", "null"]}}
    return {"anyOf": [name, {**known, "required": ["name"]}]}
