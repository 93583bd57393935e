"""NEW + callback: LightningDataModule; set_epoch for Lightning."""

from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.callback import _made
from srcache.errors import MissingExtraError


def lightning_callback(dataset: SRAugmentedDataset) -> Any:
    """A Lightning callback that tells a data set the epoch: `Trainer(callbacks=[lightning_callback(data)])`.

    Lightning starts the workers of a run's first epoch before any hook of that epoch, and those of later ones before
    `on_train_epoch_start` if it reloads loaders; hence the hooks around them.

    Raises:
        MissingExtraError: neither `lightning` nor `pytorch_lightning` is installed.
    """

    def setup(self: Any, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            dataset.set_epoch(trainer.current_epoch)

    def on_load_checkpoint(self: Any, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        dataset.set_epoch(_resumed(checkpoint))

    def on_train_start(self: Any, trainer: Any, pl_module: Any) -> None:
        dataset.set_epoch(trainer.current_epoch)

    def on_train_epoch_end(self: Any, trainer: Any, pl_module: Any) -> None:
        dataset.set_epoch(trainer.current_epoch + 1)

    hooks = (setup, on_load_checkpoint, on_train_start, on_train_epoch_end)
    return _made(_lightning(), {hook.__name__: hook for hook in hooks}, lightning_callback, dataset)


def _resumed(checkpoint: dict[str, Any]) -> int:
    """The epoch that a run goes on with. One that was saved after its last batch, but before its end, is over too."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = loop.get("epoch_progress", {}).get("current", {})
    over = int(epochs.get("processed", checkpoint.get("epoch", 0)))
    in_the_middle = epochs.get("started", 0) > over
    return over + int(in_the_middle and bool(loop.get("epoch_loop.batch_progress", {}).get("is_last_batch")))


def _lightning() -> Any:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise MissingExtraError("pytorch-lightning", "dev", "a callback for Lightning") from error
    return Callback
