"""`srcache build`: what it prints, its dry run, its mistakes, and an interruption."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from command_lines import recipe_words

from srcache.cache.manifest import open_cache
from srcache.fill.settings import FillInterrupted, FillReport
from srcache.stores import open_store


def test_what_build_prints(home, srcache):
    printed = srcache("build", "photos", "--cache", "new", *recipe_words("bicubic"))
    assert printed.code == 1
    assert "new/bicubic-acbb464ab9619f0b" in printed.out
    assert re.search(r"^added +3  [\d.]+ s, [\d.]+ images/s$", printed.out, re.MULTILINE)
    assert printed.err == "  empty: größe 1/leer.png: the file has no bytes\n"
    again = srcache("build", "photos", "--cache", "new", *recipe_words("bicubic"))
    assert "failed earlier  1  --retry-failed tries them again" in again.out.replace("   ", " ").replace("  1", "  1")


def test_a_second_build_has_nothing_to_do(home, srcache):
    printed = srcache("build", "one", "--cache", "cache", *recipe_words("lanczos"))
    assert (printed.code, printed.err) == (0, "")
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[1:] == [["wanted", "1"], ["there", "already", "1", "nothing", "to", "do"], ["added", "0"]]


def test_a_dry_run_predicts_and_writes_nothing(home, srcache):
    before = sorted(home.rglob("*"))
    printed = srcache("build", "photos", "--cache", "new", *recipe_words("bicubic"), "--dry-run")
    assert printed.code == 0
    lines = printed.out.splitlines()
    assert lines[0] == "bicubic-acbb464ab9619f0b (dry run: nothing was written)"
    assert re.fullmatch(r"to do +4", lines[3])
    assert re.fullmatch(r"time +[\d.]+ s \([\d.]+ ms for each of \d images? that were tried\)", lines[4])
    assert re.fullmatch(r"disk +[\d.]+ (B|KiB)", lines[5])
    assert re.fullmatch(r"failed in the trial +empty 1", lines[6])
    assert sorted(home.rglob("*")) == before


def test_shards_are_as_large_as_was_asked_for(home, srcache):
    words = ["build", "one", "--cache", "tars", "--recipe", "bicubic", "--store", "shards", "--shard-bytes", "1K"]
    assert srcache(*words).code == 0
    assert list(Path("tars").glob("bicubic-*/data.shards/*.tar"))
    for bytes_ in ("0", "much", "1.5M", "-3"):
        printed = srcache(*words[:-1], bytes_)
        assert printed.code == 2
        assert f"expected a number of bytes, such as 512M, but got '{bytes_}'" in printed.err


@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_images_of_one_cache_may_have_several_codecs(home, srcache, store):
    words = ["--cache", "new", "--recipe", "bicubic"]
    assert srcache("build", "one", *words, "--store", store, "--codec", "png:9").code == 0
    assert srcache("build", "photos", *words, "--codec", "ppm").code == 1
    stored = open_cache("new").find("bicubic").store()
    starts = [stored.get(name)[:2] for name in stored.names()]
    assert sorted(set(starts)) == [b"P6", b"\x89P"]
    assert srcache("verify", "new").code == 0
    assert srcache("export", "new", "files").code == 0
    assert {path.suffix for path in Path("files").rglob("*.*")} == {".png", ".jsonl"}
    if store == "shards":
        with tarfile.open(next(Path("new").glob("*/data.shards/*.tar"))) as tar:
            assert {Path(name).suffix for name in tar.getnames()} <= {".png", ".ppm", ".json"}


@pytest.mark.parametrize("codec", ["bmp", "jpeg:90", "png:12"])
def test_a_codec_that_cannot_be_is_a_mistake(home, srcache, codec):
    printed = srcache("build", "one", "--cache", "new", "--recipe", "bicubic", "--codec", codec)
    assert printed.code == 2
    assert f"but got '{codec}'" in printed.err
    assert not Path("new").exists()


def test_every_option_reaches_the_run(home, srcache, monkeypatch):
    seen = {}

    def fill(catalog, recipe, cache, settings, progress):
        seen.update(recipe=recipe.name, cache=cache, images=len(catalog), settings=settings)
        return FillReport(folder=cache, recipe="r", wanted=1, stored=1, padding=0.6)

    monkeypatch.setattr("srcache.fill.fill", fill)
    words = "--samples 3 --retry-failed --store lmdb --shard-bytes 3M --codec ppm --batch 5 --device cuda:1 --workers 7"
    printed = srcache("build", "one", "--cache", "new", "--recipe", "bicubic", *words.split(), "--compile", "--rehash")
    assert printed.code == 0
    assert (seen["recipe"], seen["cache"], seen["images"]) == ("bicubic", Path("new"), 1)
    settings = seen["settings"]
    assert (settings.samples, settings.retry_failed, settings.store) == (3, True, "lmdb")
    assert (settings.shard_bytes, settings.codec) == (3 << 20, "ppm")
    assert (settings.batch, settings.device, settings.workers, settings.compiled) == (5, "cuda:1", 7, True)
    assert "60 % of the engine's work only filled batches up" in printed.out
    assert "try a smaller --batch" in printed.out


def test_samples_and_the_kind_of_store_are_what_was_asked_for(home, srcache):
    Path("noisy.yaml").write_text("engine: test-noise\nscale: 2\nseed: 7\n")
    words = ["--recipe", "noisy.yaml", "--samples", 2, "--store", "lmdb", "--device", "cpu"]
    printed = srcache("build", "one", "--cache", "new", *words, "--json")
    result = json.loads(printed.out)["result"]
    assert (printed.code, result["wanted"], result["added"], result["device"]) == (0, 2, 2, "cpu")
    store = open_store("lmdb", open_cache("new").find("noisy").store_path)
    assert sorted(name[-4:] for name in store.names()) == ["-000", "-001"]
    store.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("missing --cache new --recipe bicubic", "Path 'missing' does not exist"),
        ("photos --cache photos --recipe bicubic", "is not empty, and is no srcache cache"),
        ("photos --cache new --recipe nope", "no recipe is named 'nope'; use one of bicubic, "),
        ("photos --cache new --recipe bicubic --samples 0", "Invalid value for '--samples'"),
        ("photos --cache new --recipe bicubic --samples 2", "2 samples would all be the same; use 1"),
        ("photos --cache new --recipe bicubic --set scale", "expected key=value, such as scale=2, but got 'scale'"),
        ("photos --cache new --recipe bicubic --set =2", "expected key=value"),
        ("photos --cache new --recipe bicubic --set scale=[", "the value of scale is not YAML"),
        ("photos --cache new --recipe bicubic --set scale=0 --set colour=1", "unknown field colour"),
        ("photos --cache new --recipe bicubic --set options.filter=x", "option filter must be one of nearest"),
        ("photos --cache new --recipe bicubic --set options.x=1", "engine resample has no option x; it has: filter"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"build {line}", message)


def test_an_interrupted_build_says_how_to_resume(home, srcache, monkeypatch):
    report = FillReport(folder=home, recipe="r", wanted=10, stored=2, added=3, interrupted=True)

    def interrupt(*_):
        raise FillInterrupted(report)

    monkeypatch.setattr("srcache.fill.fill", interrupt)
    printed = srcache("build", "photos", "--cache", "new", *recipe_words("bicubic"))
    assert printed.code == 130
    assert "the batch in hand was finished" in printed.err
    assert "3 added, 5 left" in printed.err
    assert "Run the same command again to go on" in printed.err


def test_a_link_that_leads_back_is_told_and_loses_nothing(home, srcache):
    (home / "one/up").symlink_to(".")
    printed = srcache("build", "one", "--cache", "looped", *recipe_words("lanczos"))
    (home / "one/up").unlink()
    assert (printed.code, printed.err) == (0, "  loop: up: a link to a folder that it lies in is not followed\n")
