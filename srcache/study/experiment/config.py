"""What an experiment does, as frozen values, and how they are written: `plain` gives YAML that reads back the same.

The order of arms is that of tables. An arm's `domain` is the kind of test image that its accuracy is measured on; every
arm predicts every domain besides (the grid).
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from srcache.dataset.policy import Policy
from srcache.study.compare.pairwise import CompareSettings
from srcache.study.prepare.lr import Shrinking
from srcache.study.train.settings import TrainSettings

DOMAINS = ("lr", "bicubic", "sr", "hr")
"""Kinds of test image that every experiment has; each further recipe adds one of its own."""

KINDS = ("textures", "faces", "folders")
SWEEPS = ("share", "per_class")
"""What a sweep may be over: the share of the second kind in a mixture of two, in per cent; images of each class."""
ALL = "all"
"""The value of a sweep over images per class that takes all of them."""
MAIN = "main"
"""The name by which arms refer to the recipe that is not a further one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
"""What an experiment, an arm, a recipe or a sweep may be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChoice:
    """Which images an experiment is about, and how they are divided.

    Attributes:
        kind: `textures`, `faces` (see `samples`), or `folders` of one's own.
        hr: class folders that are divided by `ratios`; or else
        train, validation, test: class folders of each.
        ratios: shares of train, validation and test, for `hr`.
        validation_share: what validation takes of the samples' training images; their test images stay.
        seed: of the samples, and of every division.
        link: `copy` the images into the experiment, or make `hard` links.
        limit: at most so many images of each class and split, for a try; None takes all.
        longest_side: the longer side of HR in pixels: larger images are made smaller first; None leaves them.
    """

    kind: str = "textures"
    hr: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    ratios: tuple[float, ...] = (0.8, 0.1, 0.1)
    validation_share: float = 0.2
    seed: int = 0
    link: str = "copy"
    limit: int | None = None
    longest_side: int | None = None

    def plain(self) -> dict[str, Any]:
        """As YAML values; what came later is left out where it does nothing."""
        found = _plain(asdict(self))
        return {name: value for name, value in found.items() if name != "longest_side" or value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeChoice:
    """Which recipe: a shipped recipe's name, or a YAML file; and changes of its fields."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmChoice:
    """One arm of an experiment: what is trained, on what, and where its accuracy is measured.

    Attributes:
        name: its name in tables, and that of its folder.
        arm: lr, hr, sr, bicubic or a policy's text.
        domain: what its accuracy is measured on: lr, bicubic, sr, hr, or a further recipe's name.
        recipe: `main`, or a further recipe's name: where `sr` comes from, and how large `bicubic` is.
        settings: how it is trained, but for the seed.
        per_class: learn from so many images of each class, drawn by the seed, and validate on at most as many; None
            takes all.
    """

    name: str
    arm: str
    domain: str
    recipe: str
    settings: TrainSettings
    per_class: int | None = None

    @property
    def filtered(self) -> bool:
        """Whether its policy filters by label safety."""
        return self.arm not in DOMAINS and bool(Policy.parse(self.arm).filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepChoice:
    """A curve for each of some arms: trained anew at each value of one quantity; see `sweeps`.

    Attributes:
        over: `share` or `per_class`.
        values: rising. Of `share`, per cent from 0 to 100: how much of a mixture of two its second kind is. Of
            `per_class`, counts of images; the last one may be `all`.
        arms: names of the experiment's arms; for `share`, mixtures of two.
        domains: what accuracy is measured on, a curve for each; none for each arm's own.
        epochs: how long each value is trained, in the order of values; none for as long as its arm.
        beside: further arms, each drawn as it is, as a single point at one of the values.
    """

    over: str
    values: tuple[float | str, ...]
    arms: tuple[str, ...]
    domains: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    beside: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityChoice:
    """How the images of SR and bicubic are measured against HR; see `study.quality`.

    Attributes:
        metrics: their names.
        channel, crop_border, resize: the convention of PSNR and SSIM.
        optional: leave out what cannot be measured on this machine.
    """

    metrics: tuple[str, ...] = ("psnr", "ssim")
    channel: str = "rgb"
    crop_border: int = 0
    resize: str = "none"
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyChoice:
    """Whether label safety is measured, and of which filters the report shows the effect."""

    measure: bool = True
    filters: tuple[str, ...] = ("safe>0.5", "safe>0.8", "safe>0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment, complete and checked, by `load_experiment`.

    Attributes:
        name: letters, digits and a few signs.
        question: what it is to answer, in a sentence.
        data: which images.
        degradation: how LR is made from HR; with its `mod_crop`, image quality is measured on what that leaves of HR.
        recipe: where the SR images of the arm `sr` come from.
        further: more recipes, by the names that arms use.
        arms: in the order of tables.
        seeds: one training of each arm for each.
        pair: the two arms that the question is about, the one that is hoped to be better first; None: SR against
            bicubic, or LR.
        quality, safety, compare: what is measured.
        sweep: curves, by name.
        device: `cpu`, `cuda`, `cuda:1`, …, or `auto`.
    """

    name: str
    question: str
    data: DataChoice
    degradation: Shrinking
    recipe: RecipeChoice
    further: Mapping[str, RecipeChoice]
    arms: tuple[ArmChoice, ...]
    seeds: tuple[int, ...]
    quality: QualityChoice
    safety: SafetyChoice
    compare: CompareSettings
    pair: tuple[str, str] | None = None
    sweep: Mapping[str, SweepChoice] = field(default_factory=dict)
    device: str = "auto"

    @property
    def recipes(self) -> dict[str, RecipeChoice]:
        """Every recipe by the name that arms use."""
        return {MAIN: self.recipe, **self.further}

    @property
    def domains(self) -> dict[str, tuple[str, str]]:
        """Every domain: its arm, and the recipe that it comes from."""
        known = {name: (name, MAIN) for name in DOMAINS}
        return {**known, **{label: ("sr", label) for label in self.further}}

    @property
    def reference(self) -> ArmChoice | None:
        """The arm whose first seed is the classifier of label safety: the first one trained on HR."""
        return next((arm for arm in self.arms if arm.arm == "hr"), None)

    def plain(self) -> dict[str, Any]:
        """As YAML values, every choice written out: what all arms share in `train`, the rest in each arm."""
        settings = [{k: v for k, v in arm.settings.plain().items() if k != "seed"} for arm in self.arms]
        shared = {k: v for k, v in settings[0].items() if all(one[k] == v for one in settings)}
        return {
            "name": self.name,
            "question": self.question,
            "data": self.data.plain(),
            "degradation": asdict(self.degradation),
            "recipe": _recipe(self.recipe),
            "further": {label: _recipe(choice) for label, choice in self.further.items()},
            "arms": [_arm(arm, own, shared) for arm, own in zip(self.arms, settings, strict=True)],
            "train": shared,
            "seeds": list(self.seeds),
            "pair": None if self.pair is None else list(self.pair),
            "sweep": {name: _plain(asdict(sweep)) for name, sweep in self.sweep.items()},
            "quality": _plain(asdict(self.quality)),
            "safety": _plain(asdict(self.safety)),
            "compare": asdict(self.compare),
            "device": self.device,
        }


def _arm(arm: ArmChoice, settings: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in settings.items() if name not in shared}
    few = {} if arm.per_class is None else {"per_class": arm.per_class}
    return {"name": arm.name, "arm": arm.arm, "domain": arm.domain, "recipe": arm.recipe, **few, **own}


def _recipe(choice: RecipeChoice) -> dict[str, Any]:
    return {"name": choice.name, "set": dict(choice.changes)}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
