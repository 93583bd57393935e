"""`srcache export --join`: training shards, plain WebDataset tars that hold LR, HR, SR and label of each image.

    DST/shard-000000.tar …   per sample NUMBER.lr.*, .hr.*, .sr000.*, .sr001.* …, .cls, .json
    DST/dataset.json         how many samples there are, in which shards, by which recipe; written last
    DST/README.md            the same for people, and for `datasets`

A sample's name in the tars is its number in the shuffled order: eight digits without a dot, for a reader splits names
at the first dot, and never twice, though a catalog may name one image twice. The order is a function of the seed and
the images' names. Headers hold no time and no owner, so the same export is the same bytes.

An export that was stopped is begun anew by the same command. What a sample lacks (an SR image, a source file whose
bytes are others) is listed, and the sample is left out: a reader that met it would fail in the middle of an epoch.
"""

import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.cache.receipts import KeptCatalog, KeptRow, asked_for, readable_catalogs
from srcache.catalog.classes import in_order
from srcache.errors import CacheError, listed
from srcache.keys import entry_name, split_name
from srcache.maintain.ahead import work_ahead
from srcache.maintain.export import chosen_catalog, filled_recipe, require_below
from srcache.maintain.training_place import TrainingPlace, training_place
from srcache.maintain.training_readme import ABOUT, TrainingSet, TrainingShard, readme
from srcache.maintain.training_samples import Members, SampleMaker
from srcache.maintain.training_sources import Sample, require_roles, survey
from srcache.progress import Progress, throttled
from srcache.stores import Store
from srcache.wording import counted

README = "README.md"
SHARD_BYTES = 128 << 20
_UNFINISHED = ".unfinished"
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """What goes into training shards, and in which order.

    Attributes:
        recipe: name, fingerprint or folder; None where the cache holds only one.
        catalog: the digest of the catalog whose images are exported, or its first digits; None: what was built last.
        lr: the folder of the source images, where these are LR (the recipe has no degradation).
        hr: the folder of HR images: the source images if the recipe has a degradation, else paired by relative name
            without suffix.
        classes: only images of these classes, whose numbers are their places here; None: all, numbered in the order
            in which the catalog's folder or CSV file numbers them.
        shard_bytes: size in bytes that no shard exceeds, unless a single sample does.
        seed: of the order.
    """

    recipe: str | None = None
    catalog: str | None = None
    lr: Path | None = None
    hr: Path | None = None
    classes: tuple[str, ...] | None = None
    shard_bytes: int = SHARD_BYTES
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """What was written to `path`, and what was left out.

    Attributes:
        failures: images that could not be written.
        others: digests of catalogs that the recipe was built from too, and that have images which this one lacks.
    """

    path: Path | str
    content: TrainingSet
    bytes: int
    failures: tuple[FailedEntry, ...] = ()
    others: tuple[str, ...] = ()


def export_join(
    path: str | Path, destination: str | Path, settings: JoinSettings | None = None, progress: Progress | None = None
) -> JoinReport:
    """Write training shards into an empty or new folder, or below a URL where nothing is.

    Args:
        path: the cache.
        destination: the folder to write into, or the URL.
        settings: see `JoinSettings`.
        progress: called with (done, total), where each image counts twice if files are to be checked.

    Raises:
        CacheError: no such cache, recipe, catalog or class; the destination is not empty.
        CatalogError: the folders do not hold what the cache was built from.
        DiskFullError: no room.
    """
    settings, place = settings or JoinSettings(), training_place(destination)
    cache = open_cache(path)
    folder, store = filled_recipe(cache, settings.recipe)
    with closing(store):
        _require_new(place, cache)
        require_roles(folder.recipe, settings.lr, settings.hr)
        catalog = chosen_catalog(cache, folder, settings.catalog)
        classes = _classes(catalog, settings.classes)
        images = _images_each(folder, catalog, store)
        wanted, failures = _wanted(_rows(catalog, settings), classes, images, store)
        show = _Halves(throttled(progress), settings.lr is not None or settings.hr is not None)
        checked = survey(wanted, folder.recipe, settings.lr, settings.hr, show.first)
        maker = SampleMaker(
            recipe=folder.recipe, store=store, images=images, suffixes=checked.suffixes, labelled=bool(classes)
        )
        failures += checked.failures
        _begin(place)
        shards = _write_shards(_made(maker, checked.samples, failures, show), place, settings.shard_bytes)
    content = TrainingSet(
        recipe=folder.recipe.name,
        fingerprint=folder.recipe.fingerprint,
        catalog=catalog.digest,
        seed=settings.seed,
        samples=sum(shard.samples for shard in shards),
        members=maker.names(),
        classes=classes,
        shards=tuple(shards),
    )
    place.write(README, readme(content, folder.recipe, place.url))
    place.write(ABOUT, json.dumps(asdict(content), indent=1, ensure_ascii=False) + "\n")
    place.delete(_UNFINISHED)
    size = sum(shard.bytes for shard in shards)
    others = _others(cache, folder, catalog)
    return JoinReport(path=place.shown, content=content, bytes=size, failures=tuple(failures), others=others)


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


