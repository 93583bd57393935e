"""PyTorch Lightning: a callback that gives a data set the number of the epoch."""

from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import needs_extra


def lightning_callback(dataset: SRAugmentedDataset) -> Any:
    """A Lightning callback that sets a data set's epoch: `Trainer(callbacks=[lightning_callback(data)])`.

    It is set before the loader's workers start on an epoch, also in a run that resumes in the middle of one. Lightning
    starts the workers of a run's first epoch before any hook of that epoch, and those of later ones before
    `on_train_epoch_start` if it reloads loaders; hence the hooks around them.

    Raises:
        MissingExtraError: neither `lightning` nor `pytorch_lightning` is installed.
    """
    with needs_extra("pytorch-lightning", None, "a callback for Lightning"):
        try:
            from lightning.pytorch import Callback
        except ImportError:
            from pytorch_lightning import Callback

    class SRCacheEpoch(Callback):  # type: ignore[misc]
        """Made here because its parent is an optional package's; pickled, as spawned processes need, as this call."""

        def __reduce__(self) -> tuple[Any, ...]:
            return lightning_callback, (dataset,)

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if stage == "fit":
                dataset.set_epoch(trainer.current_epoch)

        def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
            dataset.set_epoch(_epoch_to_resume(checkpoint))

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            dataset.set_epoch(trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            dataset.set_epoch(trainer.current_epoch + 1)

    return SRCacheEpoch()


def _epoch_to_resume(checkpoint: dict[str, Any]) -> int:
    """The epoch that a run goes on with. One that was saved after its last batch, but before its end, is over too."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = loop.get("epoch_progress", {}).get("current", {})
    over = int(epochs.get("processed", checkpoint.get("epoch", 0)))
    in_the_middle = epochs.get("started", 0) > over
    return over + int(in_the_middle and bool(loop.get("epoch_loop.batch_progress", {}).get("is_last_batch")))
