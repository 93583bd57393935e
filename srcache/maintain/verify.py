"""`srcache verify`: every byte of a cache compared with what was written."""

from dataclasses import dataclass
from pathlib import Path

from srcache.cache.failures import readable_journals
from srcache.cache.manifest import open_cache
from srcache.cache.receipts import readable_catalogs, readable_receipts
from srcache.errors import DamagedError, MachineError
from srcache.maintain.check_process import Finding, Scan, check, damage_findings
from srcache.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` checked, and what it found.

    `absent` counts entries that were asked for but are not there, and `repeated` names that stand in two shards, for
    writers side by side both made them; the lowest shard wins. Neither is damage.
    """

    path: Path | str
    recipes: tuple[str, ...]
    entries: int
    bytes: int
    absent: int
    repeated: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every byte is as it was written."""
        return not self.findings


def verify(path: str | Path, recipe: str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Check every byte of a cache, or of one recipe in it: entries, aliases, recipes, receipts, journals, catalogs.

    Of a cache below a URL, every shard is fetched anew, whatever copies this machine has.

    Raises:
        CacheError: the folder is no cache, or holds no such recipe.
        MachineError: a recipe could not be checked, and with the others nothing is wrong.
    """
    cache = open_cache(path)
    if cache.mirror is not None:
        cache.mirror.require_shared("checks a cache in another process")
    homes = cache.paths() if recipe is None else [cache.path_of(recipe)]
    findings = damage_findings(cache, readable_catalogs(cache)[1])
    scans, undone = list[Scan](), list[tuple[Path, MachineError]]()
    for home in homes:
        findings += damage_findings(cache, readable_receipts(home)[1] | readable_journals(home))
        try:
            folder = cache.folder(home)
            scans.append(check(folder, progress))
        except DamagedError as error:
            findings += damage_findings(cache, {home / "recipe.yaml": error})
            continue
        except MachineError as error:
            undone.append((home, error))
            continue
        if not scans[-1].begun and any(receipt["added"] for receipt in readable_receipts(home)[0].values()):
            findings += damage_findings(
                cache, {folder.store_path: DamagedError("runs filled this store, but it is gone")}
            )
    findings += [finding for scan in scans for finding in scan.findings]
    if undone and not findings:
        raise undone[0][1]
    findings += [Finding(home.name, "", "unchecked", str(error)) for home, error in undone]
    return VerifyReport(
        path=cache.place,
        recipes=tuple(home.name for home in homes),
        entries=sum(scan.entries for scan in scans),
        bytes=sum(scan.bytes for scan in scans),
        absent=sum(scan.absent for scan in scans),
        repeated=sum(scan.repeated for scan in scans),
        findings=tuple(findings),
    )
