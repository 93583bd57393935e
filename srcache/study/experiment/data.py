"""The images of an experiment, in files: HR in train, validation and test, and an LR copy of each.

    OUT/data/hr/{train,validation,test}/<class>/*   copies (or hard links) of the chosen images
    OUT/data/lr/{train,validation,test}/<class>/*.png

Images that cannot be read are left out of both, and counted. Equal images in two splits are an error, since what is
measured on one of them would then be worth nothing; where only their LR copies are equal, one of them is left out.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from srcache.catalog.listing import Problem
from srcache.catalog.names import stem_of, stems_apart
from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import scan
from srcache.catalog.treated import treatment
from srcache.errors import CatalogError, ImageError, listed
from srcache.keys import ImageKey
from srcache.machine import versions
from srcache.progress import Progress, Say
from srcache.study.arms.sets import require_no_leaks
from srcache.study.experiment import steps
from srcache.study.experiment.config import DataChoice, Experiment
from srcache.study.experiment.saying import spoken
from srcache.study.experiment.sources import named_folders
from srcache.study.prepare.lr import make_lr
from srcache.study.prepare.samples import SAMPLE_SPLITS, make_faces, make_textures
from srcache.study.prepare.smaller import make_smaller
from srcache.study.prepare.split import names_by_class, place_file
from srcache.study.prepare.stratify import SPLITS, assign, exact_shares

_SAMPLES = {"textures": make_textures, "faces": make_faces}
_NOTES = {
    "textures": (
        "Grey 64-pixel patches of eight photographs. Test patches come from a region of each photograph that training "
        "never sees; validation patches overlap training patches, so validation figures are kind, to all arms alike."
    ),
    "faces": "Faces and other cut-outs of 25×25 pixels: a smoke test, no benchmark.",
    "folders": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSets:
    """The prepared images of an experiment: where they lie, and what they are.

    Attributes:
        root: the folder `data` of the experiment.
        classes: their names.
        counts: for each split, images per class.
        digests: of the catalogs, as {"hr": {split: digest}, "lr": …}.
        note: what to know of samples; empty for one's own images.
        failures: images that were left out, and why.
        treated: what was done to the images beside what was asked for; see `srcache.catalog.treated`.
        reused: whether an earlier run had made all of it.
    """

    root: Path
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, Mapping[str, str]]
    note: str
    failures: tuple[Problem, ...]
    treated: Mapping[str, Any]
    reused: bool

    def folder(self, kind: str, split: str) -> Path:
        """Where the images of a kind (hr, lr) and split lie."""
        return self.root / kind / split


def prepare_data(out: Path, experiment: Experiment, say: Say) -> DataSets:
    """Make the data folder of an experiment, or find it made.

    Raises:
        CatalogError: no labels, classes or splits without images, or equal images in two splits.
        ConfigError: sample data that cannot be made.
        DiskFullError: no room.
    """
    started, choice, root = time.perf_counter(), experiment.data, out / "data"
    sources = _sources(choice, root / "samples")
    inputs = {
        "choice": choice.plain(),
        **experiment.degradation.parameters,
        "sources": {name: catalog.digest for name, catalog in sources.items()},
        "pillow": versions().get("pillow"),
    }
    known = steps.reusable(out, "data", inputs)
    if known is not None and known.result["digests"] == _digests(root):
        return _sets(root, choice, known.result, reused=True)
    if steps.started_with(out, "data") != steps.as_json(inputs) or known is not None:
        for kind in ("hr", "lr", "smaller"):
            shutil.rmtree(root / kind, ignore_errors=True)
    steps.start_step(out, "data", inputs)
    notes = Counter[str]()
    taken = {name: _at_most(name, catalog, root, experiment, say, notes) for name, catalog in sources.items()}
    planned, problems = _plan_splits(taken, choice)
    _refuse_leaks(planned)
    _require_classes({name: _counts(catalog) for name, catalog in planned.items()})
    for name, catalog in planned.items():
        lost, took = _write_split(catalog, root, name, experiment, spoken(say, f"data: {name}"))
        problems += lost
        notes.update(took)
        say(f"data: {len(catalog)} {name} images, LR by {experiment.degradation}")
    treated = treatment(sources.values(), notes, experiment.degradation.colors)
    for line in filter(None, (str(treated), *treated.warnings)):
        say(f"data: {line}")
    equal = _drop_equal_copies(root, planned)
    if equal:
        say(f"data: {len(equal)} images are left out, since their LR copies equal those of another split")
    problems += equal
    made = {name: scan(root / "hr" / name) for name in SPLITS}
    result: dict[str, Any] = {
        "classes": list(made["train"].classes),
        "counts": {name: _counts(catalog) for name, catalog in made.items()},
        "digests": _digests(root),
        "failures": [asdict(problem) for problem in problems],
        "treated": treated.plain(),
    }
    _require_classes(result["counts"])
    shutil.rmtree(root / "smaller", ignore_errors=True)
    step = steps.finish_step(out, "data", inputs, [], result, time.perf_counter() - started)
    return _sets(root, choice, step.result, reused=False)


def _sets(root: Path, choice: DataChoice, result: Mapping[str, Any], *, reused: bool) -> DataSets:
    return DataSets(
        root=root,
        classes=tuple(result["classes"]),
        counts=result["counts"],
        digests=result["digests"],
        note=_NOTES[choice.kind],
        failures=tuple(Problem(**one) for one in result["failures"]),
        treated=result.get("treated", {}),
        reused=reused,
    )


def _sources(choice: DataChoice, samples: Path) -> dict[str, Catalog]:
    """The catalogs that images are taken from: one of all (`hr`), or one for each split."""
    if choice.kind == "folders":
        found = {name: scan(path) for name, path in named_folders(choice).items()}
    else:
        folder = _SAMPLES[choice.kind](samples, choice.seed).folder
        found = {name: scan(folder / name) for name in SAMPLE_SPLITS}
    for name, catalog in found.items():
        if not catalog.classes:
            why = f"; {catalog.unclassed}" if catalog.unclassed else ""
            raise CatalogError(
                f"an experiment needs a folder for each class, but {catalog.root} ({name}) has none{why}"
            )
    return found


def _at_most(name: str, catalog: Catalog, root: Path, experiment: Experiment, say: Say, notes: Counter[str]) -> Catalog:
    """The images of a source, made smaller where the experiment says how large they may be; adds to `notes`."""
    longest, colors = experiment.data.longest_side, experiment.degradation.colors
    if longest is None:
        return catalog
    folder = root / "smaller" / name
    made = make_smaller(catalog, folder, longest, colors, spoken(say, f"data: {name}, made smaller"))
    notes.update(made.notes)
    if not made.written + made.kept:
        raise CatalogError(f"no image of {catalog.root} can be used: {listed(made.failures)}")
    return replace(scan(folder), problems=made.failures)


def _plan_splits(sources: Mapping[str, Catalog], choice: DataChoice) -> tuple[dict[str, Catalog], list[Problem]]:
    """What goes into each split, with names that begin with the class; and what could not be catalogued."""
    rows: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for name, catalog in sources.items():
        for row, split in zip(catalog.rows, _splits(name, catalog, choice), strict=True):
            rows[split].append(row)
    planned = {name: _catalog(_limit(found, choice)) for name, found in rows.items()}
    return planned, [problem for catalog in sources.values() for problem in catalog.problems]


def _splits(name: str, catalog: Catalog, choice: DataChoice) -> list[str]:
    """The split of every row of a source."""
    shares: tuple[float, ...] | None = choice.ratios if name == "hr" else None
    if choice.kind != "folders" and name == "train":
        shares = (1 - choice.validation_share, choice.validation_share, 0)
    if shares is None:
        return [name] * len(catalog)
    where = assign([(row.key, str(row.label)) for row in catalog.rows], exact_shares(shares), choice.seed)
    return [where[row.key] for row in catalog.rows]


def _limit(rows: Sequence[Row], choice: DataChoice) -> Sequence[Row]:
    """At most `limit` rows of each class, chosen by seed and key, in their old order."""
    if choice.limit is None:
        return rows
    chosen: Counter[str | None] = Counter()
    kept = set()
    for row in sorted(rows, key=lambda row: blake2b(f"{choice.seed}/{row.key}".encode(), digest_size=16).digest()):
        if chosen[row.label] < choice.limit:
            chosen[row.label] += 1
            kept.add(row.name)
    return [row for row in rows if row.name in kept]


def _catalog(rows: Sequence[Row]) -> Catalog:
    """Rows as a catalog, with names that begin with the class."""
    named = [Row(row.key, name, row.label, row.path) for row, name in zip(rows, names_by_class(rows), strict=True)]
    return Catalog(rows=tuple(named), classes=tuple(sorted({str(row.label) for row in named})))


def _write_split(
    catalog: Catalog, root: Path, split: str, experiment: Experiment, show: Progress
) -> tuple[list[Problem], Mapping[str, int]]:
    """Copy or link the images of a split, and make their LR copies; what cannot be read is in neither.

    Returns why images are not, and how many of the others took what to become RGB.
    """
    hr = root / "hr" / split
    for row in catalog.rows:
        if row.path is None:
            raise CatalogError(f"an experiment is made of files, but {row.name} is none")
        with suppress(ImageError):  # reading it again for its LR copy fails too, and is reported below
            place_file(row, hr / PurePosixPath(row.name), experiment.data.link)
    made = make_lr(catalog, root / "lr" / split, experiment.degradation, progress=show)
    for problem in made.failures:
        (hr / PurePosixPath(problem.name)).unlink(missing_ok=True)
    lost = [Problem(f"{split}/{problem.name}", problem.reason, problem.detail) for problem in made.failures]
    return lost, made.notes


def _drop_equal_copies(root: Path, planned: Mapping[str, Catalog]) -> list[Problem]:
    """Leave out images whose LR copies are equal to one of a later split, though their HR differs.

    A network that sees LR would be measured on what it has learnt. The test images stay, then those of validation.
    """
    seen: dict[ImageKey, Path] = {}
    problems = []
    for split in reversed(SPLITS):
        originals = planned[split].rows
        sources = dict(zip(stems_apart([row.name for row in originals]), originals, strict=True))
        copies = scan(root / "lr" / split).rows
        for copy in copies:
            row = sources[stem_of(copy.name)]
            if copy.key in seen:
                for kind, name in (("hr", row.name), ("lr", copy.name)):
                    (root / kind / split / PurePosixPath(name)).unlink(missing_ok=True)
                detail = f"made small, {row.path} is the same image as {seen[copy.key]}, which is in another split"
                problems.append(Problem(f"{split}/{row.name}", "equal_lr", detail))
        seen = {copy.key: sources[stem_of(copy.name)].path or Path(copy.name) for copy in copies} | seen
    return problems


def _digests(root: Path) -> dict[str, dict[str, str]]:
    """The digest of every catalog of the data folder; empty where one is missing."""
    try:
        return {kind: {name: scan(root / kind / name).digest for name in SPLITS} for kind in ("hr", "lr")}
    except CatalogError:
        return {}


def _counts(catalog: Catalog) -> dict[str, int]:
    counts = Counter(row.label for row in catalog.rows)
    return {name: counts[name] for name in catalog.classes}


def _refuse_leaks(catalogs: Mapping[str, Catalog]) -> None:
    require_no_leaks({name: [(row.key, row.name) for row in catalog.rows] for name, catalog in catalogs.items()})


def _require_classes(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Every split needs images of every class."""
    names = sorted({name for split in counts.values() for name in split})
    empty = [f"{split}/{name}" for split in SPLITS for name in names if not counts[split].get(name)]
    if empty or len(names) < 2:
        raise CatalogError(
            f"an experiment needs two classes at least, and images of each in train, validation and test; classes: "
            f"{listed(names)}; without images: {listed(empty) or 'none'}; give more images, or other data.ratios"
        )
