"""Trials one after the other in this process, or several at a time in processes of their own.

How many run at a time changes no number: a trial's threads are those of its settings. Each process watches its parent
and ends when that is gone, so that a killed experiment leaves no process behind that still writes.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING

from srcache.progress import Say
from srcache.study.experiment.trials import Trial, TrialOutcome, carry_out
from srcache.study.train.runs import EpochLine, read_history
from srcache.wording import about

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of the cost of trials, and of what follows them, before the first is run.

    Attributes:
        weights: how much an epoch of each arm costs compared with others, in the order of the trials.
        tail: what predicting the test images of all domains costs, in epochs of the same arm.
        after: seconds that the steps after all trainings will take, but for
        after_epochs: what label safety costs, in epochs of a mean arm.
    """

    weights: Sequence[float]
    tail: float = 0.0
    after: float = 0.0
    after_epochs: float = 0.0


class ProgressReporter:
    """Reports each epoch as it ends, and how long the rest will take: the other epochs of each arm at the arm's own
    pace, its predictions, and the steps after all trainings.

    Args:
        trials: all of them.
        jobs: how many run at a time.
        say: called with a line for each report.
        expected: what is known beforehand; every arm costs the same without it.
    """

    def __init__(self, trials: Sequence[Trial], jobs: int, say: Say, expected: Expected | None = None) -> None:
        self._say, self._jobs = say, max(1, min(jobs, len(trials)))
        self._expected = expected or Expected(weights=[1.0] * len(trials))
        self._arms = {
            trial.arm.name: _Pace(weight) for trial, weight in zip(trials, self._expected.weights, strict=True)
        }
        for trial in trials:
            self._arms[trial.arm.name].add(trial.arm.settings.epochs)
        self._left = sum(trial.arm.settings.epochs for trial in trials)

    def epoch(self, trial: Trial, line: EpochLine) -> None:
        """An epoch was trained now."""
        self._left -= 1
        self._arms[trial.arm.name].trained(line.seconds)
        epochs = trial.arm.settings.epochs
        self._say(
            f"training {trial}: epoch {line.epoch:2d} of {epochs}, loss {line.loss:.3f}, validation loss "
            f"{line.val_loss:.3f}, {line.val_accuracy:.1%} right{self._left_text()}"
        )

    def skip(self, epochs: int, trial: Trial | None = None) -> None:
        """Epochs that will not be trained: early stopping, or trained before."""
        self._left -= epochs
        if trial is not None:
            self._arms[trial.arm.name].left -= epochs

    def finish(self, trial: Trial, outcome: TrialOutcome, seconds: float | None = None) -> None:
        """A trial is over; `seconds` is how long it took after its last epoch, where that is known."""
        self._arms[trial.arm.name].finished(seconds if outcome.predicted else None)
        run = outcome.run
        how = "trained earlier, from the same images and settings" if run.reused else "trained"
        predictions = f"predicted {outcome.predicted} domains" if outcome.predicted else "all domains predicted earlier"
        self._say(f"{trial}: {how}; best epoch {run.best_epoch} of {len(run.history)}; {predictions}")

    def _left_text(self) -> str:
        if self._left <= 0:
            return ""
        seen = [pace for pace in self._arms.values() if pace.seen]
        unit = sum(pace.seconds / pace.seen / pace.weight for pace in seen) / len(seen)
        trials = sum(pace.rest(unit * pace.weight, self._expected.tail) for pace in self._arms.values())
        mean = unit * sum(self._expected.weights) / len(self._expected.weights)
        after = self._expected.after + self._expected.after_epochs * mean
        return f"; about {about(trials / self._jobs + after)} left"


