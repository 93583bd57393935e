"""The page's blocks on other people's loops run as they stand, each in a folder with photos and a cache, offline."""

import re
import tarfile
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import paths
import pytest
import torch
from PIL import Image
from srcache_cli.main import run

pytestmark = pytest.mark.medium

PAGE = (paths.ROOT / "plugins/README.md").read_text(encoding="utf-8")
LOOPS = PAGE[PAGE.index("## One line in your loop") :]
BLOCKS = {
    title: block
    for title, block in re.findall(r"^\*\*(.+?)\*\*: .*?```python\n(.*?)```", LOOPS, re.DOTALL | re.MULTILINE)
}


@pytest.fixture(autouse=True)
def home(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the blocks run: a folder with `photos` and a `cache` built of it."""
    monkeypatch.chdir(photos.parent)
    assert run(["build", "photos", "--cache", "cache", "--recipe", "bicubic"]) == 0
    return photos.parent


def transform(image: Image.Image) -> torch.Tensor:
    """A Pillow image → float tensor (3, 16, 16) in [0, 1]."""
    return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1).float() / 255


def executed(title: str, package: str, **scope: Any) -> dict[str, Any]:
    """The names that a block leaves behind. A framework's own advice is not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(package)
        exec(compile(BLOCKS[title], "plugins/README.md", "exec"), scope)
    return scope


def test_every_framework_has_a_block_with_one_new_line() -> None:
    titles = [
        "PyTorch Lightning",
        "timm",
        "Hugging Face Trainer",
        "Hugging Face datasets",
        "webdataset",
        "Any other loop",
    ]
    assert list(BLOCKS) == titles
    assert [block.count("# the new line") for block in BLOCKS.values()] == [1] * len(titles)
    assert LOOPS.count("```python") == len(titles)


def linear(pl: Any) -> Any:
    class Linear(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.layer(batch[0].mean((2, 3))), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            assert batch[0].shape[1:] == (3, 16, 16)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Linear()


def test_lightning(home: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl = pytest.importorskip("pytorch_lightning")
    sets = executed("PyTorch Lightning", "pytorch_lightning", model=linear(pl), transform=transform)["module"].sets
    counts = sets["train"].counts
    assert counts["lr"] + counts["sr"] == 2 * 12
    assert min(counts["lr"], counts["sr"]) > 0
    assert sets["val"].counts["sr"] >= 2 * 12
    assert sets["val"].counts["lr"] == 0


def test_timm(home: Path) -> None:
    scope = executed("timm", "timm")
    counts = scope["data"].counts
    assert counts["lr"] + counts["sr"] == 2 * 12
    assert scope["images"].shape == (4, 3, 64, 64)


def test_the_hugging_face_trainer(home: Path) -> None:
    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            scores = self.layer(pixel_values.mean((2, 3)))
            return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

    def arguments(transformers: Any) -> Any:
        return transformers.TrainingArguments(
            output_dir=str(home / "out"), num_train_epochs=2, use_cpu=True, report_to=[], save_strategy="no"
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = arguments(pytest.importorskip("transformers"))
    data = executed("Hugging Face Trainer", "transformers", model=Linear(), arguments=given, transform=transform)[
        "data"
    ]
    assert data.epoch == 1
    assert data.counts["lr"] + data.counts["sr"] == 2 * 12


def test_hugging_face_datasets(home: Path) -> None:
    scope = executed("Hugging Face datasets", "datasets", transform=transform)
    counts = scope["served"].counts
    assert counts["lr"] + counts["sr"] == 2 * 12
    assert min(counts["lr"], counts["sr"]) > 0
    assert scope["row"]["image"].shape == (3, 16, 16)
    assert sorted({row["label"] for row in scope["dataset"]}) == [0, 1, 2]


def test_webdataset(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(home / "photos.tar", "w") as tar:
        for path in sorted((home / "photos").rglob("*.*")):
            label = str(["bark", "gravel", "moss"].index(path.parent.name)).encode()
            for suffix, data in {path.suffix: path.read_bytes(), ".cls": label}.items():
                member = tarfile.TarInfo(f"{path.stem}{suffix}")
                member.size = len(data)
                tar.addfile(member, BytesIO(data))
    scope = executed("webdataset", "webdataset")
    assert scope["stage"].counts["sr"] == 12
    assert scope["image"].size in {(128, 96), (96, 128), (128, 128)}
    assert "'sr': 12" in capsys.readouterr().out


def test_any_other_loop(home: Path) -> None:
    scope = executed("Any other loop", "torchvision", transform=transform)
    counts = scope["augment"].counts
    assert counts["lr"] + counts["sr"] == 2 * 12
    assert min(counts["lr"], counts["sr"]) > 0
    assert scope["images"].shape == (4, 3, 16, 16)


@pytest.mark.parametrize("name", ["lightning_callback", "SRReader", "to_hf", "from_hf"])
def test_what_the_page_names_without_a_block_is_there(name: str) -> None:
    from srcache_plugins import hf_datasets, lightning, timm

    found: list[Callable[..., Any]] = [
        getattr(home, name) for home in (lightning, timm, hf_datasets) if hasattr(home, name)
    ]
    assert f"{name}(" in LOOPS or f"`{name}`" in LOOPS
    assert len(found) == 1
