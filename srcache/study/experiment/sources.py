"""The images that an experiment names, listed and counted without reading one of them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from srcache.catalog.listing import Listing, list_csv, list_folder
from srcache.errors import CatalogError, ConfigError, Mistakes, listed
from srcache.study.experiment.config import DataChoice
from srcache.study.prepare.stratify import SPLITS, exact_shares, quotas
from srcache.wording import counted


def named_folders(choice: DataChoice) -> dict[str, str]:
    """The folders of images, or CSV files, that an experiment names: `hr`, or one for each split."""
    named = {"hr": choice.hr, "train": choice.train, "validation": choice.validation, "test": choice.test}
    return {name: path for name, path in named.items() if path is not None}


def list_source(path: Path) -> Listing:
    """The images below a folder, or of a CSV file.

    Raises:
        CatalogError: neither, or mistakes in the file.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        return list_csv(path)
    if not path.is_dir():
        what = "is another kind of file" if path.exists() else "does not exist"
        raise CatalogError(f"expected a folder with a folder for each class, but {path} {what}")
    return list_folder(path)


def count_images(choice: DataChoice, sources: Mapping[str, Listing]) -> dict[str, Counter[str]]:
    """How many images of each class every split would get, if all of them can be read."""
    found = {split: Counter[str]() for split in SPLITS}
    for name, listing in sources.items():
        labels = Counter(str(file.label) for file in listing.files)
        for label, size in labels.items():
            if name == "hr":
                parts = dict(zip(SPLITS, quotas(size, exact_shares(choice.ratios)), strict=True))
            else:
                parts = {name: size}
            for split, count in parts.items():
                found[split][label] += count if choice.limit is None else min(count, choice.limit)
    return found


def note_mistakes(choice: DataChoice, mistakes: Mistakes) -> dict[str, Listing]:
    """Note what is wrong with the folders of an experiment on folders; returns what they hold."""
    sources = {}
    for name, path in named_folders(choice).items():
        before = len(mistakes.found)
        with mistakes.noting(f"data.{name}: "):
            sources[name] = found = list_source(Path(path))
            if not found.files:
                raise ConfigError(f"there is no image below {path}")
            if not found.classes:
                why = f"; {found.unclassed}" if found.unclassed else ""
                raise ConfigError(f"an experiment needs a folder for each class, but {path} has none{why}")
        if len(mistakes.found) > before:
            sources.pop(name, None)
    if len(sources) == len(named_folders(choice)):
        _note_classes(choice, count_images(choice, sources), mistakes)
    return sources


def _note_classes(choice: DataChoice, counts: Mapping[str, Counter[str]], mistakes: Mistakes) -> None:
    """Note classes that cannot be told apart, or measured."""
    names = sorted({label for split in counts.values() for label in split})
    if len(names) < 2:
        mistakes.note(f"data: an experiment needs two classes at least, but there is only {listed(names)}")
    for label in names:
        empty = [split for split in SPLITS if not counts[split][label]]
        have = counted(sum(split[label] for split in counts.values()), "image")
        shares = f" by the ratios {', '.join(map(str, choice.ratios))}" if choice.hr is not None else ""
        mistakes.require(not empty, f"data: class {label} has {have}, so none for {' and '.join(empty)}{shares}")
