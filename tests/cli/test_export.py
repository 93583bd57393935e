"""`srcache export`: a cache's images as files, what is absent, and mistakes."""

import json
from pathlib import Path

import pytest
from command_lines import recipe_words

from srcache.keys import file_key


def test_what_export_prints_and_that_upscale_makes_the_same_pixels(home, srcache):
    printed = srcache("export", "cache", "out", "--recipe", "bicubic", "--names")
    assert printed.out.startswith("out: 3 images of bicubic-acbb464ab9619f0b, ")
    assert printed.err == "1 image not exported\n  absent: größe 1/leer.png: the cache has no image of it\n"
    assert srcache("upscale", "photos/größe 1/bild 0.ppm", "--out", "up", *recipe_words("bicubic")).code == 0
    assert Path("up/bild 0.png").read_bytes() == Path("out/größe 1/bild 0.png").read_bytes()


def test_without_names_files_are_named_by_key_and_have_records(home, srcache):
    printed = srcache("export", "cache", "out", "--recipe", "lanczos")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("out: 1 image of lanczos-d9b6f661a66b48ba, ")
    key = file_key(home / "one/größe 1/bild 0.ppm")
    assert sorted(path.name for path in Path("out").rglob("*.png")) == [f"{key}-000.png"]
    records = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    assert len(records) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cache photos --recipe bicubic", "photos exists and is not empty"),
        ("cache out", "cache holds 2 recipes"),
        ("cache out --format zip", "Invalid value for '--format'"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"export {line}", message)
