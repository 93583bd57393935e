"""Encoding and decoding of stored images in one thread, codec by codec: what the kinds of store cost.

QOI is what LMDB holds and PNG at level 1 what shards hold, unless a recipe names a lossy codec or a build another
lossless one. JPEG here is 4:4:4, as srcache writes it.
"""

import time
from collections.abc import Callable, Sequence
from itertools import product

from benchmarks.loader_data import LoaderData
from benchmarks.record import Bar, bar_of, interleaved
from srcache.errors import ConfigError
from srcache.images import Pixels, decode, encode, parse_codec

CODECS = ("qoi", "png:1", "jpeg:95", "ppm")
_IMAGES = 48


def codec_rates(data: LoaderData, repeats: int) -> list[Bar]:
    """A row per codec that this version knows and direction, images per second; QOI is the peer of the others."""
    pixels = data.pixels()
    images = [pixels[place * data.count // _IMAGES].copy() for place in range(min(_IMAGES, data.count))]
    cases = list(product([codec for codec in CODECS if _is_known(codec)], ("encode", "decode")))
    rates = interleaved(repeats, *(_timing(codec, act, images) for codec, act in cases))
    found = dict(zip(cases, rates, strict=True))
    return [
        bar_of(
            f"{data.side}², codec: {codec}, {act}",
            values,
            "images/s",
            None,
            "" if codec == "qoi" else "qoi",
            () if codec == "qoi" else found["qoi", act],
        )
        for (codec, act), values in found.items()
    ]


def _timing(codec: str, act: str, images: Sequence[Pixels]) -> Callable[[], float]:
    payloads = [encode(image, codec) for image in images]

    def measure() -> float:
        started = time.perf_counter()
        if act == "encode":
            for image in images:
                encode(image, codec)
        else:
            for payload in payloads:
                decode(payload)
        return len(images) / (time.perf_counter() - started)

    return measure


def _is_known(codec: str) -> bool:
    try:
        parse_codec(codec)
    except ConfigError:
        return False
    return True
