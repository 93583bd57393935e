"""What an experiment would take: from a few of its images, and nothing stays."""

import tempfile
from pathlib import Path

import pytest
from tiny_experiment import tiny

from srcache.errors import CatalogError, WeightsError
from srcache.study.experiment import forecast
from srcache.study.experiment.forecast import foretell
from srcache.study.train.networks import build_network
from srcache.study.train.settings import TrainSettings

pytestmark = pytest.mark.medium

TRY_STEPS = forecast._try_steps


@pytest.fixture(autouse=True)
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for passing files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 2 ms for each image to learn from, and 1 ms for one to look at; the weights have 100 bytes."""
    monkeypatch.setattr(forecast, "_try_steps", lambda settings, classes: (0.002, 0.001, 100))


def test_steps_of_a_network_are_tried_and_larger_images_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "_MOST_STEPS", 1)
    monkeypatch.setattr(forecast, "_SIDE", 32)
    settings = TrainSettings(network="small:2", size=64, batch_size=2)
    learn, look, size = TRY_STEPS(settings, 3)
    assert 0 < look < 10
    assert 0 < learn < 10
    network = build_network("small:2", 3, (64, 64))
    assert size == sum(value.numel() * value.element_size() for value in network.state_dict().values())


def test_every_step_has_its_time_and_bytes_and_nothing_stays(images: Path, passing: Path) -> None:
    found = foretell(tiny(images), jobs=2)
    assert found.images == {"train": 16, "validation": 8, "test": 10}
    assert [step.name for step in found.steps] == [
        *("data", "cache lanczos", "trainings", "predictions", "label safety", "image quality")
    ]
    assert all(step.seconds is not None and 0 < step.seconds < 60 for step in found.steps)
    assert found.seconds == pytest.approx(sum(step.seconds or 0 for step in found.steps))
    data, cache, trainings = found.steps[:3]
    assert data.bytes > sum(path.stat().st_size for path in images.rglob("*.png")) > 0.9 * data.bytes * 0.6
    assert cache.bytes > 0
    assert trainings.seconds is not None
    assert trainings.seconds >= 2 * 4 * 2 * (16 * 0.002 + 8 * 0.001) / 2
    assert trainings.bytes == 8 * 100
    assert trainings.about == "8 networks, at most 2 epochs each, 2 at a time"
    assert (found.classes, found.lacking, found.unusable) == (2, (), ())
    assert found.devices[0].startswith("cpu")
    assert list(passing.glob("srcache*")) == []


def test_points_of_sweeps_are_trainings_too_and_fewer_images_cost_less(images: Path) -> None:
    few = {"over": "per_class", "values": [2, "all"], "arms": ["sr"]}
    found = foretell(tiny(images, sweep={"few": few}), jobs=1)
    trainings = next(step for step in found.steps if step.name == "trainings")
    assert trainings.about == "10 networks, at most 2 epochs each, 1 at a time"
    assert trainings.bytes == 10 * 100
    fewer = 2 * 2 * (4 * 0.002 + 4 * 0.001)
    assert trainings.seconds is not None
    assert trainings.seconds >= 2 * 4 * 2 * (16 * 0.002 + 8 * 0.001) + fewer


def test_twice_the_epochs_take_longer(images: Path) -> None:
    short, long = (foretell(tiny(images, train={"network": "small:2", "size": 16, "epochs": n})) for n in (2, 400))
    times = [next(step.seconds for step in found.steps if step.name == "trainings") for found in (short, long)]
    assert times[1] > 50 * times[0]  # type: ignore[operator]


def test_a_recipe_whose_weights_are_not_here_is_said_and_the_sum_is_not_known(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object) -> None:
        raise WeightsError("weights x lack 3 files; `srcache models fetch x` downloads them")

    monkeypatch.setattr(forecast, "recipe_of", lack)
    found = foretell(tiny(images, safety={"measure": False}))
    assert found.seconds is None
    assert found.lacking == ("weights x lack 3 files; `srcache models fetch x` downloads them",)
    assert [step.name for step in found.steps if step.seconds is None] == ["cache lanczos"]


def test_images_that_cannot_be_used_are_named_and_folders_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(6):
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / label / f"{number}.png").write_bytes(b"no image")
    small = tiny(tmp_path, data={"kind": "folders", "hr": str(tmp_path / "photos"), "ratios": [0.5, 0.25, 0.25]})
    with pytest.raises(CatalogError, match=r"can be used: "):
        foretell(small)
    with pytest.raises(CatalogError, match="does not exist"):
        foretell(tiny(tmp_path, data={"kind": "folders", "hr": str(tmp_path / "none")}))
