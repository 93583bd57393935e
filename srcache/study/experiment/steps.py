"""What each step was made from: a small JSON record per step, so that it is redone exactly when that has changed.

    OUT/steps/<step>.json   inputs (digests and settings), outputs (file → digest), result, seconds

A record is written after its outputs. A step is reused if its inputs are the same as then and its outputs are still
what was written; a killed step has no record, and is done again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.files import write_atomic
from srcache.files.documents import Shape, parse_json
from srcache.keys import image_key

FOLDER = "steps"
_SCHEMA = "srcache.experiment-step/1"
_RECORD: Shape = {"schema": str, "inputs?": {}, "outputs?": {...: str}, "seconds?": float}
"""What a record holds; `result` is anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished step: its result as JSON values, and how long it took in seconds."""

    result: Any
    seconds: float


def reusable(out: Path, name: str, inputs: Mapping[str, Any]) -> Step | None:
    """The record of a step that was done from the same inputs, if all that it wrote is still there."""
    record = _record(out, name)
    if record is None or record.get("inputs") != as_json(inputs):
        return None
    written = record.get("outputs", {})
    if any(_digest(out / path) != digest for path, digest in written.items()):
        return None
    return Step(result=record.get("result"), seconds=float(record.get("seconds", 0.0)))


def started_with(out: Path, name: str) -> Any:
    """The inputs that a step was started or done with; None if it never was."""
    record = _record(out, name)
    return None if record is None else record.get("inputs")


def result_of(out: Path, name: str) -> Any:
    """The result of a step that was done, whatever it was made from; None if it was not."""
    record = _record(out, name)
    return None if record is None else record.get("result")


def start_step(out: Path, name: str, inputs: Mapping[str, Any]) -> None:
    """Record from what a step is going to be made; it counts as not done."""
    _write(out, name, {"schema": _SCHEMA, "inputs": as_json(inputs), "outputs": {name: "not done yet"}})


def finish_step(
    out: Path, name: str, inputs: Mapping[str, Any], outputs: Iterable[Path], result: Any, seconds: float
) -> Step:
    """Record what a step did. `outputs` are files below `out` whose bytes must stay as they are."""
    digests = {path.relative_to(out).as_posix(): _digest(path) for path in outputs}
    record = {"inputs": as_json(inputs), "outputs": digests, "result": as_json(result), "seconds": seconds}
    _write(out, name, {"schema": _SCHEMA, **record})
    return Step(result=record["result"], seconds=seconds)


def as_json(value: Any) -> Any:
    """A value as it reads back from JSON, so that what was read compares with what will be written."""
    return json.loads(json.dumps(value, allow_nan=False))


def _record(out: Path, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = parse_json((out / FOLDER / f"{name}.json").read_bytes(), _RECORD)
    except (OSError, ValueError):
        return None
    return found if found["schema"] == _SCHEMA else None


def _write(out: Path, name: str, record: Mapping[str, Any]) -> None:
    write_atomic(
        out / FOLDER / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def _digest(path: Path) -> str | None:
    try:
        return image_key(path.read_bytes())
    except OSError:
        return None
