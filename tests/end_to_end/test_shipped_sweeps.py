"""The shipped experiments with curves from end to end, with fewer images, values and epochs, by their own command."""

import json
from pathlib import Path

import pytest
from srcache_cli.main import run

pytestmark = pytest.mark.slow

FEWER = ["train.epochs=1", "arms.*.network=small:2", "compare.draws=200", "seeds=[0,1]"]
SHORT = {
    "mixture": ["data.limit=3", "sweep.share-of-sr.values=[0,50,100]"],
    "few-shot": ["data.limit=4", "sweep.images-per-class.values=[2,all]", "sweep.images-per-class.epochs=[2,1]"],
}
ARMS = {
    "mixture": ["enlarged", "mix", "sr"],
    "few-shot": ["bicubic@images-per-class-2", "bicubic"],
}


@pytest.mark.parametrize("name", SHORT)
def test_it_ends_with_curves_and_a_second_run_trains_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment", name, "--out", str(tmp_path / "out"), "--jobs", "1"]
    words += [word for change in (*FEWER, *SHORT[name]) for word in ("--set", change)]
    assert run(words) == 0
    (sweep,) = json.loads((tmp_path / "out/results.json").read_text())["sweeps"]
    assert [point["arm"] for point in sweep["curves"][0]["points"]] == ARMS[name]
    assert f"Curves {sweep['name']}: {sweep['answer']}" in capfd.readouterr().out
    assert 'id="sweeps"' in (tmp_path / "out/report.html").read_text()
    assert run([*words, "--json"]) == 0
    again = json.loads(capfd.readouterr().out)["result"]
    assert (again["trained"], again["sweeps"]) == (0, [sweep])
