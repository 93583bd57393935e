"""Which decoder reads a kind of file on this machine.

Fast decoders are optional (the extra `fast`), and are used only where they give the pixels that Pillow gives. The
environment variable SRCACHE_DECODERS=pillow leaves all files but QOI to Pillow, for those who doubt it.
"""

import os
from dataclasses import dataclass
from importlib.metadata import version

from PIL import features

from srcache.errors import ConfigError
from srcache.images import jpeg_files, png_files
from srcache.images.heic_files import can_read_heic, heic_advice

_VARIABLE = "SRCACHE_DECODERS"
_CHOICES = ("fast", "pillow")
_FAST = {"JPEG": ("simplejpeg", jpeg_files.difference), "PNG": ("imagecodecs", png_files.difference)}
"""The package that reads a kind of file fast, and what keeps it from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """The decoder of a kind of file, such as JPEG: its name and version; why it is not a better one, None if it is."""

    kind: str
    name: str
    reason: str | None


def obstacle(kind: str) -> str | None:
    """Why files of a kind, `JPEG` or `PNG`, are left to Pillow; None where the fast decoder takes them.

    Raises:
        ConfigError: SRCACHE_DECODERS is neither `fast` nor `pillow`.
    """
    wanted = os.environ.get(_VARIABLE, _CHOICES[0])
    if wanted not in _CHOICES:
        raise ConfigError(f"{_VARIABLE} must be one of {', '.join(_CHOICES)}, but is {wanted!r}")
    return f"{_VARIABLE} is {wanted}" if wanted == "pillow" else _FAST[kind][1]()


def decoders_in_use() -> tuple[Decoder, ...]:
    """The decoders of JPEG, PNG and QOI files on this machine, and of those kinds that not every machine can read."""
    qoi = Decoder(kind="QOI", name=f"qoi {version('qoi')}", reason=None)
    return (*map(_decoder, _FAST), qoi, _avif(), _heic())


def _avif() -> Decoder:
    has = features.check("avif")
    reason = None if has else f"pillow {version('pillow')} was built without AVIF; install a wheel that has it"
    return Decoder(kind="AVIF", name=f"pillow {version('pillow')}" if has else "none", reason=reason)


def _heic() -> Decoder:
    name = f"pi-heif {version('pi-heif')}" if can_read_heic() else "none"
    return Decoder(kind="HEIC", name=name, reason=None if can_read_heic() else heic_advice())


def _decoder(kind: str) -> Decoder:
    reason = obstacle(kind)
    package = "pillow" if reason else _FAST[kind][0]
    return Decoder(kind=kind, name=f"{package} {version(package)}", reason=reason)
