"""`srcache experiment` without a run: --list, --show, --schema, --check and --dry-run."""

import json

import pytest
import yaml
from jsonschema import Draft7Validator
from tiny_experiment import make_images, tiny

from srcache.study.experiment import shipped_experiments


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A configuration mine.yaml of a tiny study, in the current folder."""
    monkeypatch.chdir(tmp_path)
    small = tiny(make_images(tmp_path / "data"), seeds=[0], arms=[{"arm": "lr"}, {"arm": "hr"}])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(small.plain()))
    return "mine.yaml"


def _files(folder):
    return sorted(folder.rglob("*"))


def test_every_shipped_experiment_is_listed_and_shown(srcache):
    listed = srcache("experiment", "--list")
    assert listed.code == 0
    rows = {line.split()[0]: line for line in listed.out.splitlines()[1:] if line}
    assert set(shipped_experiments()) <= set(rows)
    assert "your own (data.hr=DIR)" in rows["own-photos"]
    assert "weights of seesr-ccsr-vae" in rows["thesis-corrected"]
    found = json.loads(srcache("experiment", "--list", "--json").out)["result"]["experiments"]
    assert [one["name"] for one in found] == list(shipped_experiments())
    for name, text in shipped_experiments().items():
        assert srcache("experiment", "--show", name).out == text
    assert json.loads(srcache("experiment", "--show", "faces", "--json").out)["result"]["name"] == "faces"


def test_what_is_shown_can_be_copied_and_checked(srcache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.yaml").write_text(srcache("experiment", "--show", "faces").out)
    checked = srcache("experiment", "copy.yaml", "--check")
    assert (checked.code, checked.out) == (0, "faces: no mistakes; 4 arms, 3 seeds; nothing was run\n")


@pytest.mark.parametrize(("words", "required"), [([], "arms"), (["recipe"], "engine")])
def test_the_schema_is_printed_as_it_is(srcache, words, required):
    printed = srcache("experiment", "--schema", *words)
    schema = json.loads(printed.out)
    Draft7Validator.check_schema(schema)
    assert schema["required"] == [required]
    assert json.loads(srcache("experiment", "--schema", *words, "--json").out)["result"] == schema


def test_a_check_says_all_mistakes_and_writes_nothing(mine, srcache, tmp_path):
    before = _files(tmp_path)
    assert srcache("experiment", mine, "--check").code == 0
    changes = [word for one in ("recipe=nothing", "data.test=none", "train.size=4") for word in ("--set", one)]
    printed = srcache("experiment", mine, "--check", *changes)
    assert (printed.code, printed.out) == (2, "")
    assert printed.err.count("\n  - ") == 3
    document = json.loads(srcache("experiment", mine, "--check", *changes, "--json").out)
    assert (document["ok"], document["error"]["exit_code"]) == (False, 2)
    assert _files(tmp_path) == before


@pytest.mark.medium
def test_a_dry_run_foretells_and_writes_nothing(mine, srcache, tmp_path, monkeypatch):
    monkeypatch.setattr("srcache.study.experiment.forecast._try_steps", lambda settings, classes: (0.002, 0.001, 100))
    before = _files(tmp_path)
    printed = srcache("experiment", mine, "--dry-run", "--jobs", 1)
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0].startswith("tiny (dry run from its beginning: nothing was written), 2 classes, on cpu")
    assert [line.split("  ")[0] for line in lines[2:9]] == [
        *("data", "cache lanczos", "trainings", "predictions", "label safety", "image quality", "all")
    ]
    assert lines[9] == "downloads: none"
    result = json.loads(srcache("experiment", mine, "--dry-run", "--out", "there/out", "--json").out)["result"]
    assert result["seconds"] > 0
    assert result["images"] == {"train": 16, "validation": 8, "test": 10}
    assert _files(tmp_path) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--show own-photo", "no experiment is named 'own-photo'; did you mean own-photos? shipped: faces"),
        ("--show zzz", "no experiment is named 'zzz'; shipped: faces"),
        ("--check", "Missing argument 'CONFIG'"),
        ("own-photos --check", "needs class folders"),
        ("own-photos --dry-run", "needs class folders"),
        ("own-photos --dry-run --set data.hr=none", "does not exist"),
        ("--schema movie", "'movie' is not one of 'experiment', 'recipe'"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, refuse, line, message):
    monkeypatch.chdir(tmp_path)
    refuse(f"experiment {line}", message)
