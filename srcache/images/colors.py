"""How a file's colours become RGB: transparency, an ICC profile, CMYK, 16 bits; and what of this a file needed.

`Colors` says what is chosen: whether an embedded ICC profile is followed, and what lies behind transparent parts. Its
defaults, which ignore profiles and lay transparency over white, give the pixels that srcache has always given. A file
without a profile, or with one that cannot be applied, is taken as sRGB. A profile that changes no colour by more than a
level, as the many spellings of sRGB itself, counts as none.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, features

from srcache.errors import ConfigError, ImageError, MachineError

PROFILES = ("ignore", "srgb")
"""What may become of an embedded ICC profile: nothing, or a conversion to sRGB by it."""

_NAMED = {"white": "#ffffff", "black": "#000000"}
_HEX = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """How colours become RGB.

    Attributes:
        profile: `ignore` an embedded ICC profile, or convert to `srgb` by it.
        background: what transparent parts lie over: white, black or #rrggbb.

    Raises:
        ConfigError: one of them is something else.
    """

    profile: str = "ignore"
    background: str = "white"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ConfigError(f"color_profile must be one of {', '.join(PROFILES)}, but is {self.profile!r}")
        object.__setattr__(self, "background", background_name(self.background))

    def __str__(self) -> str:
        """What is not as ever, in words; empty if nothing is."""
        profile = "" if self.profile == "ignore" else "colours converted to sRGB by ICC profiles"
        return ", ".join(filter(None, (profile, "" if self.background == "white" else f"over {self.background}")))

    @property
    def behind(self) -> tuple[int, int, int]:
        """The background's red, green and blue."""
        red, green, blue = bytes.fromhex(_NAMED.get(self.background, self.background)[1:])
        return red, green, blue


def background_name(value: Any) -> str:
    """A background in its one spelling: white, black, or # and six hexadecimal digits in lower case.

    Raises:
        ConfigError: it is none.
    """
    text = value.lower() if isinstance(value, str) else ""
    if text in _NAMED:
        return text
    if not _HEX.fullmatch(text):
        raise ConfigError(
            f'background must be white, black or #rrggbb, such as "#808080" (with quotation marks, in YAML), '
            f"but is {value!r}"
        )
    return next((name for name, code in _NAMED.items() if code == text), text)


AS_EVER = Colors()
"""Profiles ignored, transparency over white."""


@dataclass(slots=True)
class Reading:
    """One file that is being read: how its colours are to become RGB, and what was noticed of it so far.

    Attributes:
        colors: how.
        notes: some of `NOTES`.
    """

    colors: Colors = AS_EVER
    notes: set[str] = field(default_factory=set)


NOTES = {
    "alpha": "laid over the background for transparency",
    "even": "became one even colour by that",
    "palette": "with a palette",
    "sixteen_bit": "reduced from 16 bits",
    "cmyk": "converted from CMYK",
    "rotated": "turned as EXIF says",
    "profile_ignored": "with an ICC profile that was ignored",
    "profile_applied": "converted to sRGB by an ICC profile",
    "profile_missing": "without an ICC profile, taken as sRGB",
    "profile_broken": "with a broken or unfit ICC profile, taken as sRGB",
}
"""What may be noticed of a file, in words that go on after a number of images."""


def count_notes(notes: Iterable[Iterable[str]]) -> dict[str, int]:
    """How many files have each of `NOTES`, in that order; without those that none has."""
    counts = Counter(note for one in notes for note in one)
    return {note: counts[note] for note in NOTES if counts[note]}


def refuse_in_memory(colors: Colors) -> None:
    """Refuse to follow ICC profiles of images that are only in memory.

    Raises:
        ConfigError: profiles are to be followed.
    """
    if colors.profile != AS_EVER.profile:
        raise ConfigError(
            f"the recipe says color_profile: {colors.profile}, but the images are in memory, where pixels have no "
            f"profile any more; give files, or a recipe with color_profile: {AS_EVER.profile}"
        )


def note_header(image: Image.Image, notes: set[str]) -> None:
    """Note what an opened image's header says of its kind: palette, 16 bits, CMYK. Nothing is decoded."""
    if image.mode in ("P", "PA"):
        notes.add("palette")
    if image.mode == "CMYK":
        notes.add("cmyk")
    if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        notes.add("sixteen_bit")


