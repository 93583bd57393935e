"""A gallery as one file: drawn by the seed, within its budget, only read; and one that is served until it is told."""

import json
import re
import threading
from base64 import b64decode
from urllib.request import ProxyHandler, build_opener

import caches
import numpy as np
import pytest

from srcache.errors import CacheError, MissingExtraError
from srcache.images import decode
from srcache.server.gallery import run as module
from srcache.server.gallery.gallery import GallerySettings
from srcache.server.gallery.run import serve_gallery, write_gallery


def settings(home, **given) -> GallerySettings:
    return GallerySettings(cache=home / "cache", **{"recipe": "bicubic", "lr": home / "photos", **given})


def data_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="gallery-data">(.*?)</script>', page, re.DOTALL)[1])


def pixels(image):
    return decode(b64decode(image["src"].partition(",")[2]))


def test_a_file_holds_images_options_and_orders(home, damaged):
    report = write_gallery(settings(home, hr=home / "hr", quality=home / "quality"), home / "g.html")
    assert (report.images, report.total, report.bytes) == (6, 6, (home / "g.html").stat().st_size)
    data = data_of(home / "g.html")
    items = {item["entry"]: item for item in data["items"]}
    stored = caches.only(home / "cache")
    assert items[damaged]["state"] == "damaged"
    assert "sr" not in items[damaged]["images"]
    shown = next(item for item in data["items"] if item["title"] == "wörter/letzte.png")
    assert list(shown["images"]) == ["lr", "sr", "hr"]
    assert np.array_equal(pixels(shown["images"]["hr"]), decode((home / "hr/wörter/letzte.png").read_bytes()))
    assert shown["options"]["class"] == [2]
    assert sorted(data["orders"][1]) == list(range(6))
    assert stored.path.name in (home / "g.html").read_text(encoding="utf-8")


def test_a_file_is_a_draw_by_the_seed_that_says_so(home):
    shown = {}
    for name, seed in (("one", 1), ("two", 1), ("three", 4)):
        report = write_gallery(settings(home, seed=seed), home / name, count=3)
        assert (report.images, report.total) == (3, 6)
        shown[name] = [item["title"] for item in data_of(home / name)["items"]]
    assert (home / "one").read_bytes() == (home / "two").read_bytes()
    assert shown["one"] != shown["three"]
    page = (home / "one").read_text(encoding="utf-8")
    assert "This file shows 3 of 6 images, drawn by seed 1: copies without loss" in page


def test_the_budget_is_kept_and_the_reduction_is_said(home):
    write_gallery(settings(home), home / "g.html", budget=4_000)
    images = [image for item in data_of(home / "g.html")["items"] for image in item["images"].values()]
    assert sum(len(b64decode(image["src"].partition(",")[2])) for image in images) <= 4_000
    assert "WebP copies of quality" in (home / "g.html").read_text(encoding="utf-8")


def test_what_cannot_be_read_is_noted(home):
    (home / "photos/wörter/letzte.png").write_bytes(b"another file")
    write_gallery(settings(home), home / "g.html")
    notes = {item["title"]: item["note"] for item in data_of(home / "g.html")["items"]}
    assert notes["wörter/letzte.png"] == "LR cannot be shown: changed"
    assert notes["wörter/doppelt nochmal.png"] == ""


def test_no_file_is_written_into_the_cache(home):
    with pytest.raises(CacheError, match="lies in the cache, which is only read"):
        write_gallery(settings(home), home / "cache/g.html")


@pytest.mark.medium
def test_it_is_served_until_it_is_told_to_end(home, monkeypatch):
    told = []

    class Server(module_server()):
        def serve_until_ended(self, listener):
            told.append(self)
            super().serve_until_ended(listener)

    monkeypatch.setattr("srcache.server.web_server.WebServer", Server)
    answers, listening = [], threading.Event()

    def serve():
        answers.append(serve_gallery(settings(home), 0, lambda found: (answers.append(found.url), listening.set())))

    thread = threading.Thread(target=serve)
    thread.start()
    assert listening.wait(30)
    url = answers[0]
    assert url.startswith("http://127.0.0.1:")
    with build_opener(ProxyHandler({})).open(f"{url}/images", timeout=30) as answer:
        assert json.loads(answer.read())["total"] == 6
    told[0]._site.is_draining = True
    thread.join(30)
    assert not thread.is_alive()
    assert answers[1] == 1


def module_server():
    from srcache.server.web_server import WebServer

    return WebServer


def test_a_missing_extra_is_told_in_words(home, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"srcache view \(but not with --out\)"):
        serve_gallery(settings(home), 0, lambda found: None)
    assert module.COUNT == 200
