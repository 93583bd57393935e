"""Experiments as people write them: shipped ones by name, YAML files, and changes of single values.

Every key is known or refused, and all mistakes are told at once. `train` holds what all arms share; an arm says beside
its `name` and `arm` what differs. A change is `key=value` with dots between the levels; arms are named, and `*` is each
of them: `train.epochs=2`, `arms.sr.size=64`, `arms.*.network=small`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml

from srcache.dataset.policy import Policy, parse_filter
from srcache.errors import ConfigError, SrcacheError
from srcache.recipe.degradation import Degradation
from srcache.study.compare.pairwise import CompareSettings
from srcache.study.experiment.config import (
    DOMAINS,
    KINDS,
    LINKS,
    MAIN,
    ArmChoice,
    DataChoice,
    Experiment,
    QualityChoice,
    RecipeChoice,
    SafetyChoice,
)
from srcache.study.prepare.stratify import exact_shares
from srcache.study.quality.psnr_ssim import CHANNELS
from srcache.study.train.settings import TrainSettings, read_settings

_T = TypeVar("_T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
_NEEDED = ("arms",)
_TOP = (
    *("name", "question", "data", "degradation", "recipe", "further", "arms", "train", "seeds", "quality", "safety"),
    *("compare", "device"),
)
_PATHS = ("hr", "train", "validation", "test")


def shipped_experiments() -> dict[str, str]:
    """The experiments that come with srcache: name → YAML text."""
    folder = files("srcache_configs").joinpath("experiments")
    found = {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def load_experiment(source: str | Path, changes: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment by its shipped name or from a YAML file, with changes such as {"train.epochs": 2}.

    Folders of pictures are relative to the file, or, where a change or a shipped experiment names them, to where we
    are.

    Raises:
        ConfigError: no such experiment, or mistakes in it: all of them.
    """
    shipped, beside = shipped_experiments(), Path()
    if str(source) in shipped:
        text, name = shipped[str(source)], str(source)
    elif Path(source).suffix in (".yaml", ".yml"):
        text, name, beside = _text(Path(source)), Path(source).stem, Path(source).parent
    else:
        raise ConfigError(f"no experiment is named {str(source)!r}; use one of {', '.join(shipped)}, or a .yaml file")
    plain = {"name": name, **_mapping(text, str(source))}
    _anchor(plain, beside)
    for key, value in (changes or {}).items():
        _change(plain, key.split("."), value, key)
    _anchor(plain, Path.cwd())
    return read_experiment(plain)


def read_experiment(plain: Mapping[str, Any]) -> Experiment:
    """An experiment from YAML values.

    Raises:
        ConfigError: mistakes: all of them.
    """
    reader = _Reader(plain)
    found = reader.read()
    if reader.mistakes or found is None:
        told = "\n  - ".join(reader.mistakes)
        raise ConfigError(f"experiment {plain.get('name', '')!r} cannot be run:\n  - {told}")
    return found


