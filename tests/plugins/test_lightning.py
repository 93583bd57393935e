"""A real Lightning Trainer: the data set has the epoch before its workers start on it, also when a run resumes."""

import logging
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from epoch_variants import STAGES, SeenVariants, open_staged, to_tensor
from srcache_plugins.lightning import lightning_callback, lightning_data
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from srcache.errors import CatalogError, ConfigError, MissingExtraError
from srcache.loader import SRLoader

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


def tiny(pl: Any, seen: SeenVariants, checked: SeenVariants | None = None) -> Any:
    """A model of one layer, which notes what it is trained with, and what it is validated and tested with."""

    class Tiny(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            seen.note(self.current_epoch, batch[0])
            return torch.nn.functional.cross_entropy(self.layer(batch[0].mean((2, 3))), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            checked.note(-1 if self.trainer.sanity_checking else self.current_epoch, batch[0])

        def test_step(self, batch: Any, index: int) -> None:
            checked.note(-2, batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Tiny()


def make_trainer(pl: Any, home: Path, epochs: int, callbacks: list[Any], **given: Any) -> Any:
    """A Trainer on the processor that saves after every step and at every epoch's end."""
    every = pl.callbacks.ModelCheckpoint(home / "saved", save_top_k=-1, filename="{step}", every_n_train_steps=1)
    last = pl.callbacks.ModelCheckpoint(home / "saved", filename="last", save_on_train_epoch_end=True)
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=home,
        callbacks=[*callbacks, every, last],
        **given,
    )


def lightning_run(
    pl: Any, folder: Path, epochs: int, *, workers: int = 0, ckpt: Path | None = None, **given: Any
) -> Any:
    """What a run saw whose data set has the callback."""
    data, seen = open_staged(folder), SeenVariants()
    trainer = make_trainer(pl, folder.parent, epochs, [lightning_callback(data)], **given)
    fork = {"multiprocessing_context": "fork", "prefetch_factor": 1} if workers else {}
    trainer.fit(tiny(pl, seen), DataLoader(data, batch_size=2, num_workers=workers, **fork), ckpt_path=ckpt)
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


def test_the_callback_may_come_before_the_data_set(lightning: Any, folder: Path) -> None:
    class Module(lightning.LightningDataModule):
        def setup(self, stage: str) -> None:
            self.train_set = open_staged(folder)

        def train_dataloader(self) -> Any:
            return DataLoader(self.train_set, batch_size=2)

    module, seen = Module(), SeenVariants()
    trainer = make_trainer(lightning, folder.parent, 3, [lightning_callback(lambda: module.train_set)])
    trainer.fit(tiny(lightning, seen), module)
    assert seen.epochs == {0: ({"lr"}, 4), 1: ({"sr"}, 4), 2: ({"hr"}, 4)}
    with pytest.raises(ConfigError, match="takes a data set, or a function that returns one, but got 3"):
        lightning_callback(lambda: 3).on_train_start(type("Trainer", (), {"current_epoch": 2})(), None)


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


# --- the DataModule ---


def staged(folder: Path) -> dict[str, Any]:
    """The arguments of a data set whose variant follows the epoch."""
    return {"cache": folder.parent / "cache", "policy": STAGES, "transform": to_tensor}


def module_of(folder: Path, **given: Any) -> Any:
    return lightning_data(folder, folder, folder, **{"serve": staged(folder), "batch_size": 2, **given})


@pytest.mark.parametrize("reload", [0, 1])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_module_sets_every_epoch_and_keeps_validation_and_test(
    lightning: Any, folder: Path, workers: int, reload: int
) -> None:
    seen, checked = SeenVariants(), SeenVariants()
    fork = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    module = module_of(folder, num_workers=workers, **fork)
    trainer = make_trainer(lightning, folder.parent, 3, [], reload_dataloaders_every_n_epochs=reload)
    model = tiny(lightning, seen, checked)
    trainer.fit(model, module)
    assert seen.epochs == {0: ({"lr"}, 4), 1: ({"sr"}, 4), 2: ({"hr"}, 4)}
    assert checked.epochs == {-1: ({"sr"}, 2), **{epoch: ({"sr"}, 4) for epoch in range(3)}}
    trainer.test(model, datamodule=module)
    assert checked.epochs[-2] == ({"sr"}, 4)
    trainer.validate(model, datamodule=module)
    assert sum(type(callback).__name__ == "SRCacheEpoch" for callback in trainer.callbacks) == 1


@pytest.mark.parametrize(("saved", "left"), [("step=6", {1: ({"sr"}, 2), 2: ({"hr"}, 4)}), ("last", {2: ({"hr"}, 4)})])
def test_a_data_module_resumes_with_the_epoch_it_left(
    lightning: Any, folder: Path, saved: str, left: dict[int, Any]
) -> None:
    for epochs in (2, 3):
        seen = SeenVariants()
        file = folder.parent / "saved" / f"{saved}.ckpt" if epochs == 3 else None
        trainer = make_trainer(lightning, folder.parent, epochs, [])
        module = lightning_data(folder, serve=staged(folder), batch_size=2)
        trainer.fit(tiny(lightning, seen), datamodule=module, ckpt_path=file)
    assert seen.epochs == left


def test_validation_is_served_as_it_says_and_the_same_in_every_epoch(lightning: Any, folder: Path) -> None:
    module = module_of(folder, evaluate={"policy": "lr=0.5,hr=0.5"})
    data = module.sets["val"]
    data.set_epoch(7)
    before = [data.variant(index) for index in range(8)]
    trainer = make_trainer(lightning, folder.parent, 3, [])
    assert {variant.kind for variant in before} == {"lr", "hr"}
    module = lightning_data(folder, data, serve=staged(folder), batch_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 24 images in one epoch, as the data set's own counter warns of
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
        trainer.fit(tiny(lightning, SeenVariants(), SeenVariants()), module)
    assert [data.variant(index) for index in range(8)] == before


def test_training_is_shuffled_and_what_is_measured_is_whole_and_in_order(lightning: Any, folder: Path) -> None:
    module = module_of(folder, batch_size=3, drop_last=True, generator=torch.Generator().manual_seed(0))
    orders = [[label for _, labels in module.train_dataloader() for label in labels.tolist()] for _ in range(2)]
    assert [len(order) for order in orders] == [6, 6]
    labels = [labels.tolist() for _, labels in module.val_dataloader()]
    assert labels == [[0, 0, 0], [0, 1, 1], [1, 1]]
    order = module_of(folder, shuffle=False).train_dataloader()
    assert [label for _, labels in order for label in labels.tolist()] == [0] * 4 + [1] * 4
    chosen = module_of(folder, sampler=[7, 0]).train_dataloader()
    assert [labels.tolist() for _, labels in chosen] == [[1, 0]]


@pytest.mark.parametrize("threads", [0, 2])
def test_the_loader_may_be_srloader(lightning: Any, folder: Path, threads: int) -> None:
    seen, checked = SeenVariants(), SeenVariants()
    to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    module = module_of(folder, serve={**staged(folder), "transform": to_float}, loader=SRLoader, num_workers=threads)
    make_trainer(lightning, folder.parent, 3, []).fit(tiny(lightning, seen, checked), module)
    assert seen.epochs == {0: ({"lr"}, 4), 1: ({"sr"}, 4), 2: ({"hr"}, 4)}
    assert checked.epochs == {-1: ({"sr"}, 2), **{epoch: ({"sr"}, 4) for epoch in range(3)}}
    assert type(module.train_dataloader()) is SRLoader
    with pytest.raises(ConfigError, match=r"SRLoader cannot be called with .*'persistent_workers'"):
        module_of(folder, loader=SRLoader, persistent_workers=True)


def test_a_set_that_was_not_given_is_not_asked_for(lightning: Any, folder: Path) -> None:
    module = lightning_data(test=folder, serve=staged(folder), batch_size=2)
    checked = SeenVariants()
    make_trainer(lightning, folder.parent, 1, []).test(tiny(lightning, checked, checked), datamodule=module)
    assert checked.epochs == {-2: ({"sr"}, 4)}
    with pytest.raises(lightning.utilities.exceptions.MisconfigurationException, match="train_dataloader"):
        make_trainer(lightning, folder.parent, 1, []).fit(tiny(lightning, checked), datamodule=module)


def test_a_data_module_can_be_sent_to_other_processes(lightning: Any, folder: Path) -> None:
    twin = pickle.loads(pickle.dumps(module_of(folder)))
    assert isinstance(twin, lightning.LightningDataModule)
    assert len(list(twin.test_dataloader())) == 4


def test_mistakes_are_said_before_the_training_starts(lightning: Any, folder: Path) -> None:
    data = open_staged(folder)
    with pytest.raises(CatalogError, match="give train=, val= or test="):
        lightning_data()
    with pytest.raises(CatalogError, match="open another one"):
        lightning_data(data, data)
    with pytest.raises(ConfigError, match=r"SRAugmentedDataset cannot be called with polcy: .*'cache'"):
        lightning_data(folder, serve={"polcy": "lr"})
    with pytest.raises(ConfigError, match=r"DataLoader cannot be called with shuffle, batch_sise: .*'batch_sise'"):
        lightning_data(data, batch_sise=2)
    with pytest.raises(ConfigError, match="evaluate= is for data sets that are made here"):
        lightning_data(folder, serve=staged(folder), evaluate={"policy": "lr"})
    with pytest.raises(ConfigError, match="serve= is for data sets that are made here"):
        lightning_data(data, serve=staged(folder))
    with pytest.raises(ConfigError, match="cannot share batch_sampler"):
        lightning_data(data, batch_sampler=[[0]])


def test_what_is_made_belongs_to_the_package_that_is_imported(
    lightning: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        pass

    new = ModuleType("lightning.pytorch")
    new.Callback = new.LightningDataModule = Other  # type: ignore[attr-defined]
    home = ModuleType("lightning")
    home.pytorch = new  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", home)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", new)
    assert isinstance(lightning_callback(open_staged(folder)), Other)
    monkeypatch.delitem(sys.modules, "lightning.pytorch")
    assert isinstance(lightning_callback(open_staged(folder)), lightning.Callback)
