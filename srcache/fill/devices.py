"""Fill a cache on several devices of one machine: a process for each, which fills a disjoint part of the images.

Every process has a writer of its own in the cache, as builds side by side have. One that is killed costs at most the
batch that it had not committed; the others go on to their end, and the same command again makes what is left. Ctrl-C
reaches only this process, which asks the others to finish the batch in hand. However it ends, they end with it.
"""

import os
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from srcache.cache.failures import failures_by_reason, in_order
from srcache.cache.manifest import open_cache
from srcache.catalog.parts import Part
from srcache.catalog.rows import Catalog, Row
from srcache.errors import MachineError, SrcacheError
from srcache.fill.run import Share, fill, fill_share, keep, open_folder
from srcache.fill.settings import FillInterrupted, FillReport, FillSettings, for_several, require_devices
from srcache.progress import Progress, throttled
from srcache.recipe.recipe import Recipe

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_STOPS = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


def fill_on_devices(
    catalog: Catalog,
    recipe: Recipe,
    cache: str | Path,
    devices: Sequence[str],
    settings: FillSettings | None = None,
    progress: Progress | None = None,
) -> FillReport:
    """Make every SR image that a cache lacks, on several devices at once; with one device, the same as `fill`.

    Processes are started, so a script calls this under `if __name__ == "__main__"`.

    Args:
        catalog, recipe, cache, progress: as `fill` takes them.
        devices: `cuda:0`, `cuda:1`, …; a device may come several times, for a process each.
        settings: as `fill` takes them; `device` is not looked at.

    Returns:
        One report for all.

    Raises:
        DeviceError: there is no such device.
        CacheError: the cache's store is filled by one process at a time.
        MachineError: a process was killed; what it and the others committed is kept.
        SrcacheError: as `fill`; what went wrong in one process, after the others came to their end.
        FillInterrupted: Ctrl-C; the batches in hand were finished.
    """
    settings = settings or FillSettings()
    if len(devices) == 1:
        return fill(catalog, recipe, cache, replace(settings, device=devices[0]), progress)
    require_devices(devices, recipe)
    settings = for_several(cache, settings)
    opened, folder = open_folder(recipe, cache, settings)
    parts = (settings.part or Part(0, 1)).split(len(devices))
    with folder.lock():
        keep(opened, catalog)
        gauge = _Gauge(progress)
        children = [
            _Child(device, _Order(opened.place, folder.path.name, part.of(catalog), catalog.digest, how), gauge)
            for device, part, how in zip(devices, parts, _settings(devices, settings), strict=True)
        ]
        stopped = _run(children)
    return _result(children, settings, stopped)


@dataclass(frozen=True, slots=True)
class _Order:
    """What a process is to do.

    Attributes:
        cache: its path or URL.
        recipe: the name of the recipe's folder in it.
        images: its share of them, of the whole catalog with `digest`.
        settings: how.
    """

    cache: Path | str
    recipe: str
    images: Catalog
    digest: str
    settings: FillSettings

    @property
    def folder(self) -> Path | str:
        """The recipe's folder, for people: a path or a URL."""
        return self.cache / self.recipe if isinstance(self.cache, Path) else f"{self.cache}/{self.recipe}"

    def packed(self) -> "tuple[_Order, list[tuple[str | None, ...]]]":
        """The same for another process: columns of text, because a million rows with paths take long to pickle."""
        texts = [(row.key, row.name, row.label, row.path and str(row.path)) for row in self.images.rows]
        return replace(self, images=replace(self.images, rows=())), list(zip(*texts, strict=True))

    def unpacked(self, columns: "list[tuple[Any, ...]]") -> "_Order":
        """What `packed` was made of."""
        rows = (Row(key, name, label, path and Path(path)) for key, name, label, path in zip(*columns, strict=True))
        return replace(self, images=replace(self.images, rows=tuple(rows)))


class _Gauge:
    """Adds up how far several processes are."""

    def __init__(self, progress: Progress | None) -> None:
        self._show, self._lock = throttled(progress), threading.Lock()
        self._at: dict[object, tuple[int, int]] = {}

    def set(self, child: object, done: int, total: int) -> None:
        """How far one of them is."""
        with self._lock:
            self._at[child] = (done, total)
            self._show(sum(at[0] for at in self._at.values()), sum(at[1] for at in self._at.values()))


@dataclass(eq=False, slots=True)
class _Child:
    """A process that fills a share on a device, and what came of it.

    Attributes:
        report: what it did; None if it was stopped before it knew what there is to do.
        error: why it could not.
        ended: whether it came to an end by itself, and said so.
    """

    device: str
    order: _Order
    gauge: _Gauge
    report: FillReport | None = None
    error: BaseException | None = None
    ended: bool = False
    process: "SpawnProcess" = field(init=False)
    channel: Connection = field(init=False)

    def start(self) -> None:
        """Start the process; it waits for its order."""
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,))
        self.process.start()
        theirs.close()

    def attend(self) -> None:
        """Give the order, and take in what the process says, to its end."""
        with self.channel, suppress(EOFError, OSError):
            self.channel.send(self.order.packed())
            while True:
                kind, *values = self.channel.recv()
                if kind == "at":
                    self.gauge.set(self, *values)
                else:
                    self.ended = True
                    self.report, self.error = values
        self.process.join()

    def stop(self) -> None:
        """Ask it to finish the batch in hand."""
        self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    @property
    def interrupted(self) -> bool:
        """Whether it was told to stop before its end."""
        return self.ended and self.error is None and (self.report is None or self.report.interrupted)

    @property
    def death(self) -> str | None:
        """What killed it, in words; None if nothing did."""
        if self.interrupted:
            return "was stopped by SIGTERM"
        if self.ended:
            return None
        code = self.process.exitcode or 0
        if code >= 0:
            return f"ended early (exit code {code})"
        hint = " (as the system does when memory runs out)" if -code == 9 else ""
        return f"was killed by {signal.Signals(-code).name}{hint}"


