"""What the tests of this folder share: tiny images, and one experiment with them that nothing happened to."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny_experiment import make_images, tiny

from srcache.files import brief_lock
from srcache.study.compare import output
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.train import runs


@pytest.fixture(scope="session")
def images(shared_folder: Path) -> Path:
    """Class folders in train, validation and test; do not change them."""
    folder = shared_folder / "stripes"
    with brief_lock(shared_folder):
        return folder if folder.exists() else make_images(folder)


@pytest.fixture(scope="session")
def first(images: Path, shared_folder: Path) -> ExperimentResult:
    """A finished experiment, run by one of the processes that test; do not change it."""
    folder = shared_folder / "first"
    folder.mkdir(exist_ok=True)
    with brief_lock(folder):
        if (written := folder / "result.json").exists():
            known = json.loads(written.read_text())
            paths = {name: Path(known[name]) for name in ("out", "report")}
            return ExperimentResult(**known | paths | {"failures": tuple(known["failures"])})
        done = run_experiment(tiny(images), folder / "out", commands=["srcache experiment x"])
        written.write_text(json.dumps(asdict(done), default=str))
        return done


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and matrices are drawn once, by `first`; later runs would spend half their time on them."""
    monkeypatch.setattr(runs, "write_curves", lambda *_: False)
    monkeypatch.setattr(output, "draw_confusion", lambda *_: b"")


@pytest.fixture
def out(first: ExperimentResult, tmp_path: Path) -> Path:
    """A copy of the finished experiment, to be treated badly."""
    return Path(shutil.copytree(first.out, tmp_path / "out"))
