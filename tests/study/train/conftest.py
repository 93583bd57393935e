"""What the tests of this folder share: the small study's data, a run that nothing happened to, and no curves."""

from pathlib import Path

import pytest
from train_study import QUICK, arm_sets, make_stripes

from srcache.study.arms.sets import ArmSets
from srcache.study.train import runs
from srcache.study.train.loop import train_run
from srcache.study.train.runs import TrainRun


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and a cache of the small study; do not change it."""
    return make_stripes(tmp_path_factory.mktemp("stripes"))


@pytest.fixture(scope="session")
def sets(stripes: Path) -> ArmSets:
    """All three sets of LR."""
    return arm_sets(stripes)


@pytest.fixture(scope="session")
def finished(sets: ArmSets, tmp_path_factory: pytest.TempPathFactory) -> TrainRun:
    """A run of QUICK that nothing happened to; do not change it."""
    return train_run(sets, tmp_path_factory.mktemp("finished"), QUICK)


@pytest.fixture
def no_curves(finished: TrainRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are drawn once, by `finished`; other runs would spend half their time on them."""
    monkeypatch.setattr(runs, "write_curves", lambda *_: False)
