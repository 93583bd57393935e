"""Every error that srcache raises on purpose, and the exit code that the command line gives it.

    SrcacheError
    ├── ConfigError            2   the caller asked for something that cannot be
    │   ├── RecipeError            a recipe's field, or a file that should hold one
    │   ├── PolicyError            a policy's text
    │   ├── CatalogError           the images handed over are not what was expected
    │   ├── EngineError            no such engine, or options that it does not take
    │   └── CacheError             no such cache, recipe or entry; or a folder that is no cache
    ├── ImageError             1   one image cannot be used; carries a `reason`
    ├── ImagesError            1   several images cannot be used, all of which the work needs; carries `failures`
    ├── MissError              1   a training loop asked for a variant that the cache lacks
    ├── ConformanceError       1   a plug-in breaks a promise of its interface
    ├── DamagedError           3   bytes on disk are not what was written
    │   └── ChecksumError          one image's bytes are not those of its checksum
    └── MachineError           4   the machine failed (disk, device, network), not the data
        ├── DiskFullError
        ├── BusyError              another process holds the lock
        ├── DeviceError            the accelerator is gone
        ├── WeightsError           a checkpoint is not here, or cannot be used
        ├── ServiceError           an SR service refuses, or answers something else than it was asked for
        │   └── UnavailableError       it does not answer, or has no room
        └── MissingExtraError      an optional package is not installed

A message says what was expected, what was got, and what to do.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOLCK})
"""The system's numbers of errors by which a limit of the process or the machine is in the way: they say nothing about
one file. What all other numbers mean is in `srcache.files.system_errors`."""


class SrcacheError(Exception):
    """The base class of all of srcache's errors; `exit_code` is what the command line ends with."""

    exit_code = 70


class ConfigError(SrcacheError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class RecipeError(ConfigError):
    """A recipe whose images cannot be made."""


class PolicyError(ConfigError):
    """A policy that cannot be read, or that asks for what is not there."""


class CatalogError(ConfigError):
    """Images or labels that are not what was expected."""


class EngineError(ConfigError):
    """No such engine, or settings that it does not take."""


class CacheError(ConfigError):
    """No such cache, recipe or entry."""


class ImageError(SrcacheError):
    """One image cannot be used. `reason` is one word of a small vocabulary, for counting.

    A DataLoader raises an error of its workers again from the text alone, so a lone text is the detail.
    """

    exit_code = 1

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason if detail is None else detail)
        self.reason = "unreadable" if detail is None else reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class ImagesError(SrcacheError):
    """Images cannot be used, and the work makes no sense without them. `failures` lists all, the message the first."""

    exit_code = 1

    def __init__(self, message: str, failures: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)

    def __reduce__(self) -> tuple[type["ImagesError"], tuple[str, tuple[object, ...]]]:
        return type(self), (str(self), self.failures)


class MissError(SrcacheError):
    """A variant that a training loop asked for is not in the cache."""

    exit_code = 1


class ConformanceError(SrcacheError):
    """A plug-in breaks promises of its interface; the message lists every one."""

    exit_code = 1


class DamagedError(SrcacheError):
    """Bytes on disk are not what was written."""

    exit_code = 3


class ChecksumError(DamagedError):
    """The bytes of one stored image are not those that its checksum was taken of."""


class MachineError(SrcacheError):
    """The machine failed, not the data: disk, device, network, another process, a missing package."""

    exit_code = 4


class DiskFullError(MachineError):
    """No room, or no permission, to write."""


class BusyError(MachineError):
    """Another process holds the lock."""


class DeviceError(MachineError):
    """The accelerator is gone or never was there."""


class WeightsError(MachineError):
    """A checkpoint is not on this machine, or cannot be used."""


class ServiceError(MachineError):
    """An SR service refuses, or what it answers is not what it was asked for."""


class UnavailableError(ServiceError):
    """An SR service does not answer, or has no room now."""


class MissingExtraError(MachineError):
    """An optional package is not installed; the message names the command that installs it.

    Args:
        package: the missing package, by the name under which pip installs it.
        extra: the extra of srcache that brings it; None for a package that is installed by its own name.
        purpose: what it is needed for; the message begins with it.
    """

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        advice = extra_advice(extra) if extra else f"run: pip install {package}"
        super().__init__(f"{purpose} needs {package}, which is not installed; {advice}")
        self._args = (package, extra, purpose)

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str | None, str]]:
        return type(self), self._args


def extra_command(extra: str) -> str:
    """The command that installs an extra, given where srcache was cloned to; srcache is on no package index."""
    return f"pip install '.[{extra}]'"


def extra_advice(extra: str) -> str:
    """What to do where an extra is missing, for a message."""
    return f"run, in a clone of srcache: {extra_command(extra)}"


@contextmanager
def needs_extra(package: str, extra: str | None, purpose: str) -> Iterator[None]:
    """Around the import of an optional package: `with needs_extra("scipy", "eval", "a test"): from scipy import stats`.

    Args:
        package, extra, purpose: as `MissingExtraError` takes them.

    Raises:
        MissingExtraError: the import failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(package, extra, purpose) from error


class Mistakes:
    """Collects the mistakes in what a user wrote (a file, options), so that one error can list all of them.

    Attributes:
        found: one sentence per mistake, in the order in which they were noted.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def note(self, mistake: str) -> None:
        """Add a mistake."""
        self.found.append(mistake)

    def require(self, good: object, mistake: str) -> None:
        """Add a mistake unless `good` is true."""
        if not good:
            self.found.append(mistake)

    @contextmanager
    def noting(self, where: str = "") -> Iterator[None]:
        """Around code that may find a mistake: a ConfigError raised inside is noted instead.

        Args:
            where: what to put in front of its message, such as the name of a field and a colon.
        """
        try:
            yield
        except ConfigError as error:
            self.found.append(f"{where}{error}")

    def raise_as(self, error: type[SrcacheError], head: str, most: int | None = None) -> None:
        """Raise one error that lists the mistakes under a head line; do nothing if there are none.

        Args:
            error: its type.
            head: its first line, without the colon at the end.
            most: how many mistakes to list before the rest are only counted; None lists all.

        Raises:
            SrcacheError: of the type `error`.
        """
        if self.found:
            shown = self.found[:most]
            rest = len(self.found) - len(shown)
            raise error(f"{head}:\n  - " + "\n  - ".join([*shown, *([f"… and {rest} more"] if rest else [])]))


def listed(items: Sequence[object], most: int = 10) -> str:
    """The first few items, separated by commas, and how many more there are; for a message."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} … and {len(items) - most} more"
