"""`srcache export --format hf`: a data set for the Hugging Face Hub, Parquet files with LR, HR, SR and label of images.

    DST/train-00000.parquet …   per row name, key, lr, sr000, sr001 …, hr and label, as far as they are there
    DST/README.md               the data set's card: recipe, licences, and how it was made
    DST/dataset.json            the same for programs; written last

`datasets.load_dataset` reads the folder, and the Hub shows it. Types are those of `to_hf`: images are features of their
kind, with their files' bytes inside, and a label is a ClassLabel. Rows are in the catalog's order. A file is written in
groups of rows, of which one at a time is in memory. An export that was stopped is begun anew by the same command.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from srcache.cache.manifest import open_cache
from srcache.catalog.huggingface_columns import features_of, image_value, import_datasets, label_feature
from srcache.files.documents import parse_json
from srcache.maintain.dataset_card import dataset_card
from srcache.maintain.training_place import TrainingPlace, begin, require_new, training_place
from srcache.maintain.training_plan import JoinReport, JoinSettings, TrainingPlan, finish, training_plan
from srcache.maintain.training_readme import TrainingShard
from srcache.maintain.training_samples import Members
from srcache.progress import Progress, throttled

SHARD_BYTES = 512 << 20
_SHARDS = "train-"
_GROUP_ROWS, _GROUP_BYTES = 1000, 16 << 20
"""A group of rows is written when it has so many rows, or bytes of images."""

_Row = dict[str, Any]


def export_parquet(
    path: str | Path, destination: str | Path, settings: JoinSettings | None = None, progress: Progress | None = None
) -> JoinReport:
    """Write Parquet files into an empty or new folder, or below a URL where nothing is.

    Args:
        path: the cache.
        destination: the folder to write into, or the URL.
        settings: see `JoinSettings`; `seed` None keeps the catalog's order.
        progress: called with (done, total), where each image counts twice if files are to be checked.

    Raises:
        CacheError: no such cache, recipe, catalog or class; the destination is not empty.
        CatalogError: the folders do not hold what the cache was built from.
        BusyError: another process exports into it.
        DiskFullError: no room.
        MissingExtraError: `datasets` is not installed.
    """
    import_datasets("srcache export --format hf")
    settings, place = settings or JoinSettings(seed=None), training_place(destination)
    cache = open_cache(path)
    require_new(place, cache, _SHARDS)
    with training_plan(cache, settings, throttled(progress), mixed=True) as plan, place.held():
        begin(place, _SHARDS)
        images = _columns(plan)
        rows = (_row(members, bool(plan.classes)) for members in plan.made())
        shards = _write_shards(rows, place, _schema(plan, images), settings.shard_bytes or SHARD_BYTES)
        members = ["name", "key", *images, *(["label"] if plan.classes else [])]
        content = plan.content(members, shards)
        return finish(place, plan, content, dataset_card(content, plan.folder.recipe, place.url))


def _columns(plan: TrainingPlan) -> list[str]:
    """The columns of images, as `to_hf` orders them: lr, sr000 …, hr."""
    found = {name.partition(".")[0] for name in plan.maker.names()} - {"cls", "json"}
    return sorted(found, key=lambda kind: (["l", "s", "h"].index(kind[0]), kind))


def _schema(plan: TrainingPlan, images: Sequence[str]) -> Any:
    """The schema of the files; in its metadata `datasets` finds the types that it knows."""
    label = label_feature([0], plan.classes) if plan.classes else None
    return features_of(["name", "key"], images, label).arrow_schema


def _row(members: Members, labelled: bool) -> _Row:
    """A sample's members as a row."""
    *files, (_, about) = members
    known = parse_json(about, {"name": str, "key": str, "class": int})
    row: _Row = {"name": known["name"], "key": known["key"]}
    for member, data in files:
        kind, _, suffix = member.partition(".")
        if kind != "cls":
            row[kind] = image_value(known["name"], f".{suffix}", data)
    return {**row, "label": known["class"]} if labelled else row


def _write_shards(rows: Iterator[_Row], place: TrainingPlace, schema: Any, most: int) -> list[TrainingShard]:
    """Write rows into files with images of at most `most` bytes; each gets its name when it is complete."""
    from pyarrow.parquet import ParquetWriter

    shards = list[TrainingShard]()
    following = next(rows, None)
    while following is not None:
        name = f"{_SHARDS}{len(shards):05d}.parquet"
        with place.file(name) as file:
            with closing(ParquetWriter(file, schema, use_dictionary=False)) as writer:
                samples, following = _fill(writer, following, rows, most)
            size = file.tell()
        shards.append(TrainingShard(file=name, samples=samples, bytes=size))
    return shards


def _fill(writer: Any, first: _Row, rows: Iterator[_Row], most: int) -> tuple[int, _Row | None]:
    """Write one file's rows, group after group; returns how many there are, and the row that did not fit."""
    from pyarrow import Table

    group, in_group, size, samples = list[_Row](), 0, 0, 0
    following: _Row | None = first
    while following is not None and (not samples or size + _bytes(following) <= most):
        group.append(following)
        in_group, size, samples = in_group + _bytes(following), size + _bytes(following), samples + 1
        if len(group) >= _GROUP_ROWS or in_group >= _GROUP_BYTES:
            writer.write_table(Table.from_pylist(group, writer.schema))
            group, in_group = [], 0
        following = next(rows, None)
    if group:
        writer.write_table(Table.from_pylist(group, writer.schema))
    return samples, following


def _bytes(row: _Row) -> int:
    return sum(len(value["bytes"]) for value in row.values() if isinstance(value, dict))
