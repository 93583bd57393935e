"""The training of `compact`, a few steps of it on small images: its pairs, its learning rate, and that it resumes."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks import train_compact
from benchmarks.train_compact import CompactTraining, Patches, reduced, train
from srcache.images import resize


@pytest.fixture
def few_photos(make_image, monkeypatch):
    """Two images in place of the photos of each split."""
    monkeypatch.setattr(
        train_compact, "photos", lambda work, split: [(f"{split}{seed}", make_image(100, 96, seed)) for seed in (1, 2)]
    )


def _settings(work, **given):
    work.mkdir(exist_ok=True)
    return CompactTraining(scale=2, work=work, **{"steps": 4, "batch": 2, "patch": 8, "watch": 2, **given})


@pytest.mark.usefixtures("few_photos")
def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path, monkeypatch, capsys):
    complete, stopped = _settings(tmp_path / "complete"), _settings(tmp_path / "stopped")
    train(complete)
    save = train_compact._save

    def save_and_stop(settings, training):
        save(settings, training)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_compact, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    monkeypatch.setattr(train_compact, "_save", save)
    assert not stopped.weights.exists()
    train(stopped)
    assert "parameters, step 2/4" in capsys.readouterr().out
    expected, resumed = load_file(complete.weights), load_file(stopped.weights)
    assert {tensor.dtype for tensor in resumed.values()} == {torch.float16}
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("few_photos")
def test_the_patches_of_a_step_depend_on_the_seed_and_the_step_only(tmp_path):
    patches, again = Patches(_settings(tmp_path)), Patches(_settings(tmp_path, steps=9))
    (lr, hr), (lr2, hr2) = patches.batch(3), again.batch(3)
    assert lr.shape == (2, 3, 8, 8)
    assert hr.shape == (2, 3, 16, 16)
    assert torch.equal(lr, lr2)
    assert torch.equal(hr, hr2)
    assert not torch.equal(lr, patches.batch(4)[0])
    assert not torch.equal(lr, Patches(_settings(tmp_path, seed=2)).batch(3)[0])
    assert float((torch.nn.functional.avg_pool2d(hr, 2) - lr).abs().mean()) < 0.05, "HR and LR show the same place"


def test_the_learning_rate_rises_stays_and_falls_to_zero(tmp_path):
    settings = _settings(tmp_path, steps=2000)
    rates = [settings.rate_at(step) for step in range(2000)]
    assert rates[0] == pytest.approx(settings.rate / 200)
    assert set(rates[200:1400]) == {settings.rate}
    assert rates[-1] == pytest.approx(settings.rate / 600)
    assert rates[1400:] == sorted(rates[1400:], reverse=True)


def test_a_reduced_photo_has_sides_that_the_scale_divides(make_image):
    rgb = make_image(103, 90)
    assert reduced(rgb, 3, 4).shape == (32, 28, 3)
    np.testing.assert_array_equal(reduced(rgb, 3, 4), resize(rgb, (34, 30), "lanczos")[:32, :28])


def test_photos_are_read_from_the_packages_that_are_unpacked_already(tmp_path, make_image):
    table = csv.DictReader(train_compact.PHOTOS.read_text(encoding="utf-8").splitlines())
    rows = [row for row in table if row["split"] == "held-out"]
    for number, row in enumerate(rows):
        path = tmp_path / row["package"] / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(8, 9, number)).save(path, "PNG")
    found = dict(train_compact.photos(tmp_path, "held-out"))
    assert list(found) == ["LadyBird", "RainDrops", "ColorfulCups", "EveningGlow", "Grey", "OneStandsOut"]
    np.testing.assert_array_equal(found["Grey"], make_image(8, 9, 4))
