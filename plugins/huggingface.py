"""NEW + callback: datasets in and out; set_epoch for the Trainer."""

from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.callback import _made
from srcache.errors import MissingExtraError


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
