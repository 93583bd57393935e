"""Trials one after the other in this process, or several at a time in processes of their own.

How many run at a time changes no number: a trial's threads are those of its settings. Each process watches its parent
and ends when that is gone, so that a killed experiment leaves no process behind that still writes.
"""

import csv
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING

from srcache.progress import Say
from srcache.study.experiment.trials import Trial, TrialOutcome, carry_out
from srcache.study.train.runs import HISTORY, EpochLine

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

_LOOK_EVERY = 0.5


class ProgressReporter:
    """Reports each epoch as it ends, and how long the others will take at the mean pace of those so far.

    Args:
        trials: all of them.
        jobs: how many run at a time.
        say: called with a line for each report.
    """

    def __init__(self, trials: Sequence[Trial], jobs: int, say: Say) -> None:
        self._say, self._jobs = say, max(1, min(jobs, len(trials)))
        self._total = sum(trial.arm.settings.epochs for trial in trials)
        self._done = self._here = 0
        self._seconds = 0.0

    def epoch(self, trial: Trial, line: EpochLine) -> None:
        """An epoch was trained now."""
        self._done, self._here, self._seconds = self._done + 1, self._here + 1, self._seconds + line.seconds
        epochs = trial.arm.settings.epochs
        self._say(
            f"training {trial}: epoch {line.epoch:2d} of {epochs}, loss {line.loss:.3f}, validation loss "
            f"{line.val_loss:.3f}, {line.val_accuracy:.1%} right{self._left()}"
        )

    def skip(self, epochs: int) -> None:
        """Epochs that will not be trained: early stopping, or trained before."""
        self._done += epochs

    def finish(self, trial: Trial, outcome: TrialOutcome) -> None:
        """A trial is over."""
        run = outcome.run
        how = "trained earlier, from the same images and settings" if run.reused else "trained"
        predictions = f"predicted {outcome.predicted} domains" if outcome.predicted else "all domains predicted earlier"
        self._say(f"{trial}: {how}; best epoch {run.best_epoch} of {len(run.history)}; {predictions}")

    def _left(self) -> str:
        left = self._total - self._done
        if left <= 0:
            return ""
        seconds = self._seconds / self._here * left / self._jobs
        return f"; about {seconds:.0f} s left" if seconds < 90 else f"; about {seconds / 60:.0f} min left"


def run_trials(trials: Sequence[Trial], jobs: int, say: Say) -> dict[tuple[str, int], TrialOutcome]:
    """Carry out trials; the outcome by arm and seed, in their order.

    Args:
        trials: what to do.
        jobs: how many at a time; more than one starts processes.
        say: called with a line for every epoch and every trial.
    """
    reporter = ProgressReporter(trials, jobs, say)
    if jobs <= 1 or len(trials) <= 1:
        found = dict(_run_here(trials, reporter))
    else:
        found = dict(_run_in_processes(trials, min(jobs, len(trials)), reporter))
    return {(trial.arm.name, trial.seed): found[trial.arm.name, trial.seed] for trial in trials}


def _run_here(trials: Sequence[Trial], reporter: ProgressReporter) -> Iterator[tuple[tuple[str, int], TrialOutcome]]:
    for trial in trials:
        seen = 0

        def on_epoch(trial: Trial, line: EpochLine) -> None:
            nonlocal seen
            seen += 1
            reporter.epoch(trial, line)

        outcome = carry_out(trial, on_epoch)
        reporter.skip(trial.arm.settings.epochs - seen)
        reporter.finish(trial, outcome)
        yield (trial.arm.name, trial.seed), outcome


def _run_in_processes(
    trials: Sequence[Trial], jobs: int, reporter: ProgressReporter
) -> Iterator[tuple[tuple[str, int], TrialOutcome]]:
    seen = {place: _epochs(trial)[1] for place, trial in enumerate(trials)}
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
                reporter.skip(trials[place].arm.settings.epochs - (0 if outcome.run.reused else seen[place]))
                reporter.finish(trials[place], outcome)
                yield (trials[place].arm.name, trials[place].seed), outcome


def _report_epochs(trial: Trial, seen: int, reporter: ProgressReporter) -> int:
    """Report the epochs that a process has written since; returns how many there are."""
    lines, count = _epochs(trial)
    for line in lines[seen:]:
        reporter.epoch(trial, line)
    return count


def _epochs(trial: Trial) -> tuple[list[EpochLine], int]:
    """The epochs in a trial's history so far."""
    try:
        with (trial.folder / HISTORY).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        lines = [EpochLine(**{k: int(v) if k == "epoch" else float(v) for k, v in row.items()}) for row in rows]  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError):
        return [], 0
    return lines, len(lines)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however that ends."""
    context = get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, initializer=_watch, initargs=(os.getpid(), stop))
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _watch(parent: int, stop: "Event") -> None:
    """End this process when its parent is gone, or says so."""

    def look() -> None:
        while os.getppid() == parent and not stop.wait(0.2):
            pass
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
