"""Content chooses the decoder, and only among the formats whose suffixes make a file an image."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import saved
from PIL import EpsImagePlugin, Image

from srcache.errors import ImageError
from srcache.images import Pixels, decode, image_sides
from srcache.images.formats import FORMATS
from srcache.images.opening import open_image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
OTHERS = {"EPS": EPS, "PSD": b"8BPS\0\1" + bytes(20), "FITS": b"SIMPLE  =                    T".ljust(2880)}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_in_words(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    for use in (decode, image_sides):
        with pytest.raises(ImageError, match=f"a file of the format {kind}, .*; srcache opens JPEG, PNG") as caught:
            use(OTHERS[kind])
        assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in ("HEIF", "QOI", "JPEG2000", "DIB")])
def test_each_format_is_opened_by_its_content_as_pillow_opens_it(rgb: Pixels, kind: str) -> None:
    data = saved(Image.fromarray(rgb).convert("P" if kind == "GIF" else "RGB"), kind)
    with open_image(memoryview(data)) as found, Image.open(io.BytesIO(data)) as expected:
        assert type(found) is type(expected)
        assert found.format == expected.format == kind
    if kind not in ("GIF", "ICO"):
        with Image.open(io.BytesIO(data)) as expected:
            np.testing.assert_array_equal(decode(data), np.asarray(expected.convert("RGB")))


def test_the_order_of_formats_is_pillows_and_rare_ones_are_not_imported_for_usual_ones() -> None:
    lines = (
        "import io, sys",
        "from PIL import Image",
        "from srcache.images.opening import open_image",
        "from srcache.images.apart import apart",
        "with apart(): assert Image.ID == ['BMP', 'DIB', 'GIF', 'JPEG', 'PPM', 'PNG', 'TIFF']",
        "out = io.BytesIO(); Image.new('RGB', (3, 3)).save(out, 'BMP')",
        "open_image(out.getvalue())",
        "assert 'PIL.PcxImagePlugin' not in sys.modules",
        "before = list(Image.ID)",
        "try: open_image(b'no image at all, but long enough')",
        "except Exception as error: assert 'identif' in repr(error).lower()",
        "assert 'PIL.PcxImagePlugin' in sys.modules",
        "assert Image.ID[: len(before)] == before and 'HEIF' not in Image.ID",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_a_kind_that_pillow_was_built_without_is_told(monkeypatch: pytest.MonkeyPatch, rgb: Pixels) -> None:
    data = saved(Image.fromarray(rgb), "AVIF")
    factory, _ = Image.OPEN["AVIF"]
    monkeypatch.setitem(Image.OPEN, "AVIF", (factory, lambda start: "AVIF support is not installed"))
    with pytest.raises(ImageError, match="AVIF support") as caught:
        decode(data)
    assert caught.value.reason == "unsupported"


def test_images_are_opened_nowhere_else() -> None:
    root = Path(__file__).parents[2]
    for folder in ("srcache", "cli", "plugins"):
        for path in (root / folder).rglob("*.py"):
            assert "Image.open(" not in path.read_text(encoding="utf-8").replace("`PIL.Image.open(file)", ""), path