class _Pace:
    """How fast the trials of one arm are, and what is left of them."""

    def __init__(self, weight: float) -> None:
        self.weight, self.left, self.seen, self.seconds = weight, 0, 0, 0.0
        self._trials, self._tails = 0, list[float]()

    def add(self, epochs: int) -> None:
        self.left, self._trials = self.left + epochs, self._trials + 1

    def trained(self, seconds: float) -> None:
        self.left, self.seen, self.seconds = self.left - 1, self.seen + 1, self.seconds + seconds

    def finished(self, seconds: float | None) -> None:
        self._trials -= 1
        if seconds is not None:
            self._tails.append(seconds)

    def rest(self, usual: float, tail: float) -> float:
        """Seconds for what is left; `usual` is an epoch of such an arm, where none of it was trained yet."""
        epoch = self.seconds / self.seen if self.seen else usual
        after = sum(self._tails) / len(self._tails) if self._tails else tail * epoch
        return max(0, self.left) * epoch + self._trials * after


def run_trials(
    trials: Sequence[Trial], jobs: int, say: Say, expected: Expected | None = None
) -> dict[tuple[str, int], TrialOutcome]:
    """Carry out trials; the outcome by arm and seed, in their order.

    Args:
        trials: what to do.
        jobs: how many at a time; more than one starts processes.
        say: called with a line for every epoch and every trial.
        expected: for the time that is left.
    """
    reporter = ProgressReporter(trials, jobs, say, expected)
    if jobs <= 1 or len(trials) <= 1:
        found = dict(_run_here(trials, reporter))
    else:
        found = dict(_run_in_processes(trials, min(jobs, len(trials)), reporter))
    return {(trial.arm.name, trial.seed): found[trial.arm.name, trial.seed] for trial in trials}


def _run_here(trials: Sequence[Trial], reporter: ProgressReporter) -> Iterator[tuple[tuple[str, int], TrialOutcome]]:
    for trial in trials:
        seen, last = 0, time.perf_counter()

        def on_epoch(trial: Trial, line: EpochLine) -> None:
            nonlocal seen, last
            seen, last = seen + 1, time.perf_counter()
            reporter.epoch(trial, line)

        outcome = carry_out(trial, on_epoch)
        reporter.skip(trial.arm.settings.epochs - seen, trial)
        reporter.finish(trial, outcome, time.perf_counter() - last)
        yield (trial.arm.name, trial.seed), outcome


def _run_in_processes(
    trials: Sequence[Trial], jobs: int, reporter: ProgressReporter
) -> Iterator[tuple[tuple[str, int], TrialOutcome]]:
    seen = {place: len(read_history(trial.folder)) for place, trial in enumerate(trials)}
    with _pool(jobs) as pool:
        waiting: dict[Future[TrialOutcome], int] = {pool.submit(carry_out, t): place for place, t in enumerate(trials)}
        while waiting:
            over, _ = wait(waiting, _LOOK_EVERY, FIRST_COMPLETED)
            for future, place in waiting.items():
                if future.running() or future in over:
                    seen[place] = _report_epochs(trials[place], seen[place], reporter)
            for future in over:
                place = waiting.pop(future)
                outcome = future.result()
                epochs = 0 if outcome.run.reused else seen[place]
                reporter.skip(trials[place].arm.settings.epochs - epochs, trials[place])
                reporter.finish(trials[place], outcome)
                yield (trials[place].arm.name, trials[place].seed), outcome


def _report_epochs(trial: Trial, seen: int, reporter: ProgressReporter) -> int:
    """Report the epochs that a process has written since; returns how many there are."""
    lines = read_history(trial.folder)
    for line in lines[seen:]:
        reporter.epoch(trial, line)
    return len(lines)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however that ends."""
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, initializer=_watch, initargs=(os.getpid(), theirs))
    try:
        yield pool
    except BaseException:
        ours.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


def _watch(parent: int, stop: "Connection") -> None:
    """End this process when its parent is gone, or closes its end of the pipe, which unlike an event has no lock that a
    parent could take with it. A terminal's Ctrl-C is the parent's to take."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def look() -> None:
        with suppress(OSError):
            while os.getppid() == parent and not stop.poll(0.2):
                pass
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
