"""The files of a comparison: one JSON document, a confusion matrix for each classifier, a CSV for each pair.

    compare.json                schema srcache.compare/1; with several seeds that of the first, and `seeds` beside it
    confusion-NAME.png
    discordant-FIRST-SECOND.csv the images on which one alone is right: name, label, who, and what each predicted

Names become file names letter by letter: what is not a letter, a digit, `.`, `_` or `-` turns into `_`.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srcache.files import csv_text, write_atomic
from srcache.study.compare.confusion_plot import draw_confusion
from srcache.study.compare.pairwise import ArmPair
from srcache.study.compare.predictions import JoinedPredictions
from srcache.study.compare.seeds import SeedComparison


def plain(found: SeedComparison) -> dict[str, Any]:
    """The document compare.json: the first seed's comparison, with `seeds` (None if there is one only) beside it."""
    return {**found.comparisons[0].plain(), "seeds": found.plain() if found.seeds > 1 else None}


def write_comparison(folder: Path, found: SeedComparison, joined: JoinedPredictions) -> tuple[Path, ...]:
    """Write all files of a comparison (of the first seed, whose predictions are `joined`); returns their paths.

    Raises:
        DiskFullError: no room, or no permission.
        MissingExtraError: matplotlib is not installed.
    """
    first = found.comparisons[0]
    files = {"compare.json": json.dumps(plain(found), indent=2, ensure_ascii=False, allow_nan=False).encode()}
    slugs = _slugs(one.name for one in first.classifiers)
    for one in first.classifiers:
        title = f"{one.name}: right on {one.right} of {one.images} images"
        files[f"confusion-{slugs[one.name]}.png"] = draw_confusion(one.confusion, first.classes, title)
    for pair in first.pairs:
        name = f"discordant-{slugs[pair.first]}-{slugs[pair.second]}.csv"
        files[name] = _discordants(pair, joined).encode()
    for name, data in files.items():
        write_atomic(folder / name, data)
    return tuple(folder / name for name in files)


def _discordants(pair: ArmPair, joined: JoinedPredictions) -> str:
    rows_of = {name: {row.name: row for row in joined.classifiers[name].rows} for name in (pair.first, pair.second)}
    lines = [["name", "label", "right", *(f"prediction {name}" for name in (pair.first, pair.second))]]
    for who, names in ((pair.first, pair.names_first_only), (pair.second, pair.names_second_only)):
        for name in names:
            rows = [rows_of[arm][name] for arm in (pair.first, pair.second)]
            lines.append([name, str(rows[0].label or ""), who, *(row.prediction for row in rows)])
    return csv_text(lines)


def _slugs(names: Iterable[str]) -> dict[str, str]:
    """A file name's part for each name; different ones for different names, also where case does not count."""
    slugs = dict[str, str]()
    taken = set[str]()
    for name in names:
        plain_name = re.sub(r"[^\w.-]|\.(?=\.)", "_", name)[:60].strip(".") or "_"
        slug, number = plain_name, 2
        while slug.casefold() in taken:
            slug, number = f"{plain_name}_{number}", number + 1
        taken.add(slug.casefold())
        slugs[name] = slug
    return slugs
