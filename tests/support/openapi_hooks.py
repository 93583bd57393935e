"""What schemathesis sends where the OpenAPI document asks for an image: small ones of several formats."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _file(size, level, kind):
    out = io.BytesIO()
    Image.new("RGB", size, level).save(out, kind)
    return out.getvalue()


_SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))
_LEVELS = st.tuples(*[st.integers(0, 255)] * 3)

schemathesis.openapi.media_type(
    "image/*", st.builds(_file, _SIDES, _LEVELS, st.sampled_from(["PNG", "JPEG", "WEBP", "BMP"]))
)
