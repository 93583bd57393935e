"""Experiments by their shipped name or from a file, with changes of single values.

A change is `key=value` with dots between the levels; arms are named, and `*` is each of them: `train.epochs=2`,
`arms.sr.size=64`, `arms.*.network=small`. What the values must be is known to `parse`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srcache.errors import ConfigError
from srcache.files import read_text, shipped_texts, yaml_mapping
from srcache.study.experiment.config import Experiment
from srcache.study.experiment.parse import DATA_FOLDERS, read_experiment
from srcache.wording import meant


def shipped_experiments() -> dict[str, str]:
    """The experiments that come with srcache: name → YAML text."""
    return shipped_texts("experiments")


def load_experiment(source: str | Path, changes: Mapping[str, Any] | None = None) -> Experiment:
    """An experiment by its shipped name or from a YAML file, with changes such as {"train.epochs": 2}.

    Folders of images are relative to the file, or, where a change or a shipped experiment names them, to the current
    folder.

    Raises:
        ConfigError: no such experiment, or mistakes in it: all of them.
    """
    shipped, beside = shipped_experiments(), Path()
    if str(source) in shipped:
        text, name = shipped[str(source)], str(source)
    elif Path(source).suffix in (".yaml", ".yml"):
        text, name = read_text(Path(source), "experiment"), Path(source).stem
        beside = Path(source).parent
    else:
        known = f"{meant(str(source), shipped)}use one of {', '.join(shipped)}, or a .yaml file"
        raise ConfigError(f"no experiment is named {str(source)!r}; {known}")
    plain = {"name": name, **yaml_mapping(text, str(source), ": name, data, recipe, arms, …")}
    _anchor(plain, beside)
    for key, value in (changes or {}).items():
        _change(plain, key.split("."), value, key)
    _anchor(plain, Path.cwd())
    return read_experiment(plain)


def _change(plain: dict[str, Any], path: Sequence[str], value: Any, key: str) -> None:
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
            known = ", ".join(str(arm.get("name", arm.get("arm"))) for arm in inner if isinstance(arm, dict))
            found = f"there is no arm {rest[0]!r}; there is {known}" if not arms else "no setting is named"
            raise ConfigError(f"--set {key}: expected arms.NAME.SETTING, but {found}")
        for arm in arms:
            _change(arm, rest[1:], value, key)
    elif name == "set":
        inner = plain.setdefault(name, {})
        inner[".".join(rest)] = value
    else:
        if inner is None:
            inner = plain[name] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: {name} is no mapping, but {inner!r}")
        _change(inner, rest, value, key)


def _anchor(plain: dict[str, Any], beside: Path) -> None:
    """Take folders of images and recipe files to be relative to the experiment's file."""
    data: Any = plain.get("data")
    for name in DATA_FOLDERS if isinstance(data, dict) else ():
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
