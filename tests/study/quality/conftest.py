"""What the tests of image quality share: two folders, a cache with its exports, and metrics that are made up."""

import shutil
from pathlib import Path

import caches
import pytest
from images import picture
from quality_folders import noisy, save

from srcache.maintain.export import export
from srcache.study.quality import measure, pyiqa_metrics
from srcache.study.quality.pyiqa_metrics import Scorer
from srcache.study.quality.pyiqa_weights import CODE, WEIGHTS


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Eight references and pictures of growing noise, in two folders, under names whose order differs."""
    for number in range(8):
        clean = picture(32, 40, number)
        save(tmp_path / f"hr/b/{9 - number}.png", clean)
        save(tmp_path / f"sr/b/{9 - number}.{'bmp' if number % 2 else 'png'}", noisy(clean, 2 + 2 * number))
    return tmp_path / "hr", tmp_path / "sr"


@pytest.fixture(scope="session")
def _home(tmp_path_factory) -> Path:
    """Photos, a cache of `bicubic` ×2 and of two samples of `noisy`, and the first exported under its names."""
    home = tmp_path_factory.mktemp("home")
    photos = caches.make_photos(home / "photos")
    (photos / "wörter/leer.png").unlink()
    caches.build(photos, home / "cache")
    caches.build(photos, home / "cache", "noisy", samples=2)
    export(home / "cache", home / "sr", "bicubic", names=True)
    export(home / "cache", home / "noise", "noisy", names=True)
    return home


@pytest.fixture
def home(_home, tmp_path) -> Path:
    return Path(shutil.copytree(_home, tmp_path / "home"))


@pytest.fixture
def fakes(monkeypatch) -> dict[str, Scorer]:
    """Metrics by name that `measure_folders` finds instead of pyiqa's; a test puts them in."""
    scorers: dict[str, Scorer] = {}
    monkeypatch.setattr(measure, "require_metric", lambda name, **_: None)
    monkeypatch.setattr(measure, "open_scorer", lambda name, **_: scorers[name])
    return scorers


@pytest.fixture
def no_weights(tmp_path, monkeypatch) -> Path:
    """Empty cache folders of torch and of the hub, so that nothing that lies on this machine is found."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


@pytest.fixture
def known_names(monkeypatch):
    """Metrics as pyiqa's table has them, without pyiqa."""
    modes = {name: pyiqa_metrics.Mode("pair", True, {}) for name in (*WEIGHTS, *CODE, "ms_ssim", "clipscore")}
    monkeypatch.setattr(pyiqa_metrics, "known_metrics", lambda: modes)
