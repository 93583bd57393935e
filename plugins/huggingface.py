"""Hugging Face's Trainer: a callback that gives a data set the number of the epoch, and a collator for its items."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from srcache.errors import CatalogError, listed, needs_extra
from srcache.images import to_batch, to_pixels


def trainer_callback(dataset: Any) -> Any:
    """A transformers callback that sets a data set's epoch: `Trainer(callbacks=[trainer_callback(data)])`.

    The data set is an SRAugmentedDataset, or an `SRTransform` of `datasets`: what has a `set_epoch`.

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


def trainer_collate(processor: Any = None) -> Any:
    """A data collator for the Trainer: `Trainer(data_collator=trainer_collate(), …)` gives `pixel_values` and `labels`.

    It takes the items of an SRAugmentedDataset, (image, label), and rows with `image` (or `pixel_values`) and `label`
    (or `labels`). Tensors are stacked; Pillow images become float tensors (N, 3, H, W) in [0, 1], or go through
    `processor`, such as an AutoImageProcessor. Without labels there are no `labels`. Picklable if `processor` is.
    """
    return partial(_collated, processor)


def _collated(processor: Any, items: Sequence[Any]) -> dict[str, Any]:
    import torch

    pairs = [_pair(item) for item in items]
    images, labels = [image for image, _ in pairs], [label for _, label in pairs]
    if texts := [label for label in labels if isinstance(label, str)]:
        raise CatalogError(f"expected labels that are numbers, but they are {listed(texts)}; number the classes")
    batch = {} if None in labels else {"labels": torch.as_tensor(labels)}
    if processor is not None:
        return {"pixel_values": processor(images=images, return_tensors="pt")["pixel_values"], **batch}
    images = [to_pixels(image) if isinstance(image, Image.Image) else image for image in images]
    if len(sizes := sorted({"×".join(map(str, image.shape)) for image in images})) > 1:
        raise CatalogError(f"a batch has images of {listed(sizes)}, which do not stack; give size=, or a processor")
    whole = all(isinstance(image, np.ndarray) for image in images)
    return {"pixel_values": to_batch(images) if whole else torch.stack(images), **batch}


def _pair(item: Any) -> tuple[Any, Any]:
    """The image and the label of an item; None for no label."""
    if not isinstance(item, Mapping):
        return item[0], item[1]
    image = next((item[name] for name in ("pixel_values", "image") if name in item), None)
    if image is None:
        raise CatalogError(
            f"expected rows with image or pixel_values, but they have {listed(list(item))}; rename the column, and "
            "in a Trainer set remove_unused_columns=False"
        )
    return image, next((item[name] for name in ("labels", "label") if name in item), None)
