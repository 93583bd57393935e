"""Which samples a training set gets that is exported from a cache: the images of a catalog with LR, HR and SR of each.

What a sample lacks (an SR image, a source file whose bytes are others) is listed, and the sample is left out: a reader
that met it would fail in the middle of an epoch.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import Cache, RecipeFolder
from srcache.cache.receipts import KeptCatalog, KeptRow, asked_for, readable_catalogs
from srcache.catalog.classes import in_order
from srcache.errors import CacheError, listed
from srcache.keys import entry_name, split_name
from srcache.maintain.ahead import work_ahead
from srcache.maintain.export import chosen_catalog, filled_recipe, require_below
from srcache.maintain.training_place import UNFINISHED, TrainingPlace
from srcache.maintain.training_readme import ABOUT, README, TrainingSet, TrainingShard
from srcache.maintain.training_samples import Members, SampleMaker
from srcache.maintain.training_sources import Sample, require_roles, survey
from srcache.progress import Progress
from srcache.stores import Store
from srcache.wording import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """What goes into an exported training set, and in which order.

    Attributes:
        recipe: name, fingerprint or folder; None where the cache holds only one.
        catalog: the digest of the catalog whose images are exported, or its first digits; None: what was built last.
        lr: the folder of the source images, where these are LR (the recipe has no degradation).
        hr: the folder of HR images: the source images if the recipe has a degradation, else paired by relative name
            without suffix.
        classes: only images of these classes, whose numbers are their places here; None: all, numbered in the order
            in which the catalog's folder or CSV file numbers them.
        shard_bytes: size in bytes that no shard exceeds, unless a single sample does; None for the format's own.
        seed: of the order; None for the catalog's.
    """

    recipe: str | None = None
    catalog: str | None = None
    lr: Path | None = None
    hr: Path | None = None
    classes: tuple[str, ...] | None = None
    shard_bytes: int | None = None
    seed: int | None = 0


@dataclass(kw_only=True)
class TrainingPlan:
    """The samples of a training set that is being exported, in their order.

    Attributes:
        folder: of the recipe.
        catalog: lists the images.
        classes: their names in the order of their numbers; empty without labels.
        maker: makes the members of a sample.
        samples: what is to be written.
        failures: images that cannot be; those that turn out to be damaged are added while members are made.
        others: digests of catalogs that the recipe was built from too, and that have images which this one lacks.
        seed: of the order; None where it is the catalog's.
    """

    folder: RecipeFolder
    catalog: KeptCatalog
    classes: tuple[str, ...]
    maker: SampleMaker
    samples: tuple[Sample, ...]
    failures: list[FailedEntry]
    others: tuple[str, ...]
    seed: int | None
    _show: "_Halves"

    def made(self) -> Iterator[Members]:
        """The members of sample after sample."""
        for done, made in enumerate(work_ahead(self.maker.members, self.samples), start=1):
            if isinstance(made, FailedEntry):
                self.failures.append(made)
            else:
                yield made
            self._show.second(done, len(self.samples))

    def content(self, members: Sequence[str], shards: Sequence[TrainingShard]) -> TrainingSet:
        """What is there when these shards are, of samples with these members."""
        return TrainingSet(
            recipe=self.folder.recipe.name,
            fingerprint=self.folder.recipe.fingerprint,
            catalog=self.catalog.digest,
            seed=self.seed,
            samples=sum(shard.samples for shard in shards),
            members=tuple(members),
            classes=self.classes,
            shards=tuple(shards),
        )


@contextmanager
def training_plan(
    cache: Cache, settings: JoinSettings, progress: Progress, *, mixed: bool = False
) -> Iterator[TrainingPlan]:
    """Choose the samples, find and check their files, and hold the store open.

    Args:
        cache: the cache.
        settings: see `JoinSettings`.
        progress: called with (done, total), where each image counts twice if files are to be checked.
        mixed: whether members of one kind may be files of different kinds.

    Raises:
        CacheError: no such recipe, catalog or class, or no sample is complete.
        CatalogError: the folders do not hold what the cache was built from.
    """
    folder, store = filled_recipe(cache, settings.recipe)
    with closing(store):
        require_roles(folder.recipe, settings.lr, settings.hr)
        catalog = chosen_catalog(cache, folder, settings.catalog)
        classes = _classes(catalog, settings.classes)
        images = _images_each(folder, catalog, store)
        wanted, failures = _wanted(_rows(catalog, settings), classes, images, store)
        show = _Halves(progress, settings.lr is not None or settings.hr is not None)
        checked = survey(wanted, folder.recipe, settings.lr, settings.hr, show.first)
        maker = SampleMaker(
            recipe=folder.recipe,
            store=store,
            images=images,
            suffixes=checked.suffixes,
            labelled=bool(classes),
            mixed=mixed,
        )
        yield TrainingPlan(
            folder=folder,
            catalog=catalog,
            classes=classes,
            maker=maker,
            samples=checked.samples,
            failures=[*failures, *checked.failures],
            others=_others(cache, folder, catalog),
            seed=settings.seed,
            _show=show,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """What was written to `path`, and what was left out.

    Attributes:
        content: what is there.
        bytes: of all shards.
        failures: images that could not be written.
        others: digests of catalogs that the recipe was built from too, and that have images which this one lacks.
    """

    path: Path | str
    content: TrainingSet
    bytes: int
    failures: tuple[FailedEntry, ...] = ()
    others: tuple[str, ...] = ()


def finish(place: TrainingPlace, plan: TrainingPlan, content: TrainingSet, page: str) -> JoinReport:
    """Write what a training set says about itself, when all its shards are there; returns what was done.

    Args:
        place: where the shards are.
        plan: of the export.
        content: for programs.
        page: the same for people.
    """
    place.write(README, page)
    place.write(ABOUT, json.dumps(asdict(content), indent=1, ensure_ascii=False) + "\n")
    place.delete(UNFINISHED)
    return JoinReport(
        path=place.shown,
        content=content,
        bytes=sum(shard.bytes for shard in content.shards),
        failures=tuple(plan.failures),
        others=plan.others,
    )


class _Halves:
    """One progress of two passes over the samples, the first of which looks at files and may be left out."""

    def __init__(self, progress: Progress, looks: bool) -> None:
        self._progress, self._looks = progress, looks

    def first(self, done: int, total: int) -> None:
        """Of the pass that looks at files."""
        self._progress(done, 2 * total)

    def second(self, done: int, total: int) -> None:
        """Of the pass that writes."""
        before = total if self._looks else 0
        self._progress(before + done, before + total)


def _rows(catalog: KeptCatalog, settings: JoinSettings) -> list[KeptRow]:
    """The rows to write, as the catalog has them, or shuffled by a function of the seed and their names alone."""
    require_below(row.name for row in catalog.rows)
    rows = [row for row in catalog.rows if settings.classes is None or row.label in settings.classes]
    if settings.seed is None:
        return rows
    return sorted(rows, key=lambda row: (blake2b(f"{settings.seed}/{row.name}".encode()).digest(), row.name))


def _classes(catalog: KeptCatalog, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The classes in the order of their numbers; none if an image has no label.

    Raises:
        CacheError: the catalog does not have a class that is wanted, or it is wanted twice.
    """
    labels = {row.label for row in catalog.rows}
    if wanted is not None:
        unknown = [name for name in wanted if name not in labels or not name]
        if unknown or len(set(wanted)) < len(wanted):
            known = listed(sorted(labels - {""})) or "none"
            raise CacheError(f"expected different classes of the catalog ({known}), but got {listed(wanted)}")
        return wanted
    if "" in labels:
        return ()
    folders = all(row.name.startswith(f"{row.label}/") for row in catalog.rows)
    return tuple(sorted(labels)) if folders else in_order(labels)


