"""`set_epoch` for loops that are not written out: callbacks for PyTorch Lightning and the Hugging Face Trainer.

Both tell the epoch before the loader's workers start on it, also in a run that resumes in the middle of one.
"""

from typing import Any

from srcache.dataset import SRAugmentedDataset
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


def trainer_callback(dataset: SRAugmentedDataset) -> Any:
    """A transformers callback that tells a data set the epoch: `Trainer(callbacks=[trainer_callback(data)])`.

    Epochs are counted from where the run starts or resumes: the Trainer's own number is a fraction that, with gradient
    accumulation, need not reach a whole one at an epoch's end.

    Raises:
        MissingExtraError: `transformers` is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise MissingExtraError("transformers", "dev", "a callback for the Hugging Face Trainer") from error

    def on_train_begin(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.epoch = int(state.epoch or 0)

    def on_epoch_begin(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        dataset.set_epoch(self.epoch)
        self.epoch += 1

    hooks = (on_train_begin, on_epoch_begin)
    return _made(TrainerCallback, {hook.__name__: hook for hook in hooks}, trainer_callback, dataset)


def _made(parent: Any, hooks: dict[str, Any], maker: Any, dataset: SRAugmentedDataset) -> Any:
    """An instance of a class of its own, which can be pickled (as launchers that spawn processes do)."""

    def reduced(self: Any) -> tuple[Any, tuple[SRAugmentedDataset]]:
        return maker, (dataset,)

    return type("SRCacheEpoch", (parent,), {**hooks, "__reduce__": reduced})()


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
