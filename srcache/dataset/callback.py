"""`set_epoch` for loops that are not written out: callbacks for PyTorch Lightning and the Hugging Face Trainer.

Both tell the epoch before the loader's workers start on it, also in a run that resumes in the middle of one.
"""

from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset


def _made(parent: Any, hooks: dict[str, Any], maker: Any, dataset: SRAugmentedDataset) -> Any:
    """An instance of a class of its own, which can be pickled (as launchers that spawn processes do)."""

    def reduced(self: Any) -> tuple[Any, tuple[SRAugmentedDataset]]:
        return maker, (dataset,)

    return type("SRCacheEpoch", (parent,), {**hooks, "__reduce__": reduced})()