def _require_new(place: TrainingPlace, cache: Cache) -> None:
    """Refuse a place that holds something, unless it is what an export that was stopped left behind."""
    if not place.holds(_UNFINISHED):
        place.require_empty(cache)
    elif strange := [name for name in place.names() if not _is_ours(name)]:
        raise CacheError(
            f"{place.shown} holds an export that was stopped, and beside it {listed(strange)}; "
            "choose a new or an empty folder"
        )


def _begin(place: TrainingPlace) -> None:
    """Mark the place as unfinished, and remove what an export that was stopped left in it."""
    place.write(_UNFINISHED, "An export of training shards was begun here; dataset.json is its end.\n")
    for name in place.names():
        if name != _UNFINISHED:
            place.delete(name)


def _is_ours(name: str) -> bool:
    """Whether an export wrote a file, be it only a half of it under a hidden name."""
    plain = name.removeprefix(".")
    return "/" not in name and (name == _UNFINISHED or plain.startswith(("shard-", README, ABOUT, _UNFINISHED[1:])))


def _rows(catalog: KeptCatalog, settings: JoinSettings) -> list[KeptRow]:
    """The rows to write, shuffled by a function of the seed and their names alone."""
    require_below(row.name for row in catalog.rows)
    rows = [row for row in catalog.rows if settings.classes is None or row.label in settings.classes]
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


def _made(
    maker: SampleMaker, samples: Sequence[Sample], failures: list[FailedEntry], show: _Halves
) -> Iterator[Members]:
    """The members of sample after sample; what cannot be made is added to `failures`."""
    for done, made in enumerate(work_ahead(maker.members, samples), start=1):
        if isinstance(made, FailedEntry):
            failures.append(made)
        else:
            yield made
        show.second(done, len(samples))


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"shard-{number:06d}.tar"


def _write_shards(samples: Iterator[Members], place: TrainingPlace, most: int) -> list[TrainingShard]:
    """Write samples into shards of at most `most` bytes; each gets its name when it is complete."""
    shards, number = list[TrainingShard](), 0
    following = next(samples, None)
    while following is not None:
        name = shard_name(len(shards))
        begun, size = number, len(_END)
        with place.file(name) as file:
            while following is not None:
                data = b"".join(_packed(f"{number:08d}.{suffix}", inner) for suffix, inner in following)
                if number > begun and size + len(data) > most:
                    break
                file.write(data)
                number, size = number + 1, size + len(data)
                following = next(samples, None)
            file.write(_END)
        shards.append(TrainingShard(file=name, samples=number - begun, bytes=size))
    return shards


def _packed(name: str, data: bytes) -> bytes:
    """A member of a tar: its header, which holds neither time nor owner, its bytes, and zeros up to a whole block."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    block = header.tobuf(tarfile.USTAR_FORMAT)
    return block + data + bytes(-len(data) % tarfile.BLOCKSIZE)
