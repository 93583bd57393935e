"""YAML values → an experiment: every key is known or refused, and all mistakes are reported at once.

`train` holds what all arms share; beside its `name` and `arm`, an arm holds what differs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Any, TypeVar

from srcache.dataset.policy import Policy, parse_filter
from srcache.errors import ConfigError, Mistakes, SrcacheError
from srcache.files.typed import typed_fields
from srcache.study.compare.pairwise import CompareSettings
from srcache.study.experiment.config import (
    DOMAINS,
    KINDS,
    MAIN,
    NAME,
    ArmChoice,
    DataChoice,
    Experiment,
    QualityChoice,
    RecipeChoice,
    SafetyChoice,
)
from srcache.study.experiment.sweeps import read_sweeps, training_of
from srcache.study.prepare.lr import Shrinking
from srcache.study.prepare.split import LINKS
from srcache.study.prepare.stratify import exact_shares
from srcache.study.quality.psnr_ssim import CHANNELS, require_resize
from srcache.study.train.settings import TrainSettings, read_settings

DATA_FOLDERS = ("hr", "train", "validation", "test")
"""The keys of `data` that name folders of images."""

_T = TypeVar("_T")

_NEEDED = ("arms",)
_TOP = (
    *("name", "question", "data", "degradation", "recipe", "further", "arms", "train", "seeds", "pair", "sweep"),
    *("quality", "safety", "compare", "device"),
)
_OF_ARMS = ("name", "arm", "domain", "recipe", "per_class")
"""What an arm holds beside its settings."""


def read_experiment(plain: Mapping[str, Any]) -> Experiment:
    """An experiment from YAML values.

    Raises:
        ConfigError: mistakes: all of them.
    """
    return _Reader(plain).read()


class _Reader:
    """Reads one experiment's YAML values section by section; a mistake is noted, and the reading goes on."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain, self._mistakes = plain, Mistakes()

    def read(self) -> Experiment:
        plain, head = self._plain, f"experiment {self._plain.get('name', '')!r} cannot be run"
        self._known("", plain, _TOP)
        for name in _NEEDED:
            self._mistakes.require(plain.get(name), f"{name} is missing")
        further = {str(label): self._recipe(f"further.{label}", choice) for label, choice in self._part("further")}
        recipe = self._recipe("recipe", plain.get("recipe", "compact"))
        values: dict[str, Any] = {
            "name": self._checked("name", plain.get("name"), _read_name),
            "question": self._checked("question", plain.get("question", ""), _read_text),
            "data": self._data(),
            "degradation": self._section("degradation", Shrinking, {"factor": 4}),
            "recipe": recipe,
            "further": further,
            "seeds": self._checked("seeds", plain.get("seeds", [0]), _read_seeds),
            "quality": self._quality(),
            "safety": self._safety(),
            "compare": self._section("compare", CompareSettings, {}),
            "device": self._checked("device", plain.get("device", "auto"), _read_text),
        }
        for label in further:
            good = label not in (*DOMAINS, MAIN) and NAME.fullmatch(label)
            self._mistakes.require(good, f"a further recipe needs a name of its own, but one is called {label!r}")
        arms = self._arms(tuple(further))
        values["pair"] = self._checked("pair", plain.get("pair"), lambda pair: _read_pair(pair, list(arms)))
        values["sweep"] = read_sweeps(plain.get("sweep"), arms, tuple(further), self._mistakes)
        self._mistakes.raise_as(ConfigError, head)
        found = Experiment(arms=tuple(arm for arm in arms.values() if arm is not None), **values)
        for first, second in combinations(found.arms, 2):
            same = first.domain == second.domain and training_of(first) == training_of(second)
            text = f"arms {first.name} and {second.name} are the same training, measured on the same images"
            self._mistakes.require(not same, f"{text}: they cannot differ; change or leave out one")
        factor, longest = found.degradation.factor, found.data.longest_side
        self._mistakes.require(
            longest is None or factor <= longest,
            f"degradation.factor {factor} leaves nothing of images of data.longest_side {longest}",
        )
        self._mistakes.require(
            found.safety.measure or not any(arm.filtered for arm in found.arms),
            "an arm's policy filters by label safety, which is off; set safety.measure to true",
        )
        self._mistakes.raise_as(ConfigError, head)
        return found

    def _arms(self, further: Sequence[str]) -> dict[str, ArmChoice | None]:
        """All arms by name, so that others may name them; None for one that has mistakes."""
        shared = {name: value for name, value in self._part("train")}
        plain = self._plain.get("arms")
        if not isinstance(plain, list) or not all(isinstance(arm, dict) for arm in plain):
            self._mistakes.require(not plain, "arms must be a list of mappings, each with a name and an arm")
            return {}
        before = len(self._mistakes.found)
        self._settings("train", shared)
        usable = len(self._mistakes.found) == before
        arms = [self._arm(at, arm, shared if usable else None, further) for at, arm in enumerate(plain)]
        names = [str(arm.get("name", arm.get("arm"))) for arm in plain]
        folded = [name.casefold() for name in names]
        for name in sorted({name for name in folded if folded.count(name) > 1}):
            self._mistakes.note(f"two arms are called {name}")
        return dict(zip(names, arms, strict=True))

    def _arm(
        self, at: int, plain: Mapping[str, Any], shared: Mapping[str, Any] | None, further: Sequence[str]
    ) -> ArmChoice | None:
        own = {name: value for name, value in plain.items() if name not in _OF_ARMS}
        what, before = f"arms.{plain.get('name', plain.get('arm', at))}", len(self._mistakes.found)
        if "arm" not in plain:
            self._mistakes.note(f"{what} must say which arm it is: {', '.join(DOMAINS)} or a policy")
            return None
        arm = str(plain["arm"])
        recipe = str(plain.get("recipe", MAIN))
        name = self._checked(f"{what}.name", plain.get("name", arm), _read_name)
        if recipe not in (MAIN, *further):
            self._mistakes.note(f"{what}.recipe must be one of {', '.join((MAIN, *further))}, but is {recipe!r}")
        if arm not in DOMAINS:
            self._checked(f"{what}.arm", arm, Policy.parse)
        domain = str(plain.get("domain", _default_domain(arm, recipe)))
        if recipe in (MAIN, *further) and domain not in (*DOMAINS, *further):
            known = ", ".join((*DOMAINS, *further))
            self._mistakes.note(f"{what}.domain says what it is measured on: one of {known}, but is {domain!r}")
        given = {name: plain[name] for name in ("per_class",) if name in plain}
        few = typed_fields(ArmChoice, given, self._mistakes, f"{what}.").get("per_class")
        self._least(f"{what}.per_class", few, 1)
        settings = self._settings(what, own if shared is None else {**shared, **own})
        if settings is None or len(self._mistakes.found) > before:
            return None
        return ArmChoice(name=name, arm=arm, domain=domain, recipe=recipe, settings=settings, per_class=few)

    def _settings(self, what: str, values: Mapping[str, Any]) -> TrainSettings | None:
        if "seed" in values:
            self._mistakes.note(f"{what}.seed: the seeds of all arms are those of `seeds`")
        return self._checked(what, {k: v for k, v in values.items() if k != "seed"}, read_settings)

    def _data(self) -> DataChoice | None:
        values = self._typed("data", DataChoice)
        if "ratios" in values:
            self._checked("data.ratios", values["ratios"], _require_ratios)
        found = {f.name: values.get(f.name, f.default) for f in fields(DataChoice)}
        kind, folders = found["kind"], [name for name in DATA_FOLDERS if found[name] is not None]
        for name, choices in (("kind", KINDS), ("link", LINKS)):
            if found[name] not in choices:
                self._mistakes.note(f"data.{name} must be one of {', '.join(choices)}, but is {found[name]!r}")
        if kind == "folders" and folders not in (["hr"], ["train", "validation", "test"]):
            self._mistakes.note(
                "data of kind folders needs class folders: either hr, which is divided by ratios, or train, validation "
                f"and test, but it has {', '.join(folders) or 'none'}; such as --set data.hr=photos"
            )
        if kind in ("textures", "faces") and folders:
            self._mistakes.note(f"data.{folders[0]} is for kind: folders, but kind is {kind}")
        self._least("data.seed", found["seed"], 0)
        self._least("data.limit", found["limit"], 1)
        self._least("data.longest_side", found["longest_side"], 1)
        if not 0 < found["validation_share"] < 1:
            self._mistakes.note(f"data.validation_share must lie between 0 and 1, but is {found['validation_share']}")
        return DataChoice(**found)

    def _quality(self) -> QualityChoice:
        found = QualityChoice(**self._typed("quality", QualityChoice))
        if found.channel not in CHANNELS:
            self._mistakes.note(f"quality.channel must be one of {', '.join(CHANNELS)}, but is {found.channel!r}")
        self._checked("quality", found.resize, require_resize)
        self._least("quality.crop_border", found.crop_border, 0)
        return found

    def _safety(self) -> SafetyChoice:
        found = SafetyChoice(**self._typed("safety", SafetyChoice))
        for text in found.filters:
            self._checked("safety.filters", text, parse_filter)
        return found

    def _recipe(self, what: str, choice: Any) -> RecipeChoice:
        if isinstance(choice, str):
            return RecipeChoice(name=choice)
        if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
            self._mistakes.note(f"{what} must be a recipe's name, or a mapping with name and set, but is {choice!r}")
            return RecipeChoice(name="")
        self._known(f"{what}.", choice, ("name", "set"))
        changes = choice.get("set")
        changes = {} if changes is None else changes
        if not isinstance(changes, dict):
            self._mistakes.note(f"{what}.set must be a mapping of a recipe's fields, but is {changes!r}")
            changes = {}
        if changes.get("degradation"):
            self._mistakes.note(f"{what}: LR images are files; leave the degradation to the experiment")
        return RecipeChoice(name=choice["name"], changes=changes)

    def _section(self, name: str, kind: type[_T], values: dict[str, Any]) -> _T | None:
        """A frozen value whose fields are the keys of a section."""
        return self._checked(name, {**values, **self._typed(name, kind)}, lambda values: kind(**values))

    def _typed(self, name: str, kind: type) -> dict[str, Any]:
        """What a section says of a dataclass's fields, each of its field's type."""
        return typed_fields(kind, {str(key): value for key, value in self._part(name)}, self._mistakes, f"{name}.")

    def _part(self, name: str) -> list[tuple[Any, Any]]:
        part = self._plain.get(name)
        if part is not None and not isinstance(part, dict):
            self._mistakes.note(f"{name} must be a mapping, but is {part!r}")
            return []
        return list((part or {}).items())

    def _known(self, prefix: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
        for name in values:
            self._mistakes.require(name in known, f"there is no {prefix}{name}; known: {', '.join(known)}")

    def _checked(self, what: str, value: Any, check: Callable[[Any], _T]) -> _T | Any:
        """The checked value; None, and the mistakes noted, if it cannot be."""
        try:
            return check(value)
        except SrcacheError as error:
            lines = [line.removeprefix("  - ") for line in str(error).splitlines()]
            for line in lines[1:] if len(lines) > 1 else lines:  # without the head of a list of mistakes
                self._mistakes.note(f"{what}: {line}")
        except (TypeError, ValueError) as error:
            self._mistakes.note(f"{what} cannot be {value!r}: {error}")
        return None

    def _least(self, what: str, value: int | None, least: int) -> None:
        if value is not None and not least <= value < 2**63:
            self._mistakes.note(f"{what} must be an integer of at least {least}, below 2**63, but is {value}")


def _default_domain(arm: str, recipe: str) -> str:
    """The domain of an arm that names none; empty for a mixture, which has to say."""
    if arm == "sr" and recipe != MAIN:
        return recipe
    return arm if arm in DOMAINS else ""


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ConfigError(f"expected up to 40 letters, digits, '.', '_', '+' and '-', but got {value!r}")
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"expected a text, but got {value!r}")
    return value.strip()


def _read_seeds(value: Any) -> tuple[int, ...]:
    sane = isinstance(value, list) and value and all(type(one) is int and 0 <= one < 2**63 for one in value)
    if not sane or len(set(value)) != len(value):
        raise ConfigError(f"expected a list of different integers of at least 0, such as [0, 1, 2], got {value!r}")
    return tuple(value)


def _read_pair(value: Any, names: Sequence[str]) -> tuple[str, str] | None:
    if value is None or not names:
        return None
    if not isinstance(value, list) or len(value) != 2 or value[0] == value[1] or not all(one in names for one in value):
        raise ConfigError(
            f"expected two of the arms {', '.join(names)}, such as [{names[-1]}, {names[0]}], got {value!r}"
        )
    return value[0], value[1]


def _require_ratios(ratios: tuple[float, ...]) -> None:
    if not all(exact_shares(ratios)):
        raise ConfigError(f"train, validation and test each need a share, but ratios are {list(ratios)}")
