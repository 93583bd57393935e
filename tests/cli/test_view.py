"""`srcache view`: what it prints as a file and as a server, and mistakes."""

import json
from pathlib import Path

import pytest
from srcache_cli.view import _COUNT

from srcache.server.gallery.run import COUNT
from srcache.server.run import Listening


def test_what_a_file_prints(home, srcache):
    printed = srcache("view", "cache", "--recipe", "bicubic", "--lr", "photos", "--out", "g.html")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("g.html: 4 of 4 images of bicubic-acbb464ab9619f0b, ")
    assert Path("g.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    words = ("--recipe", "bicubic", "--count", "2", "--seed", "5", "--out", "h.html", "--json")
    document = json.loads(srcache("view", "cache", *words).out)
    assert (document["schema"], document["result"]["images"], document["result"]["total"]) == ("srcache.view/1", 2, 4)
    assert COUNT == _COUNT


@pytest.fixture
def pretended(monkeypatch):
    got = []

    def serve(settings, port, announce):
        announce(Listening(url="http://127.0.0.1:8765", warnings=("look out",)))
        got.append((settings, port))
        return 12

    monkeypatch.setattr("srcache.server.gallery.run.serve_gallery", serve)
    return got


def test_what_a_server_prints(home, srcache, pretended):
    printed = srcache("view", "cache", "--recipe", "bicubic", "--port", "8765", "--hr", "photos", "--quality", "q.csv")
    assert (printed.code, printed.err) == (0, "warning: look out\n")
    assert printed.out == "the gallery is at http://127.0.0.1:8765/ (Ctrl-C ends it)\n12 requests answered\n"
    ((settings, port),) = pretended
    assert (settings.recipe, settings.hr, settings.quality, port) == ("bicubic", Path("photos"), Path("q.csv"), 8765)
    document = json.loads(srcache("view", "cache", "--json").out)
    assert document["result"] == {"requests": 12}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache", "cache holds 2 recipes"),
        ("photos", "photos is no srcache cache"),
        ("cache --recipe bicubic --count 3", "--count goes only with --out"),
        ("cache --recipe bicubic --out g.html --port 1", "--port does not go with --out"),
        ("cache --recipe bicubic --out cache/g.html", "lies in the cache"),
        ("cache --recipe bicubic --out g.html --quality photos", "is no table of image quality"),
        ("cache --recipe bicubic --lr missing", "does not exist"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"view {line}", message)
