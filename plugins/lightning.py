"""PyTorch Lightning: a callback that gives a data set the number of the epoch, and a DataModule that does so by itself.

Lightning is either the package `lightning` or `pytorch_lightning`; what is made here belongs to the one that the
program has imported already.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, ConfigError, needs_extra

_EVALUATE = {"policy": "sr#0"}
"""How validation and test are served unless they say otherwise: by the one SR image that every cache has."""

_TRAINING = ("shuffle", "sampler", "drop_last", "generator")
"""Arguments of loaders that are for the training set alone."""


def lightning_callback(dataset: SRAugmentedDataset | Callable[[], SRAugmentedDataset]) -> Any:
    """A Lightning callback that sets a data set's epoch: `Trainer(callbacks=[lightning_callback(data)])`.

    It is set before the loader's workers start on an epoch, also in a run that resumes in the middle of one. Lightning
    starts the workers of a run's first epoch before any hook of that epoch, and those of later ones before
    `on_train_epoch_start` if it reloads loaders; hence the hooks around them.

    Args:
        dataset: the data set; or a function that returns it, for one that a DataModule of your own makes in its `setup`
            (which is called first): `lightning_callback(lambda: module.train_set)`.

    Raises:
        MissingExtraError: neither `lightning` nor `pytorch_lightning` is installed.
    """
    return _callback([dataset], [])


def _callback(rising: Sequence[Any], constant: Sequence[Any]) -> Any:
    """A callback for data sets that follow the epoch, and for those that are served again as they were before."""
    parent = _lightning("a callback for Lightning").Callback

    class SRCacheEpoch(parent):  # type: ignore[misc, valid-type]
        """Made here because its parent is an optional package's; pickled, as spawned processes need, as this call."""

        def __reduce__(self) -> tuple[Any, ...]:
            return _callback, (rising, constant)

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if stage == "fit":
                _set_epoch(rising, trainer.current_epoch)

        def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
            _set_epoch(rising, _epoch_to_resume(checkpoint))

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            _set_epoch(rising, trainer.current_epoch)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            _set_epoch(rising, trainer.current_epoch + 1)

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            _set_epoch(constant, None)

        def on_test_start(self, trainer: Any, pl_module: Any) -> None:
            _set_epoch(constant, None)

    return SRCacheEpoch()


def _set_epoch(sets: Sequence[Any], epoch: int | None) -> None:
    """Set the epoch of data sets; None begins the one that they have once more."""
    for one in sets:
        data = one if hasattr(one, "set_epoch") else one()
        if not hasattr(data, "set_epoch"):
            raise ConfigError(f"lightning_callback takes a data set, or a function that returns one, but got {data!r}")
        data.set_epoch(data.epoch if epoch is None else epoch)


def lightning_data(
    train: Any = None,
    val: Any = None,
    test: Any = None,
    *,
    serve: Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
    loader: Callable[..., Any] | None = None,
    **loading: Any,
) -> Any:
    """A LightningDataModule of training, validation and test images: `trainer.fit(model, lightning_data("photos", …))`.

    The training set is shuffled, and its epoch is set by itself, as by `lightning_callback`. Validation and test are
    not shuffled and keep the epoch they have, so they are the same in every epoch.

        serve = {"cache": "cache", "policy": "lr=0.5,sr=0.5", "transform": transform}
        module = lightning_data("photos/train", "photos/val", serve=serve, batch_size=32, num_workers=2)

    Args:
        train, val, test: each an SRAugmentedDataset, or a base that one is made of (a folder, a CSV file, a Catalog, a
            map-style data set); None for none.
        serve: the arguments of SRAugmentedDataset for bases: `cache`, `recipe`, `policy`, `size`, `transform`, ….
        evaluate: what is different for validation and test; without a policy there, they are served as sr#0.
        loader: the class of the loaders, called as torch's DataLoader is; None for that one.
        loading: its other arguments, such as `batch_size` and `num_workers`; `shuffle`, `sampler`, `drop_last` and
            `generator` are for the training set alone.

    Raises:
        ConfigError: the data sets cannot be opened, or the arguments are not those of the data set or the loader.
        MissingExtraError: neither `lightning` nor `pytorch_lightning` is installed.
    """
    lightning = _lightning("a DataModule for Lightning")
    if loader is None:
        from torch.utils.data import DataLoader

        loader = DataLoader
    _refuse_loading(loading)
    _require_bases((train, val, test), serve, "serve")
    _require_bases((val, test), evaluate, "evaluate")
    changed = {**(serve or {}), **_EVALUATE, **(evaluate or {})}
    sets = {"train": _opened(train, serve or {}), "val": _opened(val, changed), "test": _opened(test, changed)}
    sets = {name: data for name, data in sets.items() if data is not None}
    if not sets:
        raise CatalogError("expected images for training, validation or test, but got none; give train=, val= or test=")
    if any(sets[name] is sets.get("train") for name in sets if name != "train"):
        raise CatalogError(
            "one data set was given for training and for validation or test, which would then change with the epoch; "
            "open another one for them"
        )
    makers = {name: _loader_of(data, loader, loading, name == "train") for name, data in sets.items()}
    return _data_module(lightning, sets, makers)


