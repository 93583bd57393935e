"""`srcache warm`: bring the SR images that a training will ask for from an SR service into a cache, ahead of time.

The service is asked by keys first, some steps ahead, so that its batches are full; what it does not know is sent. With
an epoch and a policy, the images are those that a data set will choose in that epoch, by the same function. Twice is
the same as once: what the cache has is not asked for, and what was brought is committed in groups.
"""

import platform
import time
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from srcache.cache.failures import FailedEntry, failures_by_reason
from srcache.cache.manifest import Cache, RecipeFolder, create_cache
from srcache.catalog.rows import Catalog
from srcache.dataset.choice import Chooser
from srcache.dataset.lookup import SRImages
from srcache.dataset.missing import Missing
from srcache.dataset.policy import Policy
from srcache.dataset.remote_images import RemoteImages
from srcache.dataset.remote_recipes import remote_folder
from srcache.errors import ImageError
from srcache.keys import entry_name
from srcache.machine import versions
from srcache.maintain.ahead import work_ahead
from srcache.progress import Progress, throttled
from srcache.service.protocol import MOST_SAMPLES, Prefetched
from srcache.service.remote import RemoteService
from srcache.service.remote_client import RemoteClient
from srcache.stores import Entry, Group, Store

_TOGETHER = 64
"""Entries that the service is asked for by their keys in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmSettings:
    """What to bring.

    Attributes:
        samples: SR images per source image; with a policy, those that it draws from.
        epoch, policy: only what this policy chooses in this epoch; None for every sample of every image.
        ask_only: have the service make the images, and bring nothing.
        store: the kind of store of a new cache.
    """

    samples: int = 1
    epoch: int | None = None
    policy: Policy | None = None
    ask_only: bool = False
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmReport:
    """What a run did.

    Attributes:
        wanted: different entries that the training will ask for; `stored` of them were in the cache before, `added`
            were brought, and `meanwhile` were stored by other processes, such as the training, while this one ran.
        queued: entries that the service was asked to make and had not made yet; `there`, those that it had already.
        sent: images that it did not know by their keys.
        failed: failures, counted by reason; `failures` lists those that are known one by one.
        interrupted: whether the run was stopped before its end.
    """

    folder: Path
    recipe: str
    service: str
    wanted: int
    stored: int
    added: int = 0
    meanwhile: int = 0
    queued: int = 0
    there: int = 0
    sent: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    failures: tuple[FailedEntry, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Entries that are still not in the cache."""
        return self.wanted - self.stored - self.added - self.meanwhile


class WarmInterrupted(KeyboardInterrupt):
    """A run was stopped by Ctrl-C; `report` says how far it got."""

    def __init__(self, report: WarmReport) -> None:
        super().__init__("interrupted")
        self.report = report


def warm(
    catalog: Catalog,
    cache: str | Path | Cache,
    remote: RemoteService,
    recipe: str | None = None,
    settings: WarmSettings | None = None,
    progress: Progress | None = None,
) -> WarmReport:
    """Bring SR images of a catalog from a service into a cache, which is made if it is not there.

    Args:
        catalog: the source images.
        cache: a cache directory; also one that is empty or not there.
        remote: the service.
        recipe: name, fingerprint or folder of a recipe of the cache or the service; None for the only one.
        settings: what to bring.
        progress: called with (done, total) entries.

    Raises:
        CacheError: no such cache or recipe.
        PolicyError: the policy asks for what is not there.
        BusyError: another process fills the recipe's folder, and only one may.
        UnavailableError: the service does not answer; what was brought is safe, and the next run goes on.
        ServiceError: it refuses, or answers what was not asked for.
        DiskFullError: no room; what was brought before is safe.
        WarmInterrupted: Ctrl-C.
    """
    settings, client = settings or WarmSettings(), RemoteClient(remote)
    opened = cache if isinstance(cache, Cache) else create_cache(cache, settings.store)
    with closing(client):
        folder = remote_folder(opened, recipe, client).as_writer()
        with folder.lock(), closing(folder.store(writable=True)) as store:
            work = _Work(catalog, folder, store, RemoteImages(client, folder.recipe, folder.store_kind.codec))
            report = _run(work, settings, throttled(progress))
            _leave_receipt(report, opened, work, settings)
    if report.interrupted:
        raise WarmInterrupted(report)
    return report


