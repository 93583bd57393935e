"""Hugging Face's Trainer: a callback that gives a data set the number of the epoch."""

from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import needs_extra


def trainer_callback(dataset: SRAugmentedDataset) -> Any:
    """A transformers callback that sets a data set's epoch: `Trainer(callbacks=[trainer_callback(data)])`.

    It is set before the loader's workers start on an epoch, also in a run that resumes in the middle of one. Epochs are
    counted from where the run starts or resumes: the Trainer's own number is a fraction that, with gradient
    accumulation, need not reach an integer at an epoch's end.

    Raises:
        MissingExtraError: `transformers` is not installed.
    """
    with needs_extra("transformers", None, "a callback for the Hugging Face Trainer"):
        from transformers import TrainerCallback

    class SRCacheEpoch(TrainerCallback):  # type: ignore[misc]
        """Made here because its parent is an optional package's; pickled, as spawned processes need, as this call."""

        def __reduce__(self) -> tuple[Any, ...]:
            return trainer_callback, (dataset,)

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.epoch = int(state.epoch or 0)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            dataset.set_epoch(self.epoch)
            self.epoch += 1

    return SRCacheEpoch()
