"""`srcache quickstart`: the shipped experiment of this name, run and shown as `srcache experiment` does."""

import json
from pathlib import Path

import pytest
from tiny_experiment import make_images, tiny

from srcache.study.experiment import load_experiment


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """The names of the experiments that were loaded; a tiny one is run in their place."""
    names = []
    small = tiny(
        make_images(tmp_path / "data"), seeds=[0], arms=[{"arm": "lr"}], train={"network": "small:2", "epochs": 1}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("srcache.study.experiment.load_experiment", lambda name: names.append(name) or small)
    monkeypatch.setattr("srcache_cli.experiment._jobs", lambda _: 1)
    return names


@pytest.mark.medium
def test_the_shipped_quickstart_is_run_into_the_folder(loaded, srcache):
    printed = srcache("quickstart", "--out", "a folder", "--json")
    document = json.loads(printed.out)
    assert (printed.code, loaded) == (0, ["quickstart"])
    assert (document["schema"], document["result"]["out"]) == ("srcache.quickstart/1", "a folder")
    results = json.loads(Path("a folder/results.json").read_text())
    assert results["commands"] == ["srcache quickstart --out 'a folder'"]
    assert Path(document["result"]["report"]).is_file()
    again = srcache("quickstart", "--out", "a folder")
    assert "0 networks trained, 1 there already; everything is in\na folder, " in again.out


def test_its_folder_has_a_name_of_its_own(monkeypatch, srcache):
    seen = []
    monkeypatch.setattr("srcache_cli.quickstart.run", lambda *words: seen.append(words))
    monkeypatch.setattr("srcache_cli.quickstart.show_result", lambda *_: 0)
    assert srcache("quickstart").code == 0
    [(experiment, out, jobs, commands, as_json)] = seen
    assert experiment == load_experiment("quickstart")
    assert (out, jobs, as_json) == (Path("srcache-quickstart"), None, False)
    assert commands == ["srcache quickstart --out srcache-quickstart"]
