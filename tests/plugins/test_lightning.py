"""A real Lightning Trainer: the data set has the epoch before its workers start on it, also when a run resumes."""

import logging
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from epoch_variants import SeenVariants, open_staged
from srcache_plugins.lightning import lightning_callback
from torch.utils.data import DataLoader

from srcache.errors import MissingExtraError

pytestmark = pytest.mark.medium


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


def lightning_run(
    pl: Any, folder: Path, epochs: int, *, workers: int = 0, ckpt: Path | None = None, **given: Any
) -> Any:
    """A Trainer that was run, and what it saw."""
    data, seen = open_staged(folder), SeenVariants()

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
def test_lightning_sets_every_epoch(lightning: Any, folder: Path, workers: int, reload: int) -> None:
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
    data = open_staged(folder)
    data.set_epoch(3)
    callback = lightning_callback(data)
    callback.setup(type("Trainer", (), {"current_epoch": 0})(), None, "validate")
    assert data.epoch == 3
    callback.setup(type("Trainer", (), {"current_epoch": 0})(), None, "fit")
    assert data.epoch == 0


def test_callbacks_can_be_sent_to_other_processes(lightning: Any, folder: Path) -> None:
    twin = pickle.loads(pickle.dumps(lightning_callback(open_staged(folder))))
    assert isinstance(twin, lightning.Callback)
    assert twin.on_train_start(type("Trainer", (), {"current_epoch": 2})(), None) is None


def test_without_lightning_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    words = (
        "a callback for Lightning needs pytorch-lightning, which is not installed; run: pip install pytorch-lightning"
    )
    with pytest.raises(MissingExtraError, match=f"^{words}$"):
        lightning_callback(None)
