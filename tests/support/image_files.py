"""Image files for tests, what Pillow alone makes of them, and why they are refused."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from srcache.errors import ImageError
from srcache.images import Pixels, decode

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plainly(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert str(caught.value), "a refusal explains itself"
    return caught.value.reason


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)
