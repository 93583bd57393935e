"""A trained run as the reference classifier: its own answers, and the features before its last layer."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safety_study import NOISY, built

from srcache.errors import ConfigError, DeviceError
from srcache.images import Pixels, to_batch
from srcache.study.arms.augment import fit_to_size
from srcache.study.safety.classifier import open_classifier
from srcache.study.safety.measure import measure_safety, source_images
from srcache.study.train.networks import build_network, last_layer
from srcache.study.train.runs import TrainRun, write_finished, write_weights
from srcache.study.train.settings import TrainSettings


def finished_run(folder: Path, network: str, size: int) -> TrainRun:
    """A run folder as a training leaves it, with fresh weights."""
    torch.manual_seed(3)
    settings = TrainSettings(network=network, size=size, device="cpu")
    made = build_network(network, 3, (size, size))
    folder.mkdir(parents=True)
    run = TrainRun(
        folder=folder,
        arm="hr",
        classes=("bark", "gravel", "moss"),
        settings=settings,
        inputs={},
        history=(),
        best_epoch=1,
        metrics={},
        balance={},
        versions={},
        device="cpu",
        weights=write_weights(folder / "model.safetensors", made.state_dict()),
        seconds=0.0,
        stopped=False,
    )
    write_finished(run)
    return run


@pytest.fixture
def _untouched_chance() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.medium
@pytest.mark.usefixtures("_untouched_chance")
@pytest.mark.parametrize(("network", "size", "features"), [("small:4", 16, 16), ("torchvision:squeezenet1_1", 32, 512)])
def test_a_run_answers_with_logits_and_what_went_into_its_last_layer(
    tmp_path: Path, make_image: Callable[..., Pixels], network: str, size: int, features: int
) -> None:
    run = finished_run(tmp_path / "run", network, size)
    classifier = open_classifier(tmp_path / "run", "cpu")
    images = [make_image(40, 20, seed) for seed in range(3)]
    batch = torch.stack([classifier.prepare(image) for image in images])
    assert torch.equal(batch, to_batch([fit_to_size(image, (size, size), "pad") for image in images]))
    with torch.inference_mode():
        logits, inner = classifier(batch)
        network_of_run = run.network()
        assert torch.equal(logits, network_of_run(batch))
        assert inner.shape == (3, features)
        layer = last_layer(network_of_run)
        if isinstance(layer, torch.nn.Linear):
            assert torch.allclose(layer(inner), logits)
    other = finished_run(tmp_path / "other", network, 2 * size)
    assert classifier.classes == ("bark", "gravel", "moss")
    stretched = replace(run, settings=replace(run.settings, fit="stretch"))
    assert len({classifier.digest, open_classifier(other, "cpu").digest, open_classifier(stretched, "cpu").digest}) == 3
    assert open_classifier(run, "cpu").digest == classifier.digest


@pytest.mark.usefixtures("_untouched_chance")
def test_a_run_classifies_the_images_of_a_cache(photos: Path, hr: Path, tmp_path: Path) -> None:
    finished_run(tmp_path / "run", "small:4", 16)
    folder = built(photos, NOISY)
    report = measure_safety(folder, source_images(folder, photos, hr), open_classifier(tmp_path / "run", "cpu"))
    assert report.measured == 12
    assert all(0 <= row.agree <= 1 and row.sr_label for row in report.rows)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = measure_safety(folder, source_images(folder, photos, hr), open_classifier(tmp_path / "moved", "cpu"))
    assert (again.measured, again.known) == (0, 12)


@pytest.mark.usefixtures("_untouched_chance")
def test_what_is_no_run_or_no_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected the folder of a run"):
        open_classifier(tmp_path, "cpu")
    finished_run(tmp_path / "run", "small:4", 16)
    with pytest.raises(DeviceError):
        open_classifier(tmp_path / "run", "abacus")
