"""`srcache merge`: what it prints, its exit codes, and mistakes."""

import json
import shutil
from pathlib import Path

import caches
import pytest
from images import picture

from srcache.images import encode


def test_what_merge_prints(home, srcache):
    printed = srcache("merge", "cache", "--into", "all", "--store", "shards")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "all/bicubic-acbb464ab9619f0b: 3 SR images; 3 added, 0 there already, 1 asked for, but in none of them\n"
        "all/lanczos-d9b6f661a66b48ba: 1 SR image; 1 added, 0 there already\n"
    )
    again = srcache("merge", "cache", "--into", "all", "--recipe", "lanczos")
    assert again.out == "all/lanczos-d9b6f661a66b48ba: 1 SR image; 0 added, 1 there already\n"


def test_a_conflict_is_a_failed_input(home, srcache):
    shutil.copytree("cache", "other")
    name = next(iter(caches.contents(Path("cache"))))
    caches.replace_payload(Path("other"), name, encode(picture(8, 8), "qoi"))
    printed = srcache("merge", "cache", "other", "--into", "all")
    assert printed.code == 1
    assert "3 SR images; 3 added, 2 there already, not taken: conflict 1, 1 asked for" in printed.out
    assert printed.err == (f"not merged\n  conflict: {name}: other has other pixels than those that are in all\n")


def test_what_else_there_is_to_know_is_said(home, srcache):
    shutil.copytree("cache", "other")
    for number, cache in enumerate(("cache", "other")):
        for file in ("safety.csv", "safety.json"):
            (caches.home(Path(cache)) / file).write_text(str(number))
    printed = srcache("merge", "cache", "other", "--into", "all")
    assert printed.code == 0
    assert "label safety was measured differently in cache/bicubic" in printed.out
    document = json.loads(srcache("merge", "cache", "other", "--into", "all", "--json").out)
    assert len(document["result"]["notes"]) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--into out", "Missing argument 'CACHE…"),
        ("cache", "Missing option '--into'"),
        ("cache photos one --into out", "photos is no srcache cache"),
        ("cache cache --into out", "cache is named twice"),
        ("cache --into cache", "also where to merge into"),
        ("cache --into photos", "photos exists, is not empty, and is no srcache cache"),
        ("cache --into out --store zip", "Invalid value for '--store'"),
        ("cache --into out --shard-bytes 1K", "has no shards; leave --shard-bytes out"),
        ("cache --into out --recipe compact", "holds no recipe 'compact'"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"merge {line}", message)
