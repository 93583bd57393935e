"""Records of steps: reused exactly while inputs and outputs are those that were recorded."""

import json
from pathlib import Path

import pytest

from srcache.study.experiment.steps import as_json, finish_step, reusable, start_step, started_with

INPUTS = {"digests": ("a", "b"), "size": 16, "nested": {"share": 0.5}}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An experiment's folder with one finished step of two outputs."""
    for name in ("one.txt", "deep/two.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    step = finish_step(
        tmp_path, "kind/step", INPUTS, [tmp_path / "one.txt", tmp_path / "deep/two.txt"], {"n": (1, 2)}, 1.5
    )
    assert (step.result, step.seconds) == ({"n": [1, 2]}, 1.5)
    return tmp_path


def test_a_step_is_reused_with_its_result(made: Path) -> None:
    found = reusable(made, "kind/step", INPUTS)
    assert found is not None
    assert (found.result, found.seconds) == ({"n": [1, 2]}, 1.5)
    assert started_with(made, "kind/step") == as_json(INPUTS)
    record = json.loads((made / "steps/kind/step.json").read_text())
    assert list(record) == ["schema", "inputs", "outputs", "result", "seconds"]
    assert record["schema"] == "srcache.experiment-step/1"
    assert list(record["outputs"]) == ["one.txt", "deep/two.txt"]


@pytest.mark.parametrize("change", [{"size": 17}, {"digests": ["b", "a"]}, {"more": None}])
def test_other_inputs_are_not_reused(made: Path, change: dict[str, object]) -> None:
    assert reusable(made, "kind/step", {**INPUTS, **change}) is None


def test_outputs_that_are_gone_or_changed_are_noticed(made: Path) -> None:
    good = (made / "deep/two.txt").read_bytes()
    (made / "deep/two.txt").write_bytes(good + b" ")
    assert reusable(made, "kind/step", INPUTS) is None
    (made / "deep/two.txt").write_bytes(good)
    assert reusable(made, "kind/step", INPUTS) is not None
    (made / "deep/two.txt").unlink()
    assert reusable(made, "kind/step", INPUTS) is None


def test_a_step_that_was_only_started_is_not_reused_but_known(made: Path) -> None:
    start_step(made, "kind/step", INPUTS)
    assert reusable(made, "kind/step", INPUTS) is None
    assert started_with(made, "kind/step") == as_json(INPUTS)
    assert started_with(made, "other") is None
    assert reusable(made, "other", INPUTS) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "srcache.experiment-step/2", "inputs": {}}'])
def test_a_record_that_is_none_counts_as_missing(made: Path, text: str) -> None:
    (made / "steps/kind/step.json").write_text(text)
    assert reusable(made, "kind/step", INPUTS) is None
    assert started_with(made, "kind/step") is None


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        finish_step(tmp_path, "step", {"share": float("nan")}, [], None, 0.0)
    assert not (tmp_path / "steps").exists()
