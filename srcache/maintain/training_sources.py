"""Where the LR and HR images of training shards lie, and that each is the right one: wrong pairs are worse than none.

A cache knows its source images by key and name, but not where they are. The user says in which folder, and every file
is compared with its key before anything is written. Without a degradation the source images are LR, and HR images are
paired with them by relative name without suffix; with one they are HR, and LR is made of them as `build` made it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from srcache.cache.failures import FailedEntry
from srcache.cache.receipts import KeptRow
from srcache.catalog.pairing import hr_candidates
from srcache.errors import CacheError, CatalogError, ImageError
from srcache.images import Colors, plain_suffix, read_file, suffix_of
from srcache.keys import image_key
from srcache.maintain.ahead import work_ahead
from srcache.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample to be written: its row of the catalog, its class, and its files.

    Attributes:
        number: the class's; -1 where there is none.
        source: the image that SR was made of, if it goes into the shards.
        hr: an HR image beside it, if there is one.
    """

    row: KeptRow
    number: int = -1
    source: Path | None = None
    hr: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """Samples whose files are right, why others are not, and the suffix that each kind of member has."""

    samples: tuple[Sample, ...]
    failures: tuple[FailedEntry, ...]
    suffixes: dict[str, str]


def require_roles(recipe: Recipe, lr: Path | None, hr: Path | None) -> None:
    """Refuse a folder of LR images where the recipe makes LR, and what is no folder.

    Raises:
        CacheError: with what to do instead.
    """
    if recipe.degradation is not None and lr is not None:
        raise CacheError(
            f"the recipe makes LR of its source images ({recipe.degradation}), which therefore are HR; "
            "name their folder with --hr (hr=), and leave --lr (lr=) out"
        )
    for folder in (lr, hr):
        if folder is not None and not folder.is_dir():
            raise CacheError(f"expected a folder of images, but {folder} is none")


def survey(
    samples: Sequence[Sample],
    recipe: Recipe,
    lr: Path | None,
    hr: Path | None,
    step: Callable[[int, int], None],
) -> Surveyed:
    """Find and check the files of samples.

    Members of one kind have one suffix in all samples, for `datasets` refuses others: that of the files if all are
    JPEG, all PNG or all WebP files that every program decodes alike; else `.png`, which the others are made into.

    Raises:
        CatalogError: not one image is where it should be, or a name stands for several HR images.
    """
    degrades = recipe.degradation is not None
    base, pairs = (hr, None) if degrades else (lr, hr)
    located = [replace(one, source=base / one.row.name if base else None) for one in samples]
    if pairs is not None:
        found = hr_candidates([one.row.name for one in samples], pairs)
        located = [replace(one, hr=path) for one, path in zip(located, found, strict=True)]
    looks = work_ahead(lambda one: _look(one, pairs is not None, recipe.colors), located if base or pairs else [])
    good, failures, kinds = list[Sample](), list[FailedEntry](), (Counter[str](), Counter[str]())
    for done, look in enumerate(looks, start=1):
        step(done, len(located))
        if isinstance(look, FailedEntry):
            failures.append(look)
            continue
        good.append(located[done - 1])
        for kind, suffix in zip(kinds, look, strict=True):
            kind.update([suffix] if suffix else [])
    if not (base or pairs):
        good = located
    _require_some(good, failures, [folder for folder in (base, pairs) if folder])
    suffixes = _suffixes(degrades, base is not None, pairs is not None, kinds)
    return Surveyed(samples=tuple(good), failures=tuple(failures), suffixes=suffixes)


def _suffixes(degrades: bool, base: bool, pairs: bool, kinds: tuple[Counter[str], Counter[str]]) -> dict[str, str]:
    """Members → their suffix."""
    if degrades:
        return {"lr": ".png", "hr": _common(kinds[0])} if base else {}
    own = {"lr": _common(kinds[0])} if base else {}
    return {**own, "hr": _common(kinds[1])} if pairs else own


def _common(kinds: Counter[str]) -> str:
    return next(iter(kinds)) if len(kinds) == 1 else ".png"


def _look(sample: Sample, paired: bool, colors: Colors) -> tuple[str | None, str | None] | FailedEntry:
    """The suffixes with which a sample's files may be copied; or why it cannot be used."""
    source = pair = None
    try:
        if sample.source is not None:
            source = _suffix(source_bytes(sample), colors)
        if paired:
            if sample.hr is None:
                return _failed(sample, "no_hr", "there is no HR image of its name")
            pair = _suffix(read_file(sample.hr), colors)
    except ImageError as error:
        return _failed(sample, error.reason, str(error))
    return source, pair


def source_bytes(sample: Sample) -> bytes:
    """The bytes of a sample's source image.

    Raises:
        ImageError: there is no such file (`missing`), or another one than the catalog names (`changed`).
    """
    path = sample.source
    if path is None or not path.exists():
        raise ImageError("missing", f"{path} is not there")
    data = read_file(path)
    if image_key(data) != sample.row.key:
        raise ImageError("changed", f"{path} is not the image that the cache was built from (it has another key)")
    return data


def _suffix(data: bytes, colors: Colors) -> str:
    """The suffix with which a file may be copied as it is; `.png` if its pixels must be written anew.

    A PNG is not looked into: written anew, it has the same suffix.
    """
    return ".png" if suffix_of(data) == ".png" else plain_suffix(data, colors) or ".png"


def _require_some(good: Sequence[Sample], failures: Sequence[FailedEntry], folders: Sequence[Path]) -> None:
    if failures and not good:
        reasons = Counter(failed.reason for failed in failures)
        words = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        where = " and ".join(map(str, folders))
        raise CatalogError(
            f"no image of the catalog can be taken from {where} ({words}; the first: {failures[0].detail}); "
            "name the folder that `build` was given, and the one that has its HR images"
        )


def _failed(sample: Sample, reason: str, detail: str) -> FailedEntry:
    return FailedEntry("", sample.row.name, reason, detail)
