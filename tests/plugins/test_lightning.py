"""Real trainers tell the data set the epoch, before their workers start on it, also when a run resumes."""

import builtins
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from srcache_plugins.huggingface import trainer_callback
from srcache_plugins.lightning import lightning_callback
from torch.utils.data import DataLoader

from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import MissingExtraError
from srcache.fill.run import fill
from srcache.images import Pixels
from srcache.recipe.reading import resolve

RECIPE = resolve(
    {"name": "r", "engine": "resample", "scale": 4, "degradation": "box/2", "options": {"filter": "nearest"}}
)
KINDS = {8: "lr", 16: "hr", 32: "sr"}
"""What the side of an image says about the variant."""

STAGES = "0: lr; 1: sr; 2: hr; 3: lr"


def picture(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@pytest.fixture
def folder(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    for index in range(8):
        home = tmp_path / "images" / "ab"[index % 2]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(16, 16, index)).save(home / f"{index}.png")
    fill(scan(tmp_path / "images"), RECIPE, tmp_path / "cache")
    return tmp_path / "images"


def opened(folder: Path) -> SRAugmentedDataset:
    """Afresh, as in a new process. The stage of the policy shows in the size of the image."""
    return SRAugmentedDataset(folder, folder.parent / "cache", policy=STAGES, transform=picture)


# --- Lightning ---


@pytest.fixture
def lightning() -> Iterator[Any]:
    """PyTorch Lightning, whose own advice and deprecations are not what is tested here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_utilities|torchmetrics|torch")
        pl = pytest.importorskip("pytorch_lightning")
        for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=pl.utilities.warnings.PossibleUserWarning)
        yield pl


class Seen:
    """Which variants a loop got, epoch by epoch: a set of kinds and the number of batches."""

    def __init__(self) -> None:
        self.epochs: dict[int, tuple[set[str], int]] = {}

    def note(self, epoch: int, images: torch.Tensor) -> None:
        kinds, batches = self.epochs.get(epoch, (set(), 0))
        self.epochs[epoch] = kinds | {KINDS[images.shape[-1]]}, batches + 1


def lightning_run(
    pl: Any, folder: Path, epochs: int, *, workers: int = 0, ckpt: Path | None = None, **given: Any
) -> Any:
    """A Trainer that was run, and what it saw."""
    data, seen = opened(folder), Seen()

    class Tiny(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            seen.note(self.current_epoch, batch[0])
            return torch.nn.functional.cross_entropy(self.layer(batch[0].mean((2, 3))), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    every = pl.callbacks.ModelCheckpoint(
        folder.parent / "saved", save_top_k=-1, filename="{step}", every_n_train_steps=1
    )
    last = pl.callbacks.ModelCheckpoint(folder.parent / "saved", filename="last", save_on_train_epoch_end=True)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder.parent,
        callbacks=[lightning_callback(data), every, last],
        **given,
    )
    fork = {"multiprocessing_context": "fork", "prefetch_factor": 1} if workers else {}
    trainer.fit(Tiny(), DataLoader(data, batch_size=2, num_workers=workers, **fork), ckpt_path=ckpt)
    return seen.epochs


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("reload", [0, 1])
def test_lightning_tells_every_epoch(lightning: Any, folder: Path, workers: int, reload: int) -> None:
    seen = lightning_run(lightning, folder, 3, workers=workers, reload_dataloaders_every_n_epochs=reload)
    assert seen == {0: ({"lr"}, 4), 1: ({"sr"}, 4), 2: ({"hr"}, 4)}


@pytest.mark.parametrize(
    "saved", ["step=6", "step=8", "last"], ids=["in the middle", "after the last batch", "at the end"]
)
def test_lightning_resumes_with_the_epoch_it_left(lightning: Any, folder: Path, saved: str) -> None:
    lightning_run(lightning, folder, 2)
    seen = lightning_run(lightning, folder, 3, workers=2, ckpt=folder.parent / "saved" / f"{saved}.ckpt")
    assert seen.pop(2) == ({"hr"}, 4)
    assert {epoch: kinds for epoch, (kinds, _) in seen.items()} == ({1: {"sr"}} if saved == "step=6" else {})


def test_a_second_fit_starts_where_its_trainer_stands(lightning: Any, folder: Path) -> None:
    data = opened(folder)
    data.set_epoch(3)
    told = lightning_callback(data)
    told.setup(type("Trainer", (), {"current_epoch": 0})(), None, "validate")
    assert data.epoch == 3
    told.setup(type("Trainer", (), {"current_epoch": 0})(), None, "fit")
    assert data.epoch == 0


def test_callbacks_can_be_sent_to_other_processes(lightning: Any, folder: Path) -> None:
    twin = pickle.loads(pickle.dumps(lightning_callback(opened(folder))))
    assert isinstance(twin, lightning.Callback)
    assert twin.on_train_start(type("Trainer", (), {"current_epoch": 2})(), None) is None


# --- the Hugging Face Trainer ---


@pytest.fixture
def transformers() -> Iterator[Any]:
    """transformers, whose deprecations are not what is tested here."""
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="transformers|accelerate|torch|huggingface_hub")
        found = pytest.importorskip("transformers")
        found.utils.logging.set_verbosity_error()
        found.utils.logging.disable_progress_bar()
        yield found


def collated(items: list[Any]) -> dict[str, torch.Tensor]:
    return {"images": torch.stack([image for image, _ in items]), "labels": torch.tensor([label for _, label in items])}


def trainer_run(
    tf: Any, folder: Path, epochs: int, *, workers: int = 0, resume: str | None = None, **given: Any
) -> Any:
    """What a Trainer saw; the epoch is told by its state."""
    data, seen = opened(folder), Seen()

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.batches = 0

        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.note(int(trainer.state.epoch), images)
            scores = self.layer(images.mean((2, 3)))
            return {"loss": torch.nn.functional.cross_entropy(scores, labels), "logits": scores}

    settings = tf.TrainingArguments(
        output_dir=str(folder.parent / "out"),
        num_train_epochs=epochs,
        per_device_train_batch_size=2,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=False,
        use_cpu=True,
        report_to=[],
        save_strategy="steps",
        save_steps=1,
        disable_tqdm=True,
        logging_strategy="no",
        **given,
    )
    trainer = tf.Trainer(
        model=Tiny(),
        args=settings,
        train_dataset=data,
        data_collator=collated,
        callbacks=[trainer_callback(data)],
    )
    trainer.remove_callback(tf.trainer_callback.PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return seen.epochs


@pytest.mark.parametrize("workers", [0, 2])
def test_the_trainer_tells_every_epoch(transformers: Any, folder: Path, workers: int) -> None:
    assert trainer_run(transformers, folder, 2, workers=workers) == {0: ({"lr"}, 4), 1: ({"sr"}, 4)}


@pytest.mark.parametrize(("step", "expected"), [(6, {1: {"sr"}, 2: {"hr"}}), (8, {2: {"hr"}})])
def test_the_trainer_resumes_with_the_epoch_it_left(
    transformers: Any, folder: Path, step: int, expected: dict[int, set[str]]
) -> None:
    trainer_run(transformers, folder, 2)
    seen = trainer_run(transformers, folder, 3, workers=2, resume=str(folder.parent / "out" / f"checkpoint-{step}"))
    assert {epoch: kinds for epoch, (kinds, _) in seen.items()} == expected


def test_epochs_are_counted_where_the_trainers_fraction_does_not_reach_one(transformers: Any, folder: Path) -> None:
    data = opened(folder)
    told = trainer_callback(data)
    state = transformers.TrainerState(epoch=1.75)
    told.on_train_begin(None, state, None)
    epochs = []
    for fraction in (1.75, 1.8, 2.8):
        state.epoch = fraction
        told.on_epoch_begin(None, state, None)
        epochs.append(data.epoch)
    assert epochs == [1, 2, 3]


# --- without them ---


@pytest.mark.parametrize(
    ("make", "words"),
    [(lightning_callback, "needs pytorch-lightning"), (trainer_callback, "needs transformers")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any], words: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] in {"lightning", "pytorch_lightning", "transformers"}:
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"{words}.*pip install"):
        make(None)
