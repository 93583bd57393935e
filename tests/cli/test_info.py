"""`srcache info`: what is in a cache, in words."""

import pytest
from command_lines import recipe_words


def test_what_info_prints(home, srcache):
    printed = srcache("info", "cache")
    first, second = printed.out.split("\n\n")[1:]
    assert printed.out.startswith("cache: 2 recipes, lmdb, ")
    assert [line.split()[0] for line in first.splitlines()] == [
        "bicubic-acbb464ab9619f0b",
        *("made", "stored", "covers", "covers", "failed", "built"),
    ]
    assert "resample ×2, filter bicubic" in first
    assert "3 SR images, qoi" in first
    assert "3 of 4 images of catalog" in first
    assert "empty 1" in first
    assert "1 run; the last: 3 added in" in first
    assert "all 1 image of catalog" in second


def test_runs_are_counted_and_the_last_one_is_described(home, srcache):
    for photos in ("one", "photos"):
        srcache("build", photos, "--cache", "new", *recipe_words("bicubic"))
    assert "built    2 runs; the last: 2 added in " in srcache("info", "new").out


def test_fields_that_are_not_usual_are_named(home, srcache):
    words = ["--recipe", "bicubic", "--device", "cpu", "--set", "scale=4", "--set", "codec=jpeg:90"]
    assert srcache("build", "one", "--cache", "other", *words).code == 0
    assert "made by  resample ×4, filter bicubic, codec jpeg:90\n" in srcache("info", "other").out


def test_a_damaged_recipe_is_listed_beside_the_others(home, srcache):
    (home / "cache/lanczos-d9b6f661a66b48ba/recipe.yaml").write_text("{")
    printed = srcache("info", "cache")
    assert printed.code == 3
    assert printed.err.startswith("  damaged: lanczos-d9b6f661a66b48ba: ")
    assert printed.out.startswith("cache: 1 recipe, lmdb, ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("photos", "photos is no srcache cache"),
        ("nowhere", "nowhere is no srcache cache"),
        ("cache --colour", "No such option"),
        ("", "Missing argument 'CACHE'"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"info {line}", message)
