"""Data sets for tests of catalogs: items in memory as people write them, and Hugging Face sets with files inside."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image

from srcache.images import Pixels


def fail(*_: Any) -> None:
    raise AssertionError("a transform ran")


def tens(target: int) -> int:
    return 10 * target


class ImageItems:
    """A map-style data set as people write them."""

    def __init__(self, images: list[Any], transform: Any = None) -> None:
        self.images = images
        self.transform = transform
        self.calls = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.calls += 1
        image = self.images[index]
        return (self.transform(image) if self.transform is not None else image), index % 2


def as_pillow(rgb: Pixels) -> Image.Image:
    return Image.fromarray(rgb)


def as_tensor(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)


def embedded(hf: Any) -> Any:
    """The same data set with the files' bytes inside, as on the Hub."""
    import datasets

    rows = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in raw_paths(hf)]
    features = {"image": datasets.Image(decode=False), "label": hf.features["label"]}
    made = datasets.Dataset.from_dict({"image": rows, "label": hf["label"]}, features=datasets.Features(features))
    return made.cast_column("image", datasets.Image())


def raw_paths(hf: Any) -> list[str]:
    import datasets

    return [item["path"] for item in hf.cast_column("image", datasets.Image(decode=False))["image"]]
