"""What the service is asked for: as many different PNG images as wished, each with the answer that is right for it.

There are few different pictures, so that every answer can be known beforehand, but no two files are the same: each has
a comment of its own, and so a key of its own.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_hexdigest

from benchmarks.serve_load import request
from srcache.engine.registry import open_engine
from srcache.images import Pixels, encode, from_tensor, to_batch
from srcache.recipe.recipe import Recipe

PICTURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image file, and the checksum of its SR image as the cache stores it."""

    data: bytes
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How clients ask: see `serve_load.run_plan`."""

    clients: int
    seconds: float
    warm: float = 0.0
    shared: bool = True
    repeat: bool = False


def make_images(recipe: Recipe, side: int, count: int, first: int = 0) -> list[Image]:
    """So many images of side², numbered from `first`; those of other numbers are other files."""
    pixels = [_picture(side, number) for number in range(min(PICTURES, count))]
    files = [encode(one, "png") for one in pixels]
    checksums = [xxh3_64_hexdigest(encode(one, "qoi")) for one in enlarged(recipe, pixels)]
    return [
        Image(data=with_comment(files[at % len(files)], str(at)), checksum=checksums[at % len(files)])
        for at in range(first, first + count)
    ]


def enlarged(recipe: Recipe, pixels: Sequence[Pixels]) -> list[Pixels]:
    """What the recipe's engine makes of images of one shape."""
    engine = open_engine(recipe.engine, recipe.setup("cpu"))
    outcomes = engine.upscale(to_batch(list(pixels)), [0] * len(pixels))
    return [from_tensor(one.image) for one in outcomes]  # type: ignore[union-attr]


def with_comment(png: bytes, words: str) -> bytes:
    """A PNG file with a comment before its end; its pixels stay what they are."""
    text = b"tEXtComment\0" + words.encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return png[:-12] + chunk + png[-12:]


def write_plan(path: Path, port: int, plan: Plan, asks: Sequence[tuple[bytes, str]]) -> Path:
    """Write a plan for `serve_load`: `asks` are requests as they are sent, each with the checksum of its answer."""
    blob = path.with_suffix(".requests")
    with blob.open("wb") as file:
        for data, _ in asks:
            file.write(data)
    requests = [[len(data), checksum] for data, checksum in asks]
    words = {"clients": plan.clients, "seconds": plan.seconds, "warm": plan.warm}
    path.write_text(
        json.dumps({"port": port, **words, "shared": plan.shared, "repeat": plan.repeat, "requests": requests})
    )
    return path


def posts(images: Sequence[Image], path: str, *headers: str) -> list[tuple[bytes, str]]:
    """A request for each image, that sends it to a path."""
    return [(request("POST", path, one.data, headers), one.checksum) for one in images]


def _picture(side: int, number: int) -> Pixels:
    """An image with the statistics of a photo: smooth light with grain."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(0, 1, side)
    light = 80 + 90 * np.outer(np.sin(rng.uniform(1, 6) * ramp) ** 2, np.cos(rng.uniform(1, 6) * ramp) ** 2)
    pixels = light[..., None] + rng.normal(0, 6, (side, side, 3)) + rng.uniform(-20, 20, 3)
    return np.asarray(pixels.clip(0, 255).astype(np.uint8))