class _Reader:
    """One reading; notes mistakes and goes on."""

    def __init__(self, plain: Mapping[str, Any]) -> None:
        self._plain = plain
        self.mistakes: list[str] = []

    def read(self) -> Experiment | None:
        plain = self._plain
        self._known("", plain, _TOP)
        self.mistakes += [f"{name} is missing" for name in _NEEDED if not plain.get(name)]
        further = {str(label): self._recipe(f"further.{label}", choice) for label, choice in self._part("further")}
        recipe = self._recipe("recipe", plain.get("recipe", "compact"))
        values: dict[str, Any] = {
            "name": self._checked("name", plain.get("name"), _file_name),
            "question": self._checked("question", plain.get("question", ""), _words),
            "data": self._data(),
            "degradation": self._section("degradation", Degradation, {"factor": 4}),
            "recipe": recipe,
            "further": further,
            "seeds": self._checked("seeds", plain.get("seeds", [0]), _seeds),
            "quality": self._quality(),
            "safety": self._safety(),
            "compare": self._section("compare", CompareSettings, {}),
            "device": self._checked("device", plain.get("device", "auto"), _words),
        }
        for label in further:
            if label in (*DOMAINS, MAIN) or not _NAME.fullmatch(label):
                self.mistakes.append(f"a further recipe needs a name of its own, but one is called {label!r}")
        arms = self._arms(tuple(further))
        if self.mistakes:
            return None
        found = Experiment(arms=arms, **values)
        if any(arm.filtered for arm in arms) and not found.safety.measure:
            self.mistakes.append("an arm's policy filters by label safety, which is off; set safety.measure to true")
        return found

    def _arms(self, further: Sequence[str]) -> tuple[ArmChoice, ...]:
        shared = {name: value for name, value in self._part("train")}
        plain = self._plain.get("arms")
        if not isinstance(plain, list) or not all(isinstance(arm, dict) for arm in plain):
            self.mistakes += ["arms must be a list of mappings, each with a name and an arm"] if plain else []
            return ()
        before = len(self.mistakes)
        self._settings("train", shared)
        usable = len(self.mistakes) == before
        arms = [self._arm(at, arm, shared if usable else None, further) for at, arm in enumerate(plain)]
        names = [str(arm.get("name", arm.get("arm"))).casefold() for arm in plain]
        self.mistakes += [f"two arms are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
        return tuple(arm for arm in arms if arm is not None)

    def _arm(
        self, at: int, plain: Mapping[str, Any], shared: Mapping[str, Any] | None, further: Sequence[str]
    ) -> ArmChoice | None:
        own = {name: value for name, value in plain.items() if name not in ("name", "arm", "domain", "recipe")}
        what, before = f"arms.{plain.get('name', at)}", len(self.mistakes)
        if "arm" not in plain:
            self.mistakes.append(f"{what} must say which arm it is: {', '.join(DOMAINS)} or a policy")
            return None
        arm = str(plain["arm"])
        recipe = str(plain.get("recipe", MAIN))
        name = self._checked(f"{what}.name", plain.get("name", arm), _file_name)
        if recipe not in (MAIN, *further):
            self.mistakes.append(f"{what}.recipe must be one of {', '.join((MAIN, *further))}, but is {recipe!r}")
        if arm not in DOMAINS:
            self._checked(f"{what}.arm", arm, Policy.parse)
        domain = str(plain.get("domain", _own_domain(arm, recipe)))
        if recipe in (MAIN, *further) and domain not in (*DOMAINS, *further):
            known = ", ".join((*DOMAINS, *further))
            self.mistakes.append(f"{what}.domain says what it is judged on: one of {known}, but is {domain!r}")
        settings = self._settings(what, own if shared is None else {**shared, **own})
        if settings is None or len(self.mistakes) > before:
            return None
        return ArmChoice(name=name, arm=arm, domain=domain, recipe=recipe, settings=settings)

    def _settings(self, what: str, values: Mapping[str, Any]) -> TrainSettings | None:
        if "seed" in values:
            self.mistakes.append(f"{what}.seed: the seeds of all arms are told by `seeds`")
        return self._checked(what, {k: v for k, v in values.items() if k != "seed"}, read_settings)

    def _data(self) -> DataChoice | None:
        values = {str(name): value for name, value in self._part("data")}
        self._known("data.", values, [f.name for f in fields(DataChoice)])
        if "ratios" in values:
            values["ratios"] = self._checked("data.ratios", values["ratios"], _ratios) or ()
        found = {f.name: values.get(f.name, f.default) for f in fields(DataChoice)}
        kind, folders = found["kind"], [name for name in _PATHS if found[name] is not None]
        for name, choices in (("kind", KINDS), ("link", LINKS)):
            if found[name] not in choices:
                self.mistakes.append(f"data.{name} must be one of {', '.join(choices)}, but is {found[name]!r}")
        if kind == "folders" and folders not in (["hr"], ["train", "validation", "test"]):
            self.mistakes.append(
                "data of kind folders needs class folders: either hr, which is divided by ratios, or train, validation "
                f"and test, but it has {', '.join(folders) or 'none'}; such as --set data.hr=photos"
            )
        if kind in ("textures", "faces") and folders:
            self.mistakes.append(f"data.{folders[0]} is for kind: folders, but kind is {kind}")
        self._number("data.seed", found["seed"], 0)
        self._number("data.limit", found["limit"], 1, optional=True)
        if not _is_number(found["validation_share"]) or not 0 < found["validation_share"] < 1:
            self.mistakes.append(f"data.validation_share must lie between 0 and 1, but is {found['validation_share']}")
        return DataChoice(**found)

    def _quality(self) -> QualityChoice:
        values = {str(name): value for name, value in self._part("quality")}
        self._known("quality.", values, [f.name for f in fields(QualityChoice)])
        values = {name: value for name, value in values.items() if name in {f.name for f in fields(QualityChoice)}}
        if "metrics" in values:
            values["metrics"] = self._checked("quality.metrics", values["metrics"], _names) or ()
        found = QualityChoice(**values)
        if found.channel not in CHANNELS:
            self.mistakes.append(f"quality.channel must be one of {', '.join(CHANNELS)}, but is {found.channel!r}")
        self._number("quality.crop_border", found.crop_border, 0)
        return found

    def _safety(self) -> SafetyChoice:
        values = {str(name): value for name, value in self._part("safety")}
        self._known("safety.", values, ("measure", "filters"))
        filters = self._checked("safety.filters", values.get("filters", list(SafetyChoice().filters)), _names) or ()
        for text in filters:
            self._checked("safety.filters", text, parse_filter)
        if not isinstance(values.get("measure", True), bool):
            self.mistakes.append(f"safety.measure must be true or false, but is {values['measure']!r}")
        return SafetyChoice(measure=values.get("measure", True) is True, filters=filters)

    def _recipe(self, what: str, choice: Any) -> RecipeChoice:
        if isinstance(choice, str):
            return RecipeChoice(name=choice)
        if not isinstance(choice, dict) or not isinstance(choice.get("name"), str):
            self.mistakes.append(f"{what} must be a recipe's name, or a mapping with name and set, but is {choice!r}")
            return RecipeChoice(name="")
        self._known(f"{what}.", choice, ("name", "set"))
        changes = choice.get("set") or {}
        if not isinstance(changes, dict):
            self.mistakes.append(f"{what}.set must be a mapping of a recipe's fields, but is {changes!r}")
            changes = {}
        if changes.get("degradation"):
            self.mistakes.append(f"{what}: LR pictures are files; leave the degradation to the experiment")
        return RecipeChoice(name=choice["name"], changes=changes)

    def _section(self, name: str, kind: Callable[..., _T], values: dict[str, Any]) -> _T | None:
        """A frozen value whose fields are the keys of a section."""
        found = {**values, **{str(key): value for key, value in self._part(name)}}
        known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
        self._known(f"{name}.", found, known)
        values = {key: value for key, value in found.items() if key in known}
        return self._checked(name, values, lambda values: kind(**values))

    def _part(self, name: str) -> list[tuple[Any, Any]]:
        part = self._plain.get(name)
        if part is not None and not isinstance(part, dict):
            self.mistakes.append(f"{name} must be a mapping, but is {part!r}")
            return []
        return list((part or {}).items())

    def _known(self, prefix: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
        self.mistakes += [
            f"there is no {prefix}{name}; known: {', '.join(known)}" for name in values if name not in known
        ]

    def _checked(self, what: str, value: Any, check: Callable[[Any], _T]) -> _T | Any:
        """The checked value; None, and the mistakes noted, if it cannot be."""
        try:
            return check(value)
        except SrcacheError as error:
            lines = [line.removeprefix("  - ") for line in str(error).splitlines()]
            self.mistakes += [f"{what}: {line}" for line in (lines[1:] if len(lines) > 1 else lines)]
        except (TypeError, ValueError) as error:
            self.mistakes.append(f"{what} cannot be {value!r}: {error}")
        return None

    def _number(self, what: str, value: Any, least: int, *, optional: bool = False) -> None:
        if (value is None and optional) or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
            return
        self.mistakes.append(f"{what} must be a whole number of at least {least}, but is {value!r}")


def _own_domain(arm: str, recipe: str) -> str:
    """The domain of an arm that names none; empty for a mixture, which has to say."""
    if arm == "sr" and recipe != MAIN:
        return recipe
    return arm if arm in DOMAINS else ""


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigError(f"expected up to 40 letters, digits, '.', '_', '+' and '-', but got {value!r}")
    return value


def _words(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"expected a text, but got {value!r}")
    return value.strip()


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"expected a list of texts, but got {value!r}")
    return tuple(value)


def _seeds(value: Any) -> tuple[int, ...]:
    sane = isinstance(value, list) and value and all(type(one) is int and 0 <= one < 2**63 for one in value)
    if not sane or len(set(value)) != len(value):
        raise ConfigError(f"expected a list of different whole numbers of at least 0, such as [0, 1, 2], got {value!r}")
    return tuple(value)


def _ratios(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(_is_number(one) for one in value):
        raise ConfigError(f"expected three numbers, such as [0.8, 0.1, 0.1], but got {value!r}")
    if not all(exact_shares(value)):
        raise ConfigError(f"train, validation and test each need a share, but ratios are {value}")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _change(plain: dict[str, Any], path: Sequence[str], value: Any, whole: str) -> None:
    """Set one value, making the mappings on the way to it."""
    name, rest = path[0], path[1:]
    inner = plain.get(name)
    if name == "recipe" and rest and isinstance(inner, str):
        inner = plain[name] = {"name": inner}
    if not rest:
        plain[name] = value
    elif name == "arms" and isinstance(inner, list):
        arms = [arm for arm in inner if isinstance(arm, dict) and rest[0] in ("*", arm.get("name", arm.get("arm")))]
        if not arms or len(rest) < 2:
            raise ConfigError(f"--set {whole}: expected arms.NAME.SETTING, but there is no arm {rest[0]!r}")
        for arm in arms:
            _change(arm, rest[1:], value, whole)
    elif name == "set":
        inner = plain.setdefault(name, {})
        inner[".".join(rest)] = value
    else:
        if inner is None:
            inner = plain[name] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {whole}: {name} is no mapping, but {inner!r}")
        _change(inner, rest, value, whole)


def _anchor(plain: dict[str, Any], beside: Path) -> None:
    """Take folders of pictures and recipe files to be relative to the experiment's file."""
    data: Any = plain.get("data")
    for name in _PATHS if isinstance(data, dict) else ():
        if isinstance(data.get(name), str):
            data[name] = str(beside / data[name])
    further: Any = plain.get("further")
    places: list[tuple[dict[str, Any], str]] = [(plain, "recipe")]
    places += [(further, label) for label in further] if isinstance(further, dict) else []
    for choices, name in places:
        choice = choices.get(name)
        text = choice.get("name") if isinstance(choice, dict) else choice
        if isinstance(text, str) and Path(text).suffix in (".yaml", ".yml"):
            choices[name] = {**(choice if isinstance(choice, dict) else {}), "name": str(beside / text)}


def _mapping(text: str, origin: str) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {error}") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{origin} must be a YAML mapping: name, data, recipe, arms, …")
    return plain


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"experiment {path} cannot be read: {error}") from error
