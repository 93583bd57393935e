"""Hugging Face datasets as sources of images: which columns hold the image and the label, and reading them as files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from srcache.errors import CatalogError, ImageError
from srcache.images import AS_EVER, Colors, Decoded, decode_both, read_file


class HuggingFaceSource:
    """A Hugging Face Dataset with one image column, read as files.

    What `set_transform` or `set_format` would do does not happen: such a function turns rows into rows, so it holds no
    image transform that could be taken off and applied later.

    Attributes:
        dropped: what the data set would do to its rows and is not done, in words; empty if there is nothing.
        unlabelled: whether no column holds labels.
    """

    def __init__(self, dataset: Any) -> None:
        import datasets

        self.transform: Callable[[Any], Any] | None = None
        self.root: Path | None = None
        self._home = Path.cwd()
        features = dict(dataset.features)
        self.dropped = ""
        if (dataset.format or {}).get("type") == "custom":
            self.dropped = "the data set has a with_transform (or set_transform), which works on rows"
        self._image = _image_column(features)
        self._label = _label_column(features)
        self.unlabelled = self._label is None
        feature = features[self._label] if self._label else None
        self._names = tuple(feature.names) if feature and type(feature).__name__ == "ClassLabel" else None
        plain = dataset.with_format(None)
        self._images = plain.select_columns([self._image]).cast_column(self._image, datasets.Image(decode=False))
        self._labels = plain.select_columns([self._label]) if self._label else None
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def __len__(self) -> int:
        return len(self._images)

    def path(self, index: int) -> Path | None:
        """The file behind an item, if there is one; see `Source`."""
        item = self._item(index)
        return self._home / item["path"] if item["bytes"] is None and item["path"] else None

    def data(self, index: int) -> bytes | None:
        """The encoded file of an item, if there is one; see `Source`."""
        item = self._item(index)
        if item["bytes"] is not None:
            return bytes(item["bytes"])
        if not item["path"]:
            raise ImageError("unreadable", "the data set has no image in this row")
        return read_file(self._home / item["path"])

    def label(self, index: int) -> Any:
        """The target of an item; see `Source`."""
        return self._labels[index][self._label] if self._labels is not None else None

    def load(self, index: int, colors: Colors = AS_EVER) -> Decoded:
        """The image of an item; see `Source`."""
        return decode_both(self.data(index) or b"", colors)

    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels 0, 1, …; see `Source`."""
        return self._names

    def _item(self, index: int) -> dict[str, Any]:
        """One row, kept until another is asked for, so that `path` and then `data` read it once."""
        last, item = self._last
        if last != index:
            try:
                item = self._images[index][self._image] or {"bytes": None, "path": None}
            except Exception as error:  # a damaged file of the data set's breaks its readers in many ways
                what = f"{type(error).__name__}: {str(error).strip()}"
                raise ImageError("unreadable", f"the data set cannot give its row {index} ({what})") from error
            self._last = (index, item)
        return item


def _image_column(features: dict[str, Any]) -> str:
    found = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if len(found) != 1:
        columns = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        raise CatalogError(
            f"expected a data set with one Image column, but {len(found)} of its columns are: {columns}; "
            "use cast_column, or select_columns, to leave exactly one"
        )
    return found[0]


def _label_column(features: dict[str, Any]) -> str | None:
    named = [name for name in ("label", "labels") if name in features]
    found = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if not named and len(found) > 1:
        raise CatalogError(
            f"expected one label column, but {', '.join(found)} could be it; rename one to `label` with rename_column"
        )
    return (named or found or [None])[0]
