"""Every error that srcache raises on purpose, and the exit code that the command line gives it.

    SrcacheError
    ├── ConfigError            2   the caller asked for something that cannot be
    │   ├── RecipeError            a recipe's field, or a file that should hold one
    │   ├── PolicyError            a policy's text
    │   ├── CatalogError           the images handed over are not what was expected
    │   ├── EngineError            no such engine, or options that it does not take
    │   └── CacheError             no such cache, recipe or entry; or a folder that is no cache
    ├── ImageError             1   one picture cannot be used; carries a `reason`
    ├── MissError              1   a training loop asked for a variant that the cache lacks
    ├── ConformanceError       1   a plug-in does not keep what it must promise
    ├── DamagedError           3   bytes on disk are not what was written
    └── MachineError           4   the surroundings gave up, not the data
        ├── DiskFullError
        ├── BusyError              another process holds the lock
        ├── DeviceError            the accelerator is gone
        ├── WeightsError           a checkpoint is not here, or cannot be used
        └── MissingExtraError      an optional package is not installed

A message says what was expected, what was got, and what to do.
"""

from collections.abc import Sequence


class SrcacheError(Exception):
    """The root of the tree; `exit_code` is what the command line ends with."""

    exit_code = 70


class ConfigError(SrcacheError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class RecipeError(ConfigError):
    """A recipe that cannot be cooked."""


class PolicyError(ConfigError):
    """A policy that cannot be read, or that asks for what is not there."""


class CatalogError(ConfigError):
    """Images or labels that are not what was expected."""


class EngineError(ConfigError):
    """No such engine, or settings that it does not take."""


class CacheError(ConfigError):
    """No such cache, recipe or entry."""


class ImageError(SrcacheError):
    """One picture cannot be used. `reason` is one word of a small vocabulary, for counting."""

    exit_code = 1

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class MissError(SrcacheError):
    """A variant that a training loop asked for is not in the cache."""

    exit_code = 1


class ConformanceError(SrcacheError):
    """A plug-in does not keep what it must promise; the message lists every broken promise."""

    exit_code = 1


class DamagedError(SrcacheError):
    """Bytes on disk are not what was written."""

    exit_code = 3


class MachineError(SrcacheError):
    """The surroundings gave up: disk, device, another process, a missing package."""

    exit_code = 4


class DiskFullError(MachineError):
    """No room, or no permission, to write."""


class BusyError(MachineError):
    """Another process holds the lock."""


class DeviceError(MachineError):
    """The accelerator is gone or never was there."""


class WeightsError(MachineError):
    """A checkpoint is not on this machine, or cannot be used."""


class MissingExtraError(MachineError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; run: pip install 'srcache[{extra}]'")
        self._args = (package, extra, purpose)

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str, str]]:
        return type(self), self._args


def listed(items: Sequence[object], most: int = 10) -> str:
    """The first few of many things, one sentence long, for a message."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} … and {len(items) - most} more"
