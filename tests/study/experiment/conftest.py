"""What the tests of this folder share: tiny images, and one experiment with them that nothing happened to."""

import shutil
from pathlib import Path

import pytest
from tiny_experiment import make_images, tiny

from srcache.study.compare import output
from srcache.study.experiment.run import ExperimentResult, run_experiment
from srcache.study.train import runs


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders in train, validation and test; do not change them."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def first(images: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    """A finished experiment; do not change it."""
    return run_experiment(tiny(images), tmp_path_factory.mktemp("first") / "out", commands=["srcache experiment x"])


@pytest.fixture
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and matrices are drawn once, by `first`; later runs would spend half their time on them."""
    monkeypatch.setattr(runs, "write_curves", lambda *_: False)
    monkeypatch.setattr(output, "draw_confusion", lambda *_: b"")


@pytest.fixture
def out(first: ExperimentResult, tmp_path: Path) -> Path:
    """A copy of the finished experiment, to be treated badly."""
    return Path(shutil.copytree(first.out, tmp_path / "out"))
