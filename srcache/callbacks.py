"""`set_epoch` for loops that are not written out: callbacks for PyTorch Lightning and the Hugging Face Trainer."""

from typing import Any

from srcache.dataset import SRAugmentedDataset
from srcache.errors import MissingExtraError


def lightning_callback(dataset: SRAugmentedDataset) -> Any:
    """A Lightning callback that tells a data set the epoch: `Trainer(callbacks=[lightning_callback(data)])`.

    Raises:
        MissingExtraError: neither `lightning` nor `pytorch_lightning` is installed.
    """

    def on_train_epoch_start(self: Any, trainer: Any, pl_module: Any) -> None:
        dataset.set_epoch(trainer.current_epoch)

    return type("SRCacheEpoch", (_lightning(),), {"on_train_epoch_start": on_train_epoch_start})()


def trainer_callback(dataset: SRAugmentedDataset) -> Any:
    """A transformers callback that tells a data set the epoch: `Trainer(callbacks=[trainer_callback(data)])`.

    Raises:
        MissingExtraError: `transformers` is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise MissingExtraError("transformers", "dev", "a callback for the Hugging Face Trainer") from error

    def on_epoch_begin(self: Any, args: Any, state: Any, control: Any, **rest: Any) -> None:
        dataset.set_epoch(int(state.epoch or 0))

    return type("SRCacheEpoch", (TrainerCallback,), {"on_epoch_begin": on_epoch_begin})()


def _lightning() -> Any:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise MissingExtraError("pytorch-lightning", "dev", "a callback for Lightning") from error
    return Callback
