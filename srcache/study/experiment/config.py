"""What an experiment does, as frozen values, and how they are written: `plain` gives YAML that reads back the same.

The order of arms is that of tables. An arm's `domain` is the kind of test picture that it is judged on; every arm is
asked about every domain besides (the grid).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from srcache.dataset.policy import Policy
from srcache.recipe.degradation import Degradation
from srcache.study.compare.pairwise import CompareSettings
from srcache.study.train.settings import TrainSettings

DOMAINS = ("lr", "bicubic", "sr", "hr")
"""Kinds of test picture that every experiment has; each further recipe adds one of its own."""

KINDS = ("textures", "faces", "folders")
LINKS = ("copy", "hard")
MAIN = "main"
"""What an arm calls the recipe that is not a further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChoice:
    """Which pictures.

    Attributes:
        kind: `textures`, `faces` (see `samples`), or `folders` of one's own.
        hr: class folders that are divided by `ratios`; or else
        train, validation, test: class folders of each.
        ratios: shares of train, validation and test, for `hr`.
        validation_share: what validation takes of the samples' training pictures; their test pictures stay.
        seed: of the samples, and of every division.
        link: `copy` the pictures into the experiment, or make `hard` links.
        limit: at most so many pictures of each class and split, for a try; None takes all.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeChoice:
    """A shipped recipe's name, or a YAML file; and changes of its fields."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmChoice:
    """One arm.

    Attributes:
        name: what it is called, in tables and as a folder.
        arm: lr, hr, sr, bicubic or a policy's text.
        domain: what it is judged on: lr, bicubic, sr, hr, or a further recipe's name.
        recipe: `main`, or a further recipe's name: where `sr` comes from, and how large `bicubic` is.
        settings: how it is trained, but for the seed.
    """

    name: str
    arm: str
    domain: str
    recipe: str
    settings: TrainSettings

    @property
    def filtered(self) -> bool:
        """Whether its policy filters by label safety."""
        return self.arm not in DOMAINS and bool(Policy.parse(self.arm).filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityChoice:
    """How SR and bicubic are measured against HR; see `quality`. `optional` leaves out what cannot be measured here."""

    metrics: tuple[str, ...] = ("psnr", "ssim")
    channel: str = "rgb"
    crop_border: int = 0
    resize: str = "none"
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyChoice:
    """Whether label safety is measured, and which filters the report tells the effect of."""

    measure: bool = True
    filters: tuple[str, ...] = ("safe>0.5", "safe>0.8", "safe>0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment, complete. Build it with `load_experiment`."""

    name: str
    question: str
    data: DataChoice
    degradation: Degradation
    recipe: RecipeChoice
    further: Mapping[str, RecipeChoice]
    arms: tuple[ArmChoice, ...]
    seeds: tuple[int, ...]
    quality: QualityChoice
    safety: SafetyChoice
    compare: CompareSettings
    device: str = "auto"

    @property
    def recipes(self) -> dict[str, RecipeChoice]:
        """Every recipe by what arms call it."""
        return {MAIN: self.recipe, **self.further}

    @property
    def domains(self) -> dict[str, tuple[str, str]]:
        """Every domain: its arm, and the recipe that it comes from."""
        known = {name: (name, MAIN) for name in DOMAINS}
        return {**known, **{label: ("sr", label) for label in self.further}}

    @property
    def reference(self) -> ArmChoice | None:
        """The arm whose first seed judges label safety: the first one trained on HR."""
        return next((arm for arm in self.arms if arm.arm == "hr"), None)

    def plain(self) -> dict[str, Any]:
        """As YAML values, every choice spelt out: what all arms share in `train`, the rest in each arm."""
        settings = [{k: v for k, v in arm.settings.plain().items() if k != "seed"} for arm in self.arms]
        shared = {k: v for k, v in settings[0].items() if all(one[k] == v for one in settings)}
        return {
            "name": self.name,
            "question": self.question,
            "data": _plain(asdict(self.data)),
            "degradation": {"factor": self.degradation.factor, "filter": self.degradation.filter},
            "recipe": _recipe(self.recipe),
            "further": {label: _recipe(choice) for label, choice in self.further.items()},
            "arms": [_arm(arm, own, shared) for arm, own in zip(self.arms, settings, strict=True)],
            "train": shared,
            "seeds": list(self.seeds),
            "quality": _plain(asdict(self.quality)),
            "safety": _plain(asdict(self.safety)),
            "compare": asdict(self.compare),
            "device": self.device,
        }


def _arm(arm: ArmChoice, settings: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in settings.items() if name not in shared}
    return {"name": arm.name, "arm": arm.arm, "domain": arm.domain, "recipe": arm.recipe, **own}


def _recipe(choice: RecipeChoice) -> dict[str, Any]:
    return {"name": choice.name, "set": dict(choice.changes)}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
