"""What a cache was asked for: the catalogs and receipts that it keeps, read so that a damaged one hides no other."""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from srcache.cache.manifest import Cache, RecipeFolder
from srcache.catalog.parts import Part
from srcache.errors import CacheError, ConfigError, DamagedError
from srcache.files.documents import Shape, parse_json
from srcache.files.folders import paths_in
from srcache.files.system_errors import reading
from srcache.keys import ImageKey, entry_name, is_key
from srcache.stores import Store

_COLUMNS = ["key", "name", "label"]
_RECEIPT: Shape = {
    "catalog": str,
    "samples": int,
    "added": int,
    "failed": {...: int},
    "seconds": float,
    "device": (str, type(None)),
    "interrupted": bool,
}
"""What is read of a receipt; there is more in it."""

_MOST_SAMPLES = 1000
"""What names of entries have room for."""


class KeptRow(NamedTuple):
    """One image of a kept catalog; the label is empty where there is none."""

    key: ImageKey
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class KeptCatalog:
    """A catalog as a cache keeps it."""

    digest: str
    rows: tuple[KeptRow, ...]

    @property
    def keys(self) -> set[ImageKey]:
        """The different images in it."""
        return {row.key for row in self.rows}


def store_of(folder: RecipeFolder) -> Store | None:
    """A recipe's store; None where nothing was built yet."""
    try:
        return folder.store()
    except CacheError:
        return None


def read_kept(path: Path) -> KeptCatalog:
    """Read one kept catalog, and compare it with the digest that it is named by.

    Raises:
        DamagedError: it is not what was written.
    """
    try:
        with reading(path):
            data = path.read_bytes()
        table = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{path} cannot be read: {error}; `srcache repair` sets it aside") from error
    found = blake2b(data, digest_size=16).hexdigest()
    valid = table[:1] == [_COLUMNS] and all(len(cells) == 3 and is_key(cells[0]) for cells in table[1:])
    if found != path.stem or not valid:
        raise DamagedError(f"{path} is not what was written (its digest is {found}); `srcache repair` sets it aside")
    return KeptCatalog(path.stem, tuple(KeptRow(ImageKey(key), name, label) for key, name, label in table[1:]))


def readable_catalogs(cache: Cache) -> tuple[list[KeptCatalog], dict[Path, DamagedError]]:
    """The kept catalogs that can be read, by digest, and what is wrong with each of the others."""
    found, damaged = list[KeptCatalog](), dict[Path, DamagedError]()
    for path in cache.catalogs().values():
        try:
            found.append(read_kept(path))
        except DamagedError as error:
            damaged[path] = error
    return found, damaged


def readable_receipts(home: Path) -> tuple[dict[str, dict[str, Any]], dict[Path, DamagedError]]:
    """The receipts of a recipe's folder that can be read, by file name (oldest first), and what ails the others."""
    found, damaged = dict[str, dict[str, Any]](), dict[Path, DamagedError]()
    for path in paths_in(home / "receipts", "*.json"):
        try:
            with reading(path):
                found[path.name] = _receipt(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged[path] = DamagedError(f"{path} is not a receipt ({error!r}); `srcache repair` sets it aside")
    return found, damaged


def _receipt(path: Path) -> dict[str, Any]:
    receipt: dict[str, Any] = parse_json(path.read_bytes(), _RECEIPT)
    if not 0 < receipt["samples"] <= _MOST_SAMPLES:
        raise ValueError("numbers that cannot be")
    return receipt


def asked_for(home: Path) -> dict[str, int]:
    """The catalogs that a recipe's runs were asked for, the latest last: digest → most samples per image.

    A run that was killed leaves no receipt, and is not known here; one of `serve` was asked for single images.
    """
    found: dict[str, int] = {}
    for receipt in readable_receipts(home)[0].values():
        if digest := receipt["catalog"]:
            found[digest] = max(receipt["samples"], found.pop(digest, 1))
    return found


def parts_asked_for(home: Path) -> dict[str, int]:
    """The catalogs of which a recipe's latest run was asked for a part: digest → how many parts there are."""
    found: dict[str, int] = {}
    for receipt in readable_receipts(home)[0].values():
        found.pop(receipt["catalog"], None)
        with suppress(ConfigError):
            found[receipt["catalog"]] = Part.parse(str(receipt.get("part"))).count
    return found


def wanted_names(home: Path, catalogs: Iterable[KeptCatalog]) -> Iterator[str]:
    """The names of all entries that a recipe's runs were asked for; images in several catalogs come several times."""
    samples = asked_for(home)
    for catalog in catalogs:
        for key in catalog.keys:
            yield from (entry_name(key, sample) for sample in range(samples.get(catalog.digest, 0)))
