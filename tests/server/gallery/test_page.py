"""The gallery's page: names are only text, the policy fits what is in it, and what is not there is said."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape

import caches
import pytest
from images import picture
from PIL import Image

from srcache.server.gallery.gallery import GallerySettings, OpenGallery
from srcache.server.gallery.page import file_page, script, served_page, style

HOSTILE = "<script>alert(1)&'\"\u202e"


@pytest.fixture
def hostile(tmp_path):
    """A gallery whose class and name are hostile."""
    for name in (HOSTILE, "plain"):
        file = tmp_path / "photos" / name / f"{name}.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(picture(8, 8, len(name))).save(file)
    caches.build(tmp_path / "photos", tmp_path / "cache")
    with OpenGallery(GallerySettings(cache=tmp_path / "cache")) as found:
        yield found.gallery


def data_of(page: str):
    return json.loads(re.search(r'id="gallery-data">(.*?)</script>', page, re.DOTALL)[1])


def test_names_cannot_become_part_of_the_page(hostile):
    data = {"items": [hostile.item(place) for place in range(2)], "orders": [[0, 1]]}
    for page in (served_page(hostile, 0), file_page(hostile, hostile, data, HOSTILE)):
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&amp;&#x27;&quot;" in page
        assert "\u202e" not in page
    assert data_of(page)["items"][0]["title"].startswith("<script>alert") or "plain" in str(data)


def test_the_policy_of_a_file_names_its_style_and_script(hostile):
    page = file_page(hostile, hostile, {"items": [], "orders": []}, "This file shows all images.")
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    for part in (style(), script()):
        assert f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" in policy
        assert part in page
    assert "img-src data:" in policy
    assert not re.search(r"""(?:src|href)=["'](?!data:,)""", page)
    assert (
        "<p>This file shows all images. LR and HR are not in a cache; --lr DIR and --hr DIR shows them too.</p>" in page
    )


def test_a_served_page_brings_choices_with_counts_and_a_number(home):
    with OpenGallery(GallerySettings(cache=home / "cache", recipe="bicubic", lr=home / "photos")) as found:
        page = served_page(found.gallery, 3)
    known = data_of(page)
    assert (known["generation"], known["total"], known["kinds"]) == (3, 6, {"lr": "LR", "sr": "SR"})
    assert '<option value="1" dir="auto">Möwen &amp; Co (2)</option>' in page
    assert '<option value="2" dir="auto">empty (1)</option>' in page
    assert "5 SR images of 2 classes in <bdi>" in page
    assert "; 1 more failed or are not made yet.</p>" in page
    assert "<p>HR are not" in page or "HR is not in a cache" in page
