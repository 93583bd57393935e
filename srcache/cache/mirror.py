"""A cache below a URL, as a folder of this machine that mirrors it: all of its small files, and where its shards lie.

    MIRROR/…                        as a cache on a disk; see `srcache.cache.manifest`
    MIRROR/RECIPE/data.shards/      stands for the shards below the URL
    MIRROR/.synced.json             of each small file, the version below the URL and the one here that are the same

What is below the URL has the same names as a cache on a disk, so either may be copied into the other. A mirror may be
deleted at any time; the spool beside it must not, for it holds what is not uploaded yet.

No update is lost: a file is written once (receipts, catalogs, recipes), or by one process only, which replaces it
(its journal of failures). A file that was changed here and not uploaded yet is never replaced by what is below the URL,
and the next process of this machine uploads it.
"""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from srcache.errors import CacheError
from srcache.files import brief_lock, disk_errors, user_folder, write_atomic
from srcache.files.documents import parse_json
from srcache.files.objects import ObjectFolder, ObjectInfo, object_folder
from srcache.files.urls import checked_url, local_name

_SYNCED = ".synced.json"
_AT_ONCE = 16
_RECIPE = r"[A-Za-z0-9][\w.+-]*-[0-9a-f]{16}"
_NEEDED = re.compile(rf"srcache\.json|{_RECIPE}/(recipe\.yaml|safety\.(csv|json))", re.ASCII)
_NOTES = re.compile(
    rf"catalogs/[0-9a-f]{{32}}\.csv|{_RECIPE}/(receipts/[\w-]+\.json|failures(/[\w-]+)?\.jsonl)", re.ASCII
)
_REPLACED = re.compile(r".*/(failures(/[\w-]+)?\.jsonl|safety\.(csv|json))")
"""Files that are not written once and for all."""


class _Version(NamedTuple):
    """Which version of a file is where: the stamp of the object, and size and mtime of the file."""

    stamp: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Mirror:
    """The folder that mirrors a cache below a URL.

    Attributes:
        url: of the cache.
        path: the folder.
        spool: where shards are written that are not uploaded yet, a folder for each recipe.
    """

    url: str
    path: Path
    spool: Path

    @property
    def objects(self) -> ObjectFolder:
        """What is below the URL."""
        return object_folder(self.url)

    def require_shared(self, what: str) -> None:
        """Refuse what another process would have to see, where none can.

        Raises:
            CacheError: what is below the URL is seen by this process only.
        """
        if self.url.startswith("memory://"):
            raise CacheError(f"{self.url} is seen by the process only that made it, but srcache {what}; use a folder")

    def pull(self, *, notes: bool = True) -> bool:
        """Bring the folder up to date, by one listing and a request for each small file that is new.

        Args:
            notes: catalogs, receipts and failures too, which training does not need.

        Returns:
            Whether there is anything below the URL.

        Raises:
            MachineError: the service does not answer, or refuses.
        """
        listing = self.objects.listing()
        there = {name: info for name, info in listing.items() if _NEEDED.fullmatch(name) or _NOTES.fullmatch(name)}
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with brief_lock(self.path):
            known = self._synced()
            self._forget(known, there)
            wanted = [name for name in there if notes or _NEEDED.fullmatch(name)]
            fresh = [name for name in wanted if self._is_old(name, there[name], known.get(name))]
            with ThreadPoolExecutor(min(_AT_ONCE, len(fresh) or 1)) as pool:
                list(pool.map(self._fetch, fresh))
            known |= {name: version for name in fresh if (version := self._version(name, there[name].stamp))}
            self._note(known)
        return any(not name.rpartition("/")[2].startswith(".") for name in listing)

    def push(self) -> None:
        """Upload the small files that were made or changed here.

        Raises:
            MachineError: the service does not answer, or refuses; the files stay, and the next process tries again.
        """
        known, done = self._synced(), dict[str, _Version]()
        for name in self._files():
            version = self._version(name, known[name].stamp if name in known else "")
            if version is None or version == known.get(name):
                continue
            data = (self.path / name).read_bytes()
            stamp = self.objects.put(name, data, replace=_REPLACED.fullmatch(name) is not None)
            done[name] = version._replace(stamp=stamp)
        if done:
            with brief_lock(self.path):
                self._note({**self._synced(), **done})

    def delete(self, below: str) -> None:
        """Delete everything below a folder's name, or one file: first what makes others see it, then the rest.

        Raises:
            MachineError: the service does not answer, or refuses.
        """
        names = [name for name in self.objects.listing() if name == below or name.startswith(f"{below}/")]
        self.objects.delete(sorted(names, key=lambda name: (not name.endswith("/recipe.yaml"), name)))
        for place in (self.spool / below, self.path / below):
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            elif place.exists():
                place.unlink(missing_ok=True)

    def size(self, below: str = "") -> int:
        """The bytes of all objects below a folder's name, or of one; of everything if it is empty."""
        found = self.objects.listing(most_age=1)
        return sum(
            info.size for name, info in found.items() if not below or name == below or name.startswith(f"{below}/")
        )

    def _files(self) -> Iterator[str]:
        for file in sorted(self.path.glob("**/*")):
            name = file.relative_to(self.path).as_posix()
            if (_NEEDED.fullmatch(name) or _NOTES.fullmatch(name)) and file.is_file():
                yield name

    def _version(self, name: str, stamp: str) -> _Version | None:
        with suppress(FileNotFoundError):
            status = (self.path / name).stat()
            return _Version(stamp, status.st_size, status.st_mtime_ns)
        return None

    def _is_old(self, name: str, info: ObjectInfo, known: _Version | None) -> bool:
        here = self._version(name, known.stamp if known else "")
        if here is None:
            return True
        return known is not None and known == here and known.stamp != info.stamp

    def _fetch(self, name: str) -> None:
        write_atomic(self.path / name, self.objects.read(name), sync=False)

    def _forget(self, known: dict[str, _Version], there: dict[str, ObjectInfo]) -> None:
        """Delete what is no longer below the URL, but for what was changed here since."""
        for name in [name for name in known if name not in there]:
            if known[name] == self._version(name, known.pop(name).stamp):
                (self.path / name).unlink(missing_ok=True)
        for store in self.path.glob("*/data.*"):
            if not (store.parent / "recipe.yaml").exists() and f"{store.parent.name}/recipe.yaml" not in there:
                shutil.rmtree(store.parent, ignore_errors=True)

    def _synced(self) -> dict[str, _Version]:
        try:
            said = parse_json((self.path / _SYNCED).read_bytes())
            return {
                str(name): _Version(str(stamp), int(size), int(mtime)) for name, (stamp, size, mtime) in said.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):  # everything is compared or fetched anew
            return {}

    def _note(self, known: dict[str, _Version]) -> None:
        write_atomic(self.path / _SYNCED, json.dumps(known), sync=False)


def mirror_of(url: str, spool: Path | None = None) -> Mirror:
    """The mirror of a cache below a URL; nothing is made or asked yet.

    Args:
        url: of the cache.
        spool: a folder to keep mirror and spool in; None: the user's own.

    Raises:
        ConfigError: it is no URL of a folder, or holds a password.
    """
    url = checked_url(url)
    home = (spool if spool is not None else user_folder() / "remote").absolute() / local_name(url)
    return Mirror(url, home / "mirror", home / "spool")
