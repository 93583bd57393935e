"""Training a classifier on an arm: seeded, resumable at any moment, the best epoch chosen by a named validation metric.

On the CPU the same data, settings and versions give the same numbers bit for bit on one kind of processor, whether the
training ran through or was killed and resumed: all random choices (first weights, order, augmentation, dropout) are a
function of (seed, epoch, index), torch's global generator is seeded anew every epoch, and the state that an epoch
leaves is kept complete. On an accelerator torch has no such promise for every operation.

The test set never decides anything: the best epoch is chosen by the validation set, and the test set, if there is one,
is measured once, at the end. Images with equal keys in two sets are refused.

One thread is the default: sums then do not depend on the number of cores, and on a busy machine threads that wait for
each other were ten times slower.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcache.dataset.items import NO_LABEL
from srcache.errors import ConfigError, ImageError, MachineError, MissError, WeightsError
from srcache.files import lock, make_folder
from srcache.machine import device_name, resolve_device, versions
from srcache.progress import Progress, Waits, timed
from srcache.study.arms.arms import ArmDataset
from srcache.study.arms.sets import ArmSets
from srcache.study.arms.usable import require_usable
from srcache.study.train import runs
from srcache.study.train.batches import (
    Examples,
    autocast,
    autocast_dtype,
    compute_logits,
    cross_entropy,
    deterministic,
    make_loader,
    out_of_memory_errors,
    seed_from,
    worker_ends,
)
from srcache.study.train.checkpoint import (
    TrainProgress,
    best_weights,
    drop_state,
    is_finished,
    load_state,
    save_state,
    start_training,
)
from srcache.study.train.networks import build_network, uses_batch_statistics
from srcache.study.train.optimizers import make_optimizer, rate_at, set_rate
from srcache.study.train.runs import EpochLine, TrainRun, open_run
from srcache.study.train.settings import MONITORS, TrainSettings
from srcache.weights.checkpoint import adopt, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

EpochListener = Callable[[EpochLine], None]
"""Called with the line of the history that an epoch wrote."""


def train_run(
    sets: ArmSets,
    out: str | Path,
    settings: TrainSettings | None = None,
    progress: Progress | None = None,
    on_epoch: EpochListener | None = None,
    *,
    replace: bool = False,
) -> TrainRun:
    """Train into a folder; what an earlier call with the same data and settings left there is used.

    Args:
        sets: what to train on.
        out: the run's folder: new, empty, or of the same training, finished or not.
        settings: how.
        progress: called with (done, total) steps.
        on_epoch: called with each epoch's line of the history, when that is kept.
        replace: if the folder holds another training, train anew in its place.

    Raises:
        ConfigError: the folder holds something else, settings that cannot be, or a loss that is no finite number.
        ImagesError: images that cannot be used, all of them. `require_usable` finds them before an epoch is trained.
        DeviceError: no such device, or no memory left on it.
        WeightsError: weights to start from that are not of this network.
        DiskFullError: no room.
        BusyError: another process trains into the folder.
        DamagedError: what lies in the folder is not what was written.
    """
    settings, out = settings or TrainSettings(), Path(os.path.abspath(out))
    device = resolve_device(settings.device)
    autocast_dtype(device, settings.precision)
    start = _first_weights(settings)
    if any(data.left_out for data in sets.named.values()):
        require_usable(sets, settings.epochs)
    about = _about(sets, settings, start, device)
    if is_finished(out, about, replace):
        return _reuse(out)
    make_folder(out / runs.STATE)
    with lock(out / runs.STATE, "trained"):
        if is_finished(out, about, replace):
            return _reuse(out)
        start_training(out, about)
        with (
            _all_at_once(sets, settings.epochs),
            deterministic(settings.threads, device, seed_from(settings.seed, "first weights")),
        ):
            return _Training(sets, out, settings, device, about, start).run(progress, on_epoch)


def holds_training(run: Path, sets: ArmSets, settings: TrainSettings) -> bool:
    """Whether a folder holds just this training, finished.

    Raises:
        DamagedError: its record is not what was written.
    """
    about = _about(sets, settings, _first_weights(settings), resolve_device(settings.device))
    return is_finished(run, about, replace=True)


class _Training:
    """One training into a folder: its sets, its network and optimiser, and how far an earlier process has come.

    Making one seeds nothing: it is made where torch's generator has the seed of the first weights.
    """

    def __init__(
        self,
        sets: ArmSets,
        out: Path,
        settings: TrainSettings,
        device: str,
        about: Mapping[str, Any],
        start: str | None,
    ) -> None:
        import torch

        self._sets, self._out, self._settings, self._device, self._about = sets, out, settings, device, about
        self._numbers = {name: number for number, name in enumerate(sets.train.classes)}
        self._examples = self._as_examples(sets.train)
        weights = load_tensors(start) if start is not None else None
        network = build_network(settings.network, len(self._numbers), settings.input_size, weights)
        self._network = network.to(device)
        self._needs_full_batches = uses_batch_statistics(network)
        self._optimizer = make_optimizer(network, settings)
        half = autocast_dtype(device, settings.precision) is torch.float16
        self._scaler = torch.amp.GradScaler("cuda", enabled=half)
        identity = {**about, "versions": versions()}
        state = load_state(out, identity, network, self._optimizer)
        if state is not None:
            self._scaler.load_state_dict(dict(state.scaler))
        self._state = state or TrainProgress(identity=identity, scaler={})

    def run(self, progress: Progress | None, on_epoch: EpochListener | None) -> TrainRun:
        """Train the epochs that are left."""
        while not self._is_over():
            line = self._epoch(len(self._state.history), progress)
            history = (*self._state.history, line)
            self._state = TrainProgress(
                identity=self._state.identity,
                history=history,
                best_epoch=_best_epoch(history, self._settings.monitor),
                scaler=self._scaler.state_dict(),
            )
            save_state(self._out, self._network, self._optimizer, self._state)
            runs.write_history(self._out, history)
            if on_epoch is not None:
                on_epoch(line)
        return self._finish()

    def _is_over(self) -> bool:
        done, patience = len(self._state.history), self._settings.patience
        no_better = done - self._state.best_epoch
        return done >= self._settings.epochs or (patience is not None and no_better >= patience)

    def _epoch(self, number: int, progress: Progress | None) -> EpochLine:
        import torch

        started = time.perf_counter()
        torch.manual_seed(seed_from(self._settings.seed, "epoch", number))
        with timed(f"epoch {number + 1}, learning"):
            loss, accuracy = self._learn(number, progress)
        with timed(f"epoch {number + 1}, validation"):
            found = self._measure(self._sets.validation, "val")
        if not math.isfinite(found["val_loss"]):
            raise self._not_finite("validation loss", number)
        return EpochLine(
            epoch=number + 1,
            loss=loss,
            train_accuracy=accuracy,
            **found,
            lr=self._optimizer.param_groups[0]["lr"],
            seconds=time.perf_counter() - started,
        )

    def _learn(self, number: int, progress: Progress | None) -> tuple[float, float]:
        """Train one epoch; returns the mean loss, and the share of right answers while training."""
        from torch.nn.functional import cross_entropy as entropy

        self._network.train()
        self._examples.epoch = number
        self._sets.train.set_epoch(number)
        order = self._order(number)
        loader = make_loader(self._examples, self._settings, order)
        losses, right, steps = list[float](), 0, len(loader)
        waits = Waits(loader)
        with worker_ends():
            for step, (images, labels) in enumerate(waits, number * steps):
                images, labels = images.to(self._device), labels.to(self._device)
                set_rate(self._optimizer, rate_at(self._settings, step, steps * self._settings.epochs))
                with out_of_memory_errors():
                    with autocast(self._device, self._settings.precision):
                        given = self._answers(images)
                        loss = entropy(given, labels)
                    value = loss.item()
                    if not math.isfinite(value):
                        raise self._not_finite(f"loss at step {step + 1 - number * steps} of {steps}", number)
                    self._optimizer.zero_grad()
                    self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                    self._scaler.step(self._optimizer)
                    self._scaler.update()
                losses.append(value * len(labels))
                right += int((given.argmax(1) == labels).sum())
                if progress is not None:
                    progress(step + 1, steps * self._settings.epochs)
        waits.log(f"epoch {number + 1}, waiting for {steps} batches, of the learning")
        return math.fsum(losses) / len(order), right / len(order)

    def _answers(self, images: "Tensor") -> "Tensor":
        try:
            answers: Tensor = self._network(images)
        except ValueError as error:
            if len(images) == 1:
                what = f"network {self._settings.network} cannot train on one image at a time ({error})"
                raise ConfigError(f"{what}; raise batch_size, or give more images") from error
            raise
        return answers

    def _order(self, number: int) -> list[int]:
        """The images of an epoch, shuffled; a last batch that is too short for its statistics is left out."""
        import torch

        count, size = len(self._examples), self._settings.batch_size
        rng = torch.Generator().manual_seed(seed_from(self._settings.seed, "order", number))
        order: list[int] = torch.randperm(count, generator=rng).tolist()
        return order[: count - count % size] if self._needs_full_batches and count > size else order

    def _measure(self, data: ArmDataset, prefix: str) -> dict[str, float]:
        """Loss and accuracy; a mixture's variants are always those of the last epoch, so epochs can be compared."""
        data.set_epoch(self._settings.epochs - 1)
        loader = make_loader(self._as_examples(data), self._settings)
        given, labels = compute_logits(self._network, loader, self._device, self._settings.precision)
        right = int((given.argmax(1) == labels).sum())
        return {f"{prefix}_loss": cross_entropy(given, labels), f"{prefix}_accuracy": right / len(labels)}

    def _as_examples(self, data: ArmDataset) -> Examples:
        labels = [NO_LABEL if label is None else self._numbers[label] for label in data.labels]
        return Examples(data, labels, self._settings)

    def _finish(self) -> TrainRun:
        """Write the weights, the numbers, the curves, and last the record; nothing is left of the state."""
        state = self._state
        best = state.history[state.best_epoch - 1]
        weights = best_weights(self._out, state.best_epoch)
        digest = runs.write_weights(self._out / runs.WEIGHTS, weights)
        metrics = {"val_loss": best.val_loss, "val_accuracy": best.val_accuracy}
        if self._sets.test is not None:
            self._network.load_state_dict(weights)
            metrics |= self._measure(self._sets.test, "test")
        runs.write_history(self._out, state.history)
        title = f"{self._sets.train.arm}: {self._settings.network}, seed {self._settings.seed}"
        runs.write_curves(self._out, state.history, state.best_epoch, title)
        run = TrainRun(
            folder=self._out,
            arm=self._sets.train.arm,
            classes=self._sets.train.classes,
            settings=self._settings,
            inputs=self._about["inputs"],
            history=state.history,
            best_epoch=state.best_epoch,
            metrics=metrics,
            balance={name: data.balance for name, data in self._sets.named.items()},
            versions=versions(),
            device=device_name(self._device),
            weights=digest,
            seconds=math.fsum(line.seconds for line in state.history),
            stopped=len(state.history) < self._settings.epochs,
        )
        runs.write_finished(run)
        drop_state(self._out)
        return run

    def _not_finite(self, what: str, number: int) -> ConfigError:
        rate, precision = self._settings.learning_rate, self._settings.precision
        further = "" if precision == "fp32" else f", or set precision to fp32 (now {precision})"
        return ConfigError(
            f"the {what} of epoch {number + 1} is no finite number; lower learning_rate (now {rate:g}){further}. "
            f"What earlier epochs left in {self._out} is kept"
        )