def _settings(devices: Sequence[str], settings: FillSettings) -> Iterator[FillSettings]:
    """Those of each process; only one can take over what a writer left."""
    for place, device in enumerate(devices):
        yield replace(settings, device=device, take_over=None if place else settings.take_over)


def _run(children: Sequence[_Child]) -> bool:
    """Start the processes and wait for their end; returns whether Ctrl-C was pressed.

    Then they finish the batch in hand. A second Ctrl-C does not wait for that.
    """
    pool, stopped = ThreadPoolExecutor(len(children), thread_name_prefix="srcache-attend"), False
    attending = list[Future[None]]()
    try:
        with _deaf():
            for child in children:
                child.start()
                attending.append(pool.submit(child.attend))
        try:
            wait(attending)
        except KeyboardInterrupt:
            stopped = True
            for child in children:
                child.stop()
            wait(attending)
        for one in attending:
            one.result()
    except BaseException:
        for child in children[: len(attending)]:
            child.kill()
        raise
    finally:
        pool.shutdown(wait=False)
    return stopped


@contextmanager
def _deaf() -> Iterator[None]:
    """Signals wait, and processes that are started meanwhile do not hear them until they say so."""
    resource_tracker.ensure_running()  # which would let them in again
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(children: Sequence[_Child], settings: FillSettings, stopped: bool) -> FillReport:
    """One report for all processes, if each came to its end.

    Raises:
        SrcacheError, FillInterrupted: as `fill_on_devices`.
    """
    report = _sum([child.report or _nothing(child) for child in children], settings)
    if stopped:
        raise FillInterrupted(replace(report, interrupted=True))
    kept = f"what was committed is kept ({report.added} added by the others); run the same command again to go on"
    names = [f"process {place} of {len(children)}, on {child.device}," for place, child in enumerate(children, 1)]
    deaths = [f"{name} {child.death}" for name, child in zip(names, children, strict=True) if child.death]
    if deaths:
        raise MachineError(f"{'; '.join(deaths)}; {kept}")
    failed = [(child.device, child.error) for child in children if child.error is not None]
    for device, error in failed[:1]:
        if isinstance(error, SrcacheError) and len(failed) < len(children):
            error.args = (f"on {device}: {error}; {kept}",)
        raise error
    return report


def _nothing(child: _Child) -> FillReport:
    """The report of a process that came to none: nothing that it wanted is known to be there."""
    order = child.order
    wanted = len({row.key for row in order.images.rows}) * order.settings.samples
    return FillReport(folder=order.folder, recipe=order.recipe, wanted=wanted, stored=0)


def _sum(reports: Sequence[FillReport], settings: FillSettings) -> FillReport:
    failures = in_order(failed for report in reports for failed in report.failures)
    engine_seconds = sum(report.engine_seconds for report in reports)
    wasted = sum(report.padding * report.engine_seconds for report in reports)
    return FillReport(
        folder=reports[0].folder,
        recipe=reports[0].recipe,
        wanted=sum(report.wanted for report in reports),
        stored=sum(report.stored for report in reports),
        added=sum(report.added for report in reports),
        meanwhile=sum(report.meanwhile for report in reports),
        failed=failures_by_reason(failures),
        failures=failures,
        skipped=sum(report.skipped for report in reports),
        seconds=max(report.seconds for report in reports),
        engine_seconds=engine_seconds,
        padding=wasted / engine_seconds if engine_seconds else 0.0,
        notes=dict(sum((Counter(report.notes) for report in reports), Counter())),
        device=", ".join(report.device for report in reports if report.device) or None,
        mode=next((report.mode for report in reports if report.mode), None),
        part=settings.part,
    )


def _work(channel: Connection) -> None:
    """The process: fill what the order says, and tell how far it is and what came of it."""
    signal.signal(signal.SIGTERM, _stop_once)
    try:
        order, columns = channel.recv()
    except EOFError:
        return
    threading.Thread(target=_end_with_parent, args=(channel,), daemon=True).start()
    progress = throttled(lambda done, total: channel.send(("at", done, total)))
    channel.send(("end", *_filled(order.unpacked(columns), progress)))


def _filled(order: _Order, progress: Progress) -> tuple[FillReport | None, Exception | None]:
    """Fill; the report, or why there is none (neither: it was told to stop early)."""
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        folder = open_cache(order.cache, spool=order.settings.spool).find(order.recipe)
        return fill_share(folder, Share(order.images, order.digest), order.settings, progress), None
    except FillInterrupted as stop:
        return stop.report, None
    except KeyboardInterrupt:
        return None, None
    except SrcacheError as error:
        return None, error
    except Exception as error:
        found = RuntimeError(f"{type(error).__name__}: {error}")
        found.add_note(traceback.format_exc())
        return None, found


def _stop_once(_number: int, _frame: object) -> NoReturn:
    """Take one signal as Ctrl-C; a cluster may send it to this process, and to its parent, which passes it on."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent(channel: Connection) -> None:
    """Wait until the parent is gone, and end this process."""
    with suppress(EOFError, OSError):
        channel.recv_bytes()
    os._exit(1)