@dataclass(frozen=True, slots=True)
class _Work:
    """What all steps of a run have in common."""

    catalog: Catalog
    folder: RecipeFolder
    store: Store
    images: RemoteImages

    def missing(self, place: int) -> Missing:
        """An entry by its place: row × MOST_SAMPLES + sample."""
        index, sample = divmod(place, MOST_SAMPLES)
        row = self.catalog.rows[index]
        name = entry_name(row.key, sample)
        return Missing(name, row.name, partial(self.catalog.data, index), partial(self.catalog.load, index))


class _Counts:
    """What has happened so far."""

    def __init__(self) -> None:
        self.added = self.meanwhile = self.queued = self.there = self.sent = 0
        self.failures: list[FailedEntry] = []
        self.told: Counter[str] = Counter()
        """Failures that the service only counts, by reason."""

    def commit(self, store: Store, entries: list[Entry]) -> None:
        """Store entries; what another process has stored by now is counted as such."""
        added = store.put_many(entries)
        self.added, self.meanwhile = self.added + added, self.meanwhile + len(entries) - added

    def note(self, answer: Prefetched) -> None:
        """Count what the service says of entries that it was asked for."""
        self.queued += answer["queued"]
        self.there += answer["stored"]
        self.told.update(answer["failed"])


def _run(work: _Work, settings: WarmSettings, progress: Progress) -> WarmReport:
    """Find what is missing, and bring it, or only ask for it."""
    started, counts = time.perf_counter(), _Counts()
    wanted, missing = _missing(work, settings)
    report = WarmReport(
        folder=work.folder.path,
        recipe=work.folder.recipe.folder,
        service=work.images.client.remote.url,
        wanted=wanted,
        stored=wanted - len(missing),
    )
    act = _ask_for_all if settings.ask_only else _bring_all
    interrupted = False
    try:
        act(work, missing, counts, progress)
    except KeyboardInterrupt:
        interrupted = True
    told = counts.told if settings.ask_only else Counter[str]()
    return replace(
        report,
        added=counts.added,
        meanwhile=counts.meanwhile,
        queued=counts.queued,
        there=counts.there,
        sent=counts.sent,
        failed=dict(sorted((told + Counter(failures_by_reason(counts.failures))).items())),
        failures=tuple(counts.failures),
        seconds=time.perf_counter() - started,
        interrupted=interrupted,
    )


def _missing(work: _Work, settings: WarmSettings) -> "tuple[int, array[int]]":
    """How many different entries are wanted, and the places of those that the cache lacks; see `_Work.missing`."""
    chooser = Chooser(settings.policy, SRImages(work.folder), settings.samples) if settings.policy else None
    seen, places, wanted = set[str](), array("q"), 0
    for index, row in enumerate(work.catalog.rows):
        if row.key in seen:
            continue
        seen.add(row.key)
        samples: Sequence[int] = range(settings.samples)
        if chooser is not None:
            samples = chooser.pick(row.key, settings.epoch or 0).samples
        wanted += len(samples)
        places.extend(
            index * MOST_SAMPLES + sample for sample in samples if not work.store.has(entry_name(row.key, sample))
        )
    return wanted, places


def _bring_all(work: _Work, places: "array[int]", counts: _Counts, progress: Progress) -> None:
    """Bring entries, many at a time, and commit them in groups; also those that are there when something goes wrong."""
    client, group = work.images.client, Group()
    items, stop = _asked_ahead(work, places, counts), partial(client.close, for_good=True)
    with closing(work_ahead(partial(_brought, work), items, client.remote.batch, stop)) as results:
        try:
            for done, result in enumerate(results, start=1):
                if isinstance(result, Entry):
                    group.add(result)
                else:
                    counts.failures.append(result)
                if group.is_full:
                    counts.commit(work.store, group.take())
                progress(done, len(places))
        finally:
            counts.commit(work.store, group.take())


