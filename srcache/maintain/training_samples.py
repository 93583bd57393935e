"""One sample of training shards: the members of the tar files, each a suffix and bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from srcache.cache.failures import FailedEntry
from srcache.errors import DamagedError, ImageError
from srcache.files.documents import json_text
from srcache.images import Decoded, as_file, decode_both, encode, plain_suffix, read_file, suffix_of
from srcache.keys import entry_name
from srcache.maintain.check_process import mismatch
from srcache.maintain.training_sources import Sample, source_bytes
from srcache.recipe.recipe import Recipe, suffix_for
from srcache.stores import Record, Store, sides_in

Members = list[tuple[str, bytes]]
"""(suffix without the leading dot, bytes) of each member."""

Size = tuple[int, int]
"""(height, width); zeros for an image that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMaker:
    """Makes the members of samples. Keeps no state: many threads may share one.

    Attributes:
        recipe: of the SR images.
        store: holds them.
        images: SR images of each source image.
        suffixes: of the members `lr` and `hr`, where they are wanted.
        labelled: whether there is a member `cls`.
        mixed: whether `lr` and `hr` may be files of different kinds: then those that every program reads alike stay as
            they are.
    """

    recipe: Recipe
    store: Store
    images: int
    suffixes: Mapping[str, str]
    labelled: bool
    mixed: bool = False

    def names(self) -> tuple[str, ...]:
        """The suffixes of a sample's members in their order, without the leading dot."""
        images = [f"{kind}{suffix}" for kind, suffix in sorted(self.suffixes.items(), reverse=True)]
        sr = [f"sr{number:03d}{suffix_for(self.recipe)}" for number in range(self.images)]
        return (*images, *sr, *(["cls"] if self.labelled else []), "json")

    def members(self, sample: Sample) -> Members | FailedEntry:
        """The members of a sample in their order; or why it must be left out."""
        try:
            return self._members(sample)
        except ImageError as error:
            return FailedEntry("", sample.row.name, error.reason, str(error))
        except DamagedError as error:
            return FailedEntry("", sample.row.name, "damaged", str(error))

    def _members(self, sample: Sample) -> Members:
        images, hr = self._lr_and_hr(sample)
        stored = [self._sr(entry_name(sample.row.key, number)) for number in range(self.images)]
        for number, (payload, _) in enumerate(stored):
            suffix, data = as_file(payload)
            images.append((f"sr{number:03d}{suffix}", data))
        label = [("cls", str(sample.number).encode())] if self.labelled else []
        about = self._about(sample, [record for _, record in stored], hr)
        return [*images, *label, ("json", json_text(about, sort_keys=True).encode())]

    def _lr_and_hr(self, sample: Sample) -> tuple[Members, Size]:
        """The members `lr` and `hr`, as far as they are wanted, and the size of HR."""
        members, size = Members(), (0, 0)
        if sample.source is not None:
            data = source_bytes(sample)
            decoded = decode_both(data, self.recipe.colors)
            if self.recipe.degradation is not None:
                members.append(("lr.png", encode(self.recipe.degradation.apply(decoded.rgb), "png")))
                size = _size_of(decoded)
            own = "lr" if self.recipe.degradation is None else "hr"
            members.append(self._member(own, data, decoded))
        if sample.hr is not None:
            data = read_file(sample.hr)
            decoded = decode_both(data, self.recipe.colors)
            size = _size_of(decoded)
            members.append(self._member("hr", data, decoded))
        return members, size

    def _member(self, kind: str, data: bytes, decoded: Decoded) -> tuple[str, bytes]:
        """A file as a member: as it is where every program sees the pixels that srcache sees, else encoded as PNG.

        Raises:
            ImageError: it is another kind of file than it was a moment ago (`changed`).
        """
        wanted, found = self.suffixes[kind], suffix_of(data)
        plain = decoded.plain is decoded.rgb or np.array_equal(decoded.plain, decoded.rgb)
        if plain and (found == wanted or (self.mixed and plain_suffix(data, self.recipe.colors))):
            return f"{kind}{found}", data
        if wanted != ".png":
            raise ImageError("changed", f"the {kind.upper()} image was changed while it was being exported")
        return f"{kind}.png", encode(decoded.rgb, "png")

    def _sr(self, name: str) -> tuple[bytes, Record]:
        """A stored image and its record.

        Raises:
            DamagedError: it is not what was written.
        """
        payload, record = self.store.get(name) or b"", self.store.record(name) or {}
        wrong = mismatch(name, record, payload)
        if wrong is not None:
            where = f"{name} in {self.recipe.folder}"
            raise DamagedError(f"{where} is not what was written ({wrong[1]}); run `srcache repair`, then `build`")
        return payload, record

    def _about(self, sample: Sample, records: list[Record], hr: Size) -> dict[str, Any]:
        """The fields of the member `json`: always the same, and each always of one type."""
        lr, sr = sides_in(records[0], "lr") or (0, 0), sides_in(records[0]) or (0, 0)
        return {
            "key": str(sample.row.key),
            "name": sample.row.name,
            "label": sample.row.label,
            "class": sample.number,
            "recipe": self.recipe.name,
            "fingerprint": self.recipe.fingerprint,
            "samples": self.images,
            **{"lr_height": lr[0], "lr_width": lr[1]},
            **{"hr_height": hr[0], "hr_width": hr[1]},
            **{"sr_height": sr[0], "sr_width": sr[1]},
            "notes": json_text([record.get("notes") or {} for record in records], sort_keys=True),
        }


def _size_of(decoded: Decoded) -> Size:
    return decoded.rgb.shape[0], decoded.rgb.shape[1]
