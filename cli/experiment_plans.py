"""What `srcache experiment` says without running one: what is shipped, schemas, a check, and what one would take."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.wording import NOTHING, about, counted, human_bytes, meant

from .output import document, echo, table

if TYPE_CHECKING:
    from srcache.study.experiment import Experiment
    from srcache.study.experiment.forecast import Forecast


def print_shipped(name: str | None, schema: str | None, as_json: bool) -> int:
    """Print a shipped experiment, a schema, or the list of what is shipped."""
    if name is not None:
        text = _shipped(name)
        echo(document("experiment", {"name": name, "yaml": text}) if as_json else text.rstrip("\n"))
    elif schema is not None:
        found = _schema(schema)
        echo(document("experiment", found) if as_json else json.dumps(found, indent=2, ensure_ascii=False))
    else:
        experiments = _experiments()
        rows = [(one["name"], one["images"], one["needs"] or NOTHING, one["question"]) for one in experiments]
        text = table(rows, ("name", "images", "fetches", "question"))
        text += "\n\n`srcache experiment --show NAME` prints one to copy, `srcache experiment NAME --out DIR` runs it"
        echo(document("experiment", {"experiments": experiments}) if as_json else text)
    return 0


def print_check(experiment: "Experiment", as_json: bool) -> int:
    """Print that nothing is wrong with an experiment.

    Raises:
        ConfigError: there are mistakes: all of them.
        MachineError: there are none, but packages, weights or a device are missing.
    """
    from srcache.study.experiment.check import check_experiment

    check_experiment(experiment).raise_if_any(experiment.name)
    arms, seeds = len(experiment.arms), len(experiment.seeds)
    if as_json:
        echo(document("experiment", {"checked": experiment.name, "arms": arms, "seeds": seeds}))
        return 0
    echo(f"{experiment.name}: no mistakes; {counted(arms, 'arm')}, {counted(seeds, 'seed')}; nothing was run")
    return 0


def print_forecast(experiment: "Experiment", jobs: int, out: Path | None, as_json: bool) -> int:
    """Print what an experiment would take; a step that cannot be tried is said, and what it needs."""
    from srcache.study.experiment.forecast import foretell

    found = foretell(experiment, jobs)
    free = shutil.disk_usage(_there(out or Path.cwd())).free
    if as_json:
        names = ("steps", "seconds", "bytes", "images", "classes", "devices", "lacking", "unusable")
        plain = {name: getattr(found, name) for name in names}
        echo(document("experiment", {"dry_run": True, "name": experiment.name, **plain, "free": free}))
        return 0
    echo(_forecast(experiment.name, found, free))
    return 0


def _forecast(name: str, found: "Forecast", free: int) -> str:
    rows = [
        (step.name, NOTHING if step.seconds is None else about(step.seconds), human_bytes(step.bytes), step.about)
        for step in found.steps
    ]
    known = sum(step.seconds for step in found.steps if step.seconds is not None)
    more = "" if found.seconds is not None else "more than "
    rows.append(("all", f"{more}{about(known)}", human_bytes(found.bytes), f"{human_bytes(free)} are free there"))
    classes = counted(found.classes, "class")
    lines = [f"{name} (dry run from its beginning: nothing was written), {classes}, on {', '.join(found.devices)}"]
    lines.append(table(rows, ("step", "about", "disk", "")))
    lines += [f"not here: {text}" for text in found.lacking] or ["downloads: none"]
    if found.bytes > free:
        lines.append("there is too little room")
    if found.unusable:
        lines.append(f"of the images that were tried, {len(found.unusable)} cannot be used:")
        lines += [f"  {text}" for text in found.unusable]
    return "\n".join(lines)


def _there(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((one for one in (path.absolute(), *path.absolute().parents) if one.is_dir()), Path.cwd())


def _shipped(name: str) -> str:
    from srcache.errors import ConfigError
    from srcache.study.experiment import shipped_experiments

    known = shipped_experiments()
    if name not in known:
        raise ConfigError(f"no experiment is named {name!r}; {meant(name, known)}shipped: {', '.join(known)}")
    return known[name]


def _schema(kind: str) -> dict[str, Any]:
    if kind == "recipe":
        from srcache.recipe.schema import recipe_schema

        return recipe_schema()
    from srcache.study.experiment.schema import experiment_schema

    return experiment_schema()


def _experiments() -> list[dict[str, Any]]:
    """What is shipped: its name, where its images come from, whose weights it fetches, and what it asks."""
    from srcache.files.documents import parse_yaml
    from srcache.recipe.reading import shipped_recipes
    from srcache.study.experiment import shipped_experiments

    found = []
    for name, text in shipped_experiments().items():
        plain = parse_yaml(text)
        kind, weights = plain.get("data", {}).get("kind", "textures"), []
        for choice in (plain.get("recipe", "compact"), *(plain.get("further") or {}).values()):
            recipe = choice["name"] if isinstance(choice, dict) else choice
            if parse_yaml(shipped_recipes().get(recipe, "")) and parse_yaml(shipped_recipes()[recipe]).get("weights"):
                weights.append(f"weights of {recipe}")
        images = "your own (data.hr=DIR)" if kind == "folders" else f"{kind}, embedded"
        question = " ".join(str(plain.get("question", "")).split())
        found.append({"name": name, "images": images, "needs": ", ".join(weights), "question": question})
    return found
