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
        ("cache photos --recipe bicubic --format lmdb", "photos exists and is not empty"),
        ("cache out --recipe bicubic --format lmdb --names", "--names goes only with --format folder"),
        ("cache out --recipe bicubic --format lmdb --shard-bytes 1M", "--shard-bytes goes only with --format shards"),
        ("cache out --recipe bicubic --catalog 1", "--catalog goes only with --names, --join or --format hf"),
        (
            "cache out --join --format shards --names",
            "do not go together: - --join writes training shards; leave --format out - --names goes only",
        ),
        (
            "cache out --lr photos --hr photos --class a --seed 1",
            "--lr goes only with --join or --format hf - --hr goes only with --join or --format hf - --class goes only "
            "with --join or --format hf - --seed goes only with --join",
        ),
        ("cache out --format hf --seed 1 --names", "--names goes only with --format folder - --seed goes only with"),
        ("cache photos --format hf --recipe bicubic", "photos exists and is not empty"),
        ("cache out --join --recipe bicubic --hr cache", "no image of the catalog can be taken from cache"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"export {line}", message)


def test_a_cache_of_shards(home, srcache):
    printed = srcache("export", "cache", "out", "--recipe", "bicubic", "--format", "shards", "--shard-bytes", "1K")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "out/bicubic-acbb464ab9619f0b: 3 SR images; 3 added, 0 there already, 1 asked for, but in none of them\n"
    )
    assert srcache("verify", "out").code == 0
    document = json.loads(srcache("export", "cache", "o2", "--recipe", "lanczos", "--format", "lmdb", "--json").out)
    assert (document["ok"], document["result"]["store"]) == (True, "lmdb")


def test_training_shards(home, srcache):
    printed = srcache("export", "cache", "out", "--recipe", "bicubic", "--join", "--lr", "photos", "--seed", "2")
    assert printed.code == 1
    assert printed.out.startswith("out: 3 samples (lr.png, sr000.png, cls, json) in 1 shard, ")
    assert printed.err == "1 image not exported\n  absent: größe 1/leer.png: the cache has 0 of its 1 SR image\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "dataset.json", "shard-000000.tar"]
    assert srcache("build", "one", "--cache", "cache", *recipe_words("bicubic")).code == 0
    smaller = srcache("export", "cache", "smaller", "--recipe", "bicubic", "--join")
    assert "left out: images that only other catalogs have (2f69c326); --catalog chooses one\n" in smaller.out
    words = ("--recipe", "lanczos", "--join", "--class", "größe 1", "--shard-bytes", "1K", "--json")
    document = json.loads(srcache("export", "cache", "json", *words).out)
    assert document["ok"]
    assert document["result"]["classes"] == ["größe 1"]
    noted = json.loads(Path("json/dataset.json").read_text(encoding="utf-8"))
    assert noted.items() <= document["result"].items()


@pytest.mark.medium
def test_a_data_set_for_the_hub(home, srcache):
    pytest.importorskip("datasets")
    words = ("--recipe", "bicubic", "--format", "hf", "--lr", "photos")
    printed = srcache("export", "cache", "out", *words)
    assert printed.code == 1
    assert printed.out.startswith("out: 3 samples (name, key, lr, sr000, label) in 1 file, ")
    assert printed.err == "1 image not exported\n  absent: größe 1/leer.png: the cache has 0 of its 1 SR image\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "dataset.json", "train-00000.parquet"]
    document = json.loads(srcache("export", "cache", "json", *words, "--json").out)
    noted = json.loads(Path("json/dataset.json").read_text(encoding="utf-8"))
    assert noted.items() <= document["result"].items()
    assert (document["result"]["seed"], document["result"]["classes"]) == (None, ["größe 1"])