def _data_module(lightning: Any, sets: Mapping[str, Any], makers: Mapping[str, Any]) -> Any:
    """The DataModule of data sets that are open."""

    class SRData(lightning.LightningDataModule):  # type: ignore[misc]
        """Made here because its parent is an optional package's. A set that was not given has no method either."""

        def __init__(self) -> None:
            super().__init__()
            self.sets = sets
            rising = [data for name, data in sets.items() if name == "train"]
            self._callback = _callback(rising, [data for name, data in sets.items() if name != "train"])
            for name, maker in makers.items():
                setattr(self, f"{name}_dataloader", maker)

        def __reduce__(self) -> tuple[Any, ...]:
            return _data_module_again, (sets, makers), {"trainer": self.trainer}

        def setup(self, stage: str) -> None:
            """Join the trainer's callbacks, which are called next."""
            if self._callback not in self.trainer.callbacks:
                self.trainer.callbacks.insert(0, self._callback)

    return SRData()


def _data_module_again(sets: Mapping[str, Any], makers: Mapping[str, Any]) -> Any:
    """The same DataModule in another process."""
    return _data_module(_lightning("a DataModule for Lightning"), sets, makers)


def _opened(base: Any, arguments: Mapping[str, Any]) -> Any:
    """A data set that is open already, or one of a base; None for none."""
    if base is None or isinstance(base, SRAugmentedDataset):
        return base
    _require_call(SRAugmentedDataset, (base,), arguments)
    return SRAugmentedDataset(base, **arguments)


def _require_bases(bases: Sequence[Any], arguments: Any, name: str) -> None:
    """Refuse arguments that no data set would be made with."""
    if arguments and all(base is None or isinstance(base, SRAugmentedDataset) for base in bases):
        raise ConfigError(f"{name}= is for data sets that are made here, but there is none; give it to yours instead")


def _refuse_loading(loading: Mapping[str, Any]) -> None:
    if taken := [name for name in ("dataset", "batch_sampler") if name in loading]:
        raise ConfigError(
            f"the loaders of three data sets cannot share {', '.join(taken)}; give batch_size and sampler (of the "
            "training set), or make the loaders yourself, with `lightning_callback`"
        )


def _loader_of(data: Any, loader: Callable[..., Any], loading: Mapping[str, Any], training: bool) -> Any:
    """What makes a data set's loader when Lightning asks for it; a partial, in which Lightning sees a function."""
    own = {name: value for name, value in loading.items() if training or name not in _TRAINING}
    if training and "sampler" not in own:
        own = {"shuffle": True, **own}
    _require_call(loader, (data,), own)
    return partial(_made_loader, loader, data, own)


def _made_loader(loader: Callable[..., Any], data: Any, own: Mapping[str, Any]) -> Any:
    return loader(data, **own)


def _require_call(what: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuse arguments that a function or class does not take, before it is called.

    Raises:
        ConfigError: which.
    """
    try:
        inspect.signature(what).bind(*given, **named)
    except TypeError as error:
        title = getattr(what, "__name__", repr(what))
        raise ConfigError(f"{title} cannot be called with {', '.join(named) or 'nothing'}: {error}") from error


def _lightning(purpose: str) -> Any:
    """The package to inherit from: the one that is imported already, else the one that is installed.

    Raises:
        MissingExtraError: there is none.
    """
    with needs_extra("pytorch-lightning", None, purpose):
        if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
            import pytorch_lightning

            return pytorch_lightning
        try:
            import lightning.pytorch
        except ImportError:
            import pytorch_lightning

            return pytorch_lightning
        return lightning.pytorch


def _epoch_to_resume(checkpoint: dict[str, Any]) -> int:
    """The epoch that a run goes on with. One that was saved after its last batch, but before its end, is over too."""
    loop = checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = loop.get("epoch_progress", {}).get("current", {})
    over = int(epochs.get("processed", checkpoint.get("epoch", 0)))
    in_the_middle = epochs.get("started", 0) > over
    return over + int(in_the_middle and bool(loop.get("epoch_loop.batch_progress", {}).get("is_last_batch")))
