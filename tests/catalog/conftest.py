"""What tests of catalogs share: a home of their own, images in memory, and a Hugging Face data set of the photos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srcache.catalog.scanning import scan
from srcache.images import Pixels


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def pixels(make_image: Callable[..., Pixels]) -> list[Pixels]:
    return [make_image(12, 16, seed) for seed in range(4)]


@pytest.fixture
def hf(photos: Path) -> Any:
    import datasets

    files = [str(row.path) for row in scan(photos).rows]
    features = {"id": datasets.Value("int32"), "image": datasets.Image()}
    features["label"] = datasets.ClassLabel(names=["bark", "gravel", "moss"])
    rows = {"id": list(range(12)), "image": files, "label": [n // 4 for n in range(12)]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))
