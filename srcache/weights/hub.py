"""The Hugging Face hub: what its cache on this machine holds, and downloads of what that lacks.

Both are left to the package `huggingface_hub`, so its environment variables hold: HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN, proxies.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcache.errors import DiskFullError, needs_extra
from srcache.files.system_errors import DISK, not_written, number_of
from srcache.weights.manifest import BundlePart, Repository

EXTRA = "seesr"
"""The extra that brings the package."""
_ROOM = 1 << 28
"""Bytes of the disk that stay free."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that a repository has: `size` in bytes, if it says so; `rest` are the repositories to try after it."""

    part: BundlePart
    repository: Repository
    size: int | None
    rest: tuple[Repository, ...]


def in_cache(part: BundlePart) -> tuple[Path, str] | None:
    """A part's file in the hub's cache on this machine, and where it came from; touches no network."""
    if not part.source.repositories:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for repository in part.source.repositories:
        path = try_to_load_from_cache(repository.name, _path(part, repository), revision=repository.revision)
        if isinstance(path, str):
            return Path(path), _origin(repository, Path(path), part)
    return None


class Hub:
    """One round of downloads from the hub.

    It remembers which repositories cannot be used, and whether the hub answers at all, so that it waits for each once.

    Raises:
        MissingExtraError: the package huggingface_hub is not installed.
    """

    def __init__(self) -> None:
        with needs_extra("huggingface_hub", EXTRA, "fetching weights from the Hugging Face hub"):
            import huggingface_hub
        self._hub: Any = huggingface_hub
        self._gone: dict[Repository, str] = {}
        self._silent = ""

    def offer(self, part: BundlePart, reasons: list[str]) -> Offer | None:
        """The first repository that has a part; why the others do not goes into `reasons`."""
        for place, repository in enumerate(part.source.repositories):
            found = self._ask(part, repository, reasons, dry_run=True)
            if found is not None:
                return Offer(part, repository, found.file_size, part.source.repositories[place + 1 :])
        return None

    def download(self, offer: Offer, reasons: list[str]) -> bool:
        """Bring a file into the hub's cache, from the repository that offered it or from those after it."""
        for repository in (offer.repository, *offer.rest):
            if self._ask(offer.part, repository, reasons) is not None:
                return True
        return False

    def require_room(self, offers: Sequence[Offer]) -> None:
        """Refuse to begin what the disk cannot hold.

        Raises:
            DiskFullError: it cannot.
        """
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
        there = next(folder for folder in (cache, *cache.parents) if folder.exists())
        needed, free = sum(offer.size or 0 for offer in offers), shutil.disk_usage(there).free
        if needed and needed + _ROOM > free:
            raise DiskFullError(
                f"{needed >> 20} MiB are to be downloaded to {cache}, but only {free >> 20} MiB are free; make room, "
                "or set HF_HOME to a folder on another disk, and run the same command again"
            )

    def _ask(self, part: BundlePart, repository: Repository, reasons: list[str], **words: Any) -> Any:
        gone = self._silent or self._gone.get(repository)
        if gone:
            reasons.append(f"{repository}: {gone}")
            return None
        path = _path(part, repository)
        try:
            return self._hub.hf_hub_download(repository.name, path, revision=repository.revision, **words)
        except Exception as error:  # the hub, a proxy or a cut line may break in many ways; the next repository may not
            if (disk := _disk_error(error)) is not None:
                raise not_written(disk, self._hub.constants.HF_HUB_CACHE) from error
            reasons.append(f"{repository}: {self._reason(error, repository, path)}")
            return None

    def _reason(self, error: Exception, repository: Repository, path: str) -> str:
        """Why a file did not come; what concerns all files, or all repositories, is remembered."""
        errors = self._hub.errors
        if isinstance(error, errors.LocalEntryNotFoundError) and not _is_answer(error.__cause__):
            self._silent = "not asked, HF_HUB_OFFLINE is set" if _is_offline() else "the hub could not be reached"
            return self._silent
        lasting: list[tuple[type[Exception], str]] = [
            (errors.GatedRepoError, "asks for consent: agree on its page, then log in with `hf auth login`"),
            (errors.RepositoryNotFoundError, "is not there, or is private"),
            (errors.RevisionNotFoundError, "has no such revision"),
        ]
        for kind, words in lasting:
            if isinstance(error, kind):
                return self._gone.setdefault(repository, words)
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return f"has no {path}"
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
        return f"{path} did not come: {next(iter(str(cause).splitlines()), type(cause).__name__)}"


def _disk_error(error: BaseException | None) -> OSError | None:
    """The disk's error that a download ended by, if it did."""
    while error is not None:
        number = number_of(error)
        if number in DISK:
            return OSError(number, os.strerror(number))
        error = error.__cause__ or error.__context__
    return None


def _is_answer(error: BaseException | None) -> bool:
    """Whether a server answered, if only with an error."""
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError

    return isinstance(error, HfHubHTTPError | FileMetadataError)


def _is_offline() -> bool:
    from huggingface_hub.constants import is_offline_mode

    return bool(is_offline_mode())


def _path(part: BundlePart, repository: Repository) -> str:
    return f"{repository.folder}/{part.path}" if repository.folder else part.path


def _origin(repository: Repository, path: Path, part: BundlePart) -> str:
    commit = path.parents[_path(part, repository).count("/")].name
    return f"{repository.name}@{commit}"