def _others(cache: Cache, folder: RecipeFolder, catalog: KeptCatalog) -> tuple[str, ...]:
    """Catalogs of the recipe with images that a catalog lacks; caches that were merged have them."""
    asked, rows = asked_for(folder.path), set(catalog.rows)
    known = [other for other in readable_catalogs(cache)[0] if other.digest in asked]
    return tuple(other.digest for other in known if not rows.issuperset(other.rows))


def _images_each(folder: RecipeFolder, catalog: KeptCatalog, store: Store) -> int:
    """How many SR images a sample has: as many as were asked for; where no receipt says so, the most that are there."""
    asked = asked_for(folder.path).get(catalog.digest)
    if asked is not None:
        return asked
    return max((1 + split_name(name)[1] for key in catalog.keys for name in store.names(f"{key}-")), default=1)


def _wanted(
    rows: Sequence[KeptRow], classes: Sequence[str], images: int, store: Store
) -> tuple[list[Sample], list[FailedEntry]]:
    """The samples whose SR images are all there, and the images that lack some.

    Raises:
        CacheError: no sample is complete.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    wanted, absent = list[Sample](), list[FailedEntry]()
    for row in rows:
        missing = [name for sample in range(images) if not store.has(name := entry_name(row.key, sample))]
        if missing:
            lacks = f"the cache has {images - len(missing)} of its {counted(images, 'SR image')}"
            absent.append(FailedEntry(missing[0], row.name, "absent", lacks))
        else:
            wanted.append(Sample(row=row, number=numbers.get(row.label, -1)))
    if not wanted:
        raise CacheError(
            f"none of the {len(rows)} images of the catalog has all its SR images ({images} each) in the cache; "
            "run the same `build` again first"
        )
    return wanted, absent