def _brought(work: _Work, item: tuple[int, bool]) -> Entry | FailedEntry:
    """One entry, or why there is none; in a thread."""
    place, is_known = item
    missing = work.missing(place)
    try:
        return work.images.take(work.images.ask(missing, may_be_there=is_known))
    except ImageError as error:
        return _failure(missing, error)


def _asked_ahead(work: _Work, places: "array[int]", counts: _Counts) -> Iterator[tuple[int, bool]]:
    """Entries' places, and whether the service knows them; it is asked for some more than are given by now."""
    asked = deque[tuple[list[int], set[str]]]()
    for group in _groups(places):
        unknown = _asked(work, group, counts)
        counts.sent += sum(_key(work, place) in unknown for place in group)
        asked.append((group, unknown))
        if len(asked) > 1:
            yield from _with_known(work, *asked.popleft())
    for group, unknown in asked:
        yield from _with_known(work, group, unknown)


def _with_known(work: _Work, group: list[int], unknown: set[str]) -> Iterator[tuple[int, bool]]:
    return ((place, _key(work, place) not in unknown) for place in group)


def _asked(work: _Work, group: list[int], counts: _Counts) -> set[str]:
    """Ask the service for entries by their keys; returns the keys that it does not know."""
    by_sample = defaultdict[int, list[str]](list)
    for place in group:
        by_sample[place % MOST_SAMPLES].append(_key(work, place))
    client, fingerprint, unknown = work.images.client, work.folder.recipe.fingerprint, set[str]()
    for asked in [client.ask_for(fingerprint, keys, [sample]) for sample, keys in by_sample.items()]:
        answer = asked.result()
        counts.note(answer)
        unknown.update(answer["unknown"])
    return unknown


def _ask_for_all(work: _Work, places: "array[int]", counts: _Counts, progress: Progress) -> None:
    """Have the service make entries, and send what it does not know."""
    client, done = work.images.client, 0
    stop = partial(client.close, for_good=True)
    for group in _groups(places):
        unknown = _asked(work, group, counts)
        sent = [place for place in group if _key(work, place) in unknown]
        done += len(group) - len(sent)
        with closing(work_ahead(partial(_handed_over, work), sent, client.remote.batch, stop)) as results:
            for result in results:
                if isinstance(result, FailedEntry):
                    counts.failures.append(result)
                else:
                    counts.note(result)
                    counts.sent += 1
                done += 1
                progress(done, len(places))
        progress(done, len(places))


def _handed_over(work: _Work, place: int) -> Prefetched | FailedEntry:
    """Send one image to be made some time; in a thread."""
    missing = work.missing(place)
    try:
        return work.images.hand_over(missing)
    except ImageError as error:
        return _failure(missing, error)


def _groups(places: "array[int]") -> Iterator[list[int]]:
    return (places[start : start + _TOGETHER].tolist() for start in range(0, len(places), _TOGETHER))


def _key(work: _Work, place: int) -> str:
    return work.catalog.rows[place // MOST_SAMPLES].key


def _failure(missing: Missing, error: ImageError) -> FailedEntry:
    return FailedEntry(missing.name, missing.title, error.reason, str(error).removeprefix(f"{missing.title}: "))


def _leave_receipt(report: WarmReport, cache: Cache, work: _Work, settings: WarmSettings) -> None:
    """Write down what a run did; a run that brought all samples also keeps what was asked for."""
    catalog = "" if settings.policy else work.catalog.digest
    asked = (catalog, settings.samples)
    known = any((one.get("catalog"), one.get("samples")) == asked for one in work.folder.receipts())
    if settings.ask_only or (known and not report.added and not report.failed):
        return
    if catalog:
        cache.keep_catalog(catalog, work.catalog.to_csv())
    work.folder.write_receipt(
        {
            "catalog": catalog,
            "samples": settings.samples,
            "warmed": True,
            "wanted": report.wanted,
            "stored_before": report.stored,
            "added": report.added,
            "meanwhile": report.meanwhile,
            "failed": report.failed,
            "uncatalogued": len(work.catalog.problems),
            "seconds": round(report.seconds, 3),
            "interrupted": report.interrupted,
            "device": None,
            "machine": platform.machine(),
            "versions": versions(),
            "writer": work.folder.writer,
        }
    )
