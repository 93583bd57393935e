"""`srcache export --join`: training shards, plain WebDataset tars that hold LR, HR, SR and label of each image.

    DST/shard-000000.tar …   per sample NUMBER.lr.*, .hr.*, .sr000.*, .sr001.* …, .cls, .json
    DST/dataset.json         how many samples there are, in which shards, by which recipe; written last
    DST/README.md            the same for people, and for `datasets`

A sample's name in the tars is its number in the shuffled order: eight digits without a dot, for a reader splits names
at the first dot, and never twice, though a catalog may name one image twice. The order is a function of the seed and
the images' names. Headers hold no time and no owner, so the same export is the same bytes.

An export that was stopped is begun anew by the same command.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from srcache.cache.manifest import open_cache
from srcache.maintain.training_place import TrainingPlace, begin, require_new, training_place
from srcache.maintain.training_plan import JoinReport, finish, training_plan
from srcache.maintain.training_plan import JoinSettings as JoinSettings
from srcache.maintain.training_readme import TrainingShard, readme
from srcache.maintain.training_samples import Members
from srcache.progress import Progress, throttled

SHARD_BYTES = 128 << 20
_SHARDS = "shard-"
_END = bytes(2 * tarfile.BLOCKSIZE)


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
        BusyError: another process exports into it.
        DiskFullError: no room.
    """
    settings, place = settings or JoinSettings(), training_place(destination)
    cache = open_cache(path)
    require_new(place, cache, _SHARDS)
    with training_plan(cache, settings, throttled(progress)) as plan, place.held():
        begin(place, _SHARDS)
        shards = _write_shards(plan.made(), place, settings.shard_bytes or SHARD_BYTES)
        content = plan.content(plan.maker.names(), shards)
        return finish(place, plan, content, readme(content, plan.folder.recipe, place.url))


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
