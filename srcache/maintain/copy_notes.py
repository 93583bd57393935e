"""What a recipe's folder holds beside its images, copied into another cache's: receipts, failures, label safety.

Everything here may be copied again without a change: receipts have names of their own, failures count as often as they
were tried, and a table of label safety is taken only where there is none.
"""

from collections.abc import Sequence
from pathlib import Path

from srcache.cache.failures import FailedEntry
from srcache.cache.manifest import Cache, RecipeFolder
from srcache.cache.receipts import readable_catalogs, readable_receipts
from srcache.errors import DamagedError
from srcache.files import write_atomic

SAFETY = ("safety.json", "safety.csv")
"""How label safety was measured, and what was measured, in the order in which they are written."""


def copy_catalogs(source: Cache, target: Cache) -> list[FailedEntry]:
    """Keep a cache's catalogs in another one; returns those that cannot be read."""
    catalogs, damaged = readable_catalogs(source)
    files = source.catalogs()
    for catalog in catalogs:
        target.keep_catalog(catalog.digest, files[catalog.digest].read_bytes().decode())
    return [_unread(path, error) for path, error in damaged.items()]


def copy_notes(source: RecipeFolder, target: RecipeFolder) -> list[FailedEntry]:
    """Copy receipts, and failures as often as they were tried; returns the receipts that cannot be read."""
    receipts, damaged = readable_receipts(source.path)
    for name in receipts:
        copy = target.path / "receipts" / name
        if not copy.exists():
            write_atomic(copy, (source.path / "receipts" / name).read_bytes())
    known = target.failures()
    for name, failed in source.failures().items():
        tried = known[name].tries if name in known else 0
        for _ in range(failed.tries - tried):
            target.note_failure(failed)
    return [_unread(path, error) for path, error in damaged.items()]


def copy_safety(sources: Sequence[RecipeFolder], target: RecipeFolder, conflicts: bool) -> str | None:
    """Take over the table of label safety that the sources agree about; returns a sentence if it was not taken.

    A source without a table has no say, and the target's own table stays. Where there were conflicts, a source's table
    may speak of other pixels than those that are there.
    """
    own, theirs = _safety_of(target), {folder.path: found for folder in sources if (found := _safety_of(folder))}
    if not theirs or set(theirs.values()) == {own}:
        return None
    holders = ", ".join(map(str, theirs))
    again = "`srcache safety` measures anew"
    if own:
        return f"label safety was measured differently in {holders}; the table of {target.path} stays, and {again}"
    if len(set(theirs.values())) > 1:
        return f"label safety was measured differently in {holders}; no table was copied, and {again}"
    if conflicts:
        return f"the table of label safety in {holders} was not copied, because of the conflicts; {again}"
    for name, data in zip(SAFETY, next(iter(theirs.values())), strict=True):
        write_atomic(target.path / name, data)
    return None


def _safety_of(folder: RecipeFolder) -> tuple[bytes, ...]:
    """The bytes of both files; empty where one is missing."""
    files = [folder.path / name for name in SAFETY]
    return tuple(file.read_bytes() for file in files) if all(file.is_file() for file in files) else ()


def _unread(path: Path, error: DamagedError) -> FailedEntry:
    return FailedEntry("", str(path), "damaged", str(error))
