"""A gallery over HTTP: pages of what fits, images made small, and everything that is refused."""

import shutil

import caches
import numpy as np
import pytest
from starlette.testclient import TestClient

from srcache.images import decode
from srcache.server.gallery.app import make_gallery_app
from srcache.server.gallery.gallery import GallerySettings, OpenGallery
from srcache.server.run import make_site
from srcache.server.settings import ServerSettings


@pytest.fixture
def client(home):
    settings = GallerySettings(cache=home / "cache", recipe="bicubic", lr=home / "photos", hr=home / "hr")
    with OpenGallery(settings) as opened, make_site(ServerSettings(cache=home / "cache", recipes=()), []) as site:
        app = make_gallery_app(opened, site)
        with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
            yield found


def items(client, **query):
    answer = client.get("/images", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_the_page_and_its_files_are_there(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for path in ("/page/gallery.css", "/page/gallery.js", "/page/icon.svg"):
        assert path[1:] in page.text
        assert client.get(path).status_code == 200


def test_images_are_as_they_are_stored_and_thumbnails_are_small(client, home):
    shown = next(one for one in items(client) if one["title"] == "Möwen & Co/erste möwe.png")
    assert list(shown["images"]) == ["lr", "sr", "hr"]
    pixels = {kind: decode(client.get(f"/{image['src']}").content) for kind, image in shown["images"].items()}
    assert pixels["sr"].tobytes() == caches.pixels(home / "cache")[shown["entry"]]
    assert np.array_equal(pixels["hr"], decode((home / "hr/Möwen & Co/erste möwe.png").read_bytes()))
    thumb = client.get(f"/{shown['thumb']}")
    assert (thumb.headers["content-type"], decode(thumb.content).shape) == ("image/webp", (40, 48, 3))
    assert thumb.headers["x-content-type-options"] == "nosniff"


def test_what_fits_comes_in_pages(client, monkeypatch):
    monkeypatch.setattr("srcache.server.gallery.app.PAGE", 2)
    everything = [one["title"] for start in (0, 2, 4, 6) for one in items(client, start=start)]
    assert len(everything) == len(set(everything)) == 6
    assert client.get("/images", params={"class": 1}).json()["total"] == 2
    assert [one["state"] for one in items(client, state=2)] == ["empty"]
    assert items(client, words="LETZTE")[0]["title"] == "wörter/letzte.png"
    assert items(client, words="%00") == []


def test_a_damaged_entry_is_listed_and_its_image_says_why(damaged, client):
    listed = {one["entry"]: one for one in items(client)}
    assert (listed[damaged]["state"], "sr" in listed[damaged]["images"]) == ("damaged", False)
    for kind in ("sr", "thumb"):
        answer = client.get(f"/image/{kind}/{damaged}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "damaged")
    assert client.get(f"/image/lr/{damaged}").status_code == 200


def test_a_changed_source_is_not_shown(client, home):
    (home / "photos/wörter/letzte.png").write_bytes(b"another file")
    entry = items(client, words="letzte")[0]["entry"]
    answer = client.get(f"/image/lr/{entry}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "changed")


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/image/lr/../../etc/passwd", 404, "not_found"),
        ("/image/lr/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "not_found"),
        ("/image/exe/x", 404, "not_found"),
        ("/nothing", 404, "not_found"),
        ("/images?start=-1", 400, "bad_query"),
        ("/images?start=" + "9" * 13, 400, "bad_query"),
        ("/images?class=7", 400, "bad_query"),
        ("/images?order=99", 400, "bad_query"),
        ("/images?what=1", 400, "bad_query"),
        ("/images?start=1&start=2", 400, "bad_query"),
        ("/images?generation=5", 409, "changed"),
    ],
)
def test_what_there_is_not_is_refused(client, path, status, reason):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Host": "rebound.example"}, "unknown_host"),
        ({"Host": "rebound.example:80"}, "unknown_host"),
        ({"Origin": "http://other.example"}, "cross_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "cross_origin"),
    ],
)
def test_other_pages_cannot_look_through_the_browser(client, headers, reason):
    for path in ("/", "/images", "/page/gallery.js", "/image/sr/x"):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (403, reason)


def test_it_is_only_read(client):
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/images").status_code == 405
    assert client.head("/").status_code == 200


def test_a_cache_that_has_grown_is_shown_by_the_next_page(client, home):
    caches.build(home / "photos", home / "cache", "bicubic", retry_failed=True)
    shutil.copytree(home / "hr", home / "photos/more")
    before = client.get("/images").json()["total"]
    caches.build(home / "photos", home / "cache")
    assert client.get("/images").json()["total"] == before, "a page that is open keeps its numbers"
    assert '"generation":1' in client.get("/").text
    assert client.get("/images").status_code == 409
    assert client.get("/images?generation=1").json()["total"] == before + 3