@contextmanager
def _all_at_once(sets: ArmSets, epochs: int) -> Iterator[None]:
    """Around a training: an image that cannot be used becomes an ImagesError about all such images."""
    try:
        yield
    except (ImageError, MissError, MemoryError) as error:
        require_usable(sets, epochs)
        if isinstance(error, MemoryError):
            raise MachineError("memory ran out while training; lower batch_size or workers") from error
        raise


def _best_epoch(history: tuple[EpochLine, ...], monitor: str) -> int:
    """The best epoch, counted from 1: the earliest of equal ones; the last one where nothing is monitored."""
    sign = MONITORS[monitor]
    if sign == 0:
        return len(history)
    return max(history, key=lambda line: (sign * getattr(line, monitor), -line.epoch)).epoch


def _first_weights(settings: TrainSettings) -> str | None:
    """The digest of the weights to start from, which are kept by that name in the user's folder."""
    if settings.weights is None:
        return None
    if not Path(settings.weights).is_file():
        raise WeightsError(f"expected a file of weights, but {settings.weights} is none")
    return adopt(Path(settings.weights))


def _about(sets: ArmSets, settings: TrainSettings, start: str | None, device: str) -> dict[str, Any]:
    """What makes two trainings the same: JSON values."""
    inputs: dict[str, Any] = {name: dict(data.inputs) for name, data in sets.named.items()}
    inputs |= {"weights": start, "device": device.partition(":")[0]}
    return {
        "arm": sets.train.arm,
        "classes": list(sets.train.classes),
        "settings": dataclasses.asdict(settings),
        "inputs": inputs,
    }


def _reuse(out: Path) -> TrainRun:
    """The finished run of a folder."""
    drop_state(out)
    return dataclasses.replace(open_run(out), reused=True)