def note_profile(profile: bytes | None, mode: str, reading: Reading) -> bool:
    """Note what becomes of a file's ICC profile (None: it has none); returns whether pixels are converted by it."""
    if reading.colors.profile == "ignore":
        if profile and profile_fits(profile, mode):
            reading.notes.add("profile_ignored")
        return False
    fits = profile_fits(profile, mode) if profile else None
    if profile and fits is None and not features.check("littlecms2"):
        raise MachineError("colour profiles cannot be followed: Pillow was built without LittleCMS here")
    found = "missing" if not profile else "broken" if fits is None else "applied" if fits else ""
    if found:
        reading.notes.add(f"profile_{found}")
    return bool(fits)


def profile_fits(profile: bytes, mode: str) -> bool | None:
    """Whether a profile changes the colours of images of a mode; None if it cannot be applied to such."""
    found = _transform(profile, mode)
    return None if isinstance(found, str) else found is not None


def to_rgb(image: Image.Image, reading: Reading | None = None) -> Image.Image:
    """An upright image of any mode → RGB; what this took is noted.

    Raises:
        ImageError: a mode that has no one way to RGB (`unsupported`).
        MachineError: a profile is to be followed, and Pillow was built without LittleCMS.
    """
    reading = Reading() if reading is None else reading
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    if image.mode == "F":
        raise ImageError("unsupported", "floating-point pixels have no agreed range; convert the file to 8 or 16 bit")
    converts = note_profile(profile, image.mode, reading)
    if not image.has_transparency_data:
        return _by_profile(image, profile) if converts else image.convert("RGB")
    rgba = image.convert("RGBA")
    if converts:
        solid = _by_profile(image.convert("L") if image.mode == "LA" else rgba.convert("RGB"), profile)
        solid.putalpha(rgba.getchannel("A"))
        rgba = solid
    return over_background(rgba, reading)


def over_background(image: Image.Image, reading: Reading | None = None) -> Image.Image:
    """An image with transparency, laid over the background."""
    reading = Reading() if reading is None else reading
    rgba = image.convert("RGBA")
    behind = Image.new("RGBA", rgba.size, (*reading.colors.behind, 255))
    laid = Image.alpha_composite(behind, rgba).convert("RGB")
    least: Any = rgba.getchannel("A").getextrema()
    if least[0] < 255:
        reading.notes.add("alpha")
        extrema: Any = laid.getextrema()
        if all(low == high for low, high in extrema):
            reading.notes.add("even")
    return laid


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("unsupported", "pixels beyond 16 bits have no agreed range; convert the file to 8 or 16 bit")
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if isinstance(clear := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _by_profile(image: Image.Image, profile: Any) -> Image.Image:
    """An image without transparency, converted to sRGB by a profile that `profile_fits` says changes it."""
    from PIL import ImageCms

    transform = _transform(profile, image.mode)
    done = ImageCms.applyTransform(image.convert(transform.input_mode), transform)
    if done is None:  # which it only is for an image that is changed in place
        raise ImageError("unsupported", "the ICC profile could not be applied")
    return done


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """The conversion to sRGB of images of a mode; None if it changes nothing; a text says why there is none."""
    try:
        from PIL import ImageCms

        given, srgb = ImageCms.getOpenProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    except ImportError as error:
        return f"Pillow reads none here ({error})"
    except (OSError, ImageCms.PyCMSError) as error:
        return f"it cannot be read ({error})"
    space = str(given.profile.xcolor_space).strip()
    wanted = {
        "GRAY": "L" if mode in ("1", "L", "LA", "I", "I;16") else None,
        "CMYK": "CMYK" if mode == "CMYK" else None,
    }
    source = wanted.get(space, "RGB" if space == "RGB" and mode != "CMYK" else None)
    if source is None:
        return f"it is a profile of {space}, and the image is {mode}"
    try:
        transform = ImageCms.buildTransform(given, srgb, source, "RGB")
    except ImageCms.PyCMSError as error:
        return f"it cannot be applied ({error})"
    return None if source != "CMYK" and _is_identity(transform, source) else transform


def _is_identity(transform: Any, mode: str) -> bool:
    """Whether a conversion moves no colour by more than a level, tried on a grid of them."""
    from PIL import ImageCms

    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        trial = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        trial = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))
    done = ImageCms.applyTransform(trial, transform)
    moved = np.asarray(done).astype(int) - np.asarray(trial.convert("RGB")).astype(int)
    return int(np.abs(moved).max()) <= 1
