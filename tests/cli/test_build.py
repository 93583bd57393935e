"""`srcache build`: what it prints, its dry run, its mistakes, and an interruption."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from command_lines import recipe_words
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog import hashing
from srcache.catalog.parts import parts_of
from srcache.catalog.scanning import scan
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


# Parts, and several devices


def test_parts_of_a_catalog_make_everything_and_say_which_they_are(home, srcache):
    assert srcache("scan", "photos", "--out", "catalog.csv").code == 0
    digest = scan("photos").digest
    words = ["build", "catalog.csv", "--cache", "new", *recipe_words("bicubic")]
    printed = [srcache(*words, "--shard", f"{index}/2") for index in range(2)]
    assert sorted(one.code for one in printed) == [0, 1], "one part has the file that is none"
    for index, one in enumerate(printed):
        line = f"part {index} of 2: its share of 4 images in catalog {digest[:8]} (parts are counted from 0)"
        assert one.out.splitlines()[1] == line
        assert "hashes" not in one.err
    assert sum(int(re.search(r"^added +(\d+)", one.out, re.MULTILINE)[1]) for one in printed) == 3
    assert srcache("verify", "new").code == 0
    found = json.loads(srcache(*words, "--shard", "1/2", "--json").out)["result"]
    assert found["part"] == {"index": 1, "count": 2}
    whole = json.loads(srcache(*words, "--json").out)["result"]
    assert (whole["wanted"], whole["stored"], "part" in whole) == (4, 3, False)
    assert f"3 of 4 images of catalog {digest[:8]}\n" in srcache("info", "new").out


def test_info_says_in_which_parts_the_rest_is(home, srcache):
    srcache("scan", "photos", "--out", "catalog.csv")
    catalog = scan("photos")
    first, *rest = parts_of([row.key for row in catalog.rows], 7)
    srcache("build", "catalog.csv", "--cache", "new", *recipe_words("bicubic"), "--shard", f"{first}/7")
    told = srcache("info", "new").out
    assert rest
    assert f"of 4 images of catalog {catalog.digest[:8]}; the rest is in parts " in told
    assert all(f"{index}/7" in told for index in rest)


def test_a_part_of_a_folder_warns_that_each_hashes_all(home, srcache):
    words = ["build", "one", "--cache", "new", *recipe_words("bicubic"), "--json"]
    printed = srcache(*words, "--shard", "0/1")
    assert (printed.code, json.loads(printed.out)["ok"]) == (0, True)
    assert printed.err == (
        "srcache: each part of a build hashes all images of one again; run `srcache scan one --out catalog.csv` once, "
        "and build catalog.csv\n"
    )
    srcache("scan", "one", "--out", "catalog.csv")
    words[1] = "catalog.csv"
    assert srcache(*words, "--shard", "0/1").err == ""
    assert "leave --rehash out" in srcache(*words, "--shard", "0/1", "--rehash").err


def test_a_dry_run_of_a_part(home, srcache):
    words = ["build", "photos", "--cache", "new", *recipe_words("bicubic"), "--dry-run"]
    found = [json.loads(srcache(*words, "--shard", f"{index}/2", "--json").out)["result"] for index in range(2)]
    assert [one["part"] for one in found] == [{"index": 0, "count": 2}, {"index": 1, "count": 2}]
    assert sum(one["missing"] for one in found) == 4
    assert "part 1 of 2: its share of 4 images" in srcache(*words, "--shard", "1/2").out
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--shard 3/3", "'--shard': parts are counted from 0: expected 0/3 to 2/3, but got 3/3"),
        ("--shard x", "'--shard': expected a part i/N, such as 0/8 for the first of eight, but got 'x'"),
        ("--shard 0/2 --store lmdb", "is filled by one at a time; use a cache with --store shards"),
        ("--devices cpu,cpu --store lmdb", "is filled by one at a time; use a cache with --store shards"),
        ("--devices cpu,", "expected devices separated by commas, such as cuda:0,cuda:1, but got 'cpu,'"),
        ("--devices cpu,cpu --device cpu", "--device and --devices say the same thing twice"),
    ],
)
def test_a_mistake_about_parts_or_devices_is_refused_before_anything_is_hashed(
    home, refuse, monkeypatch, words, message
):
    monkeypatch.setattr(hashing, "file_key", None)
    refuse(f"build photos --cache new --recipe bicubic --rehash {words}", message)


def test_a_cache_of_lmdb_is_left_as_it_is(home, refuse):
    refuse(
        "build photos --cache cache --recipe bicubic --shard 0/2", "`srcache export cache NEW --format shards` makes"
    )


def test_a_device_that_is_not_there_is_no_traceback(home, srcache):
    printed = srcache("build", "photos", "--cache", "new", "--recipe", "bicubic", "--devices", "cpu,cuda:99")
    assert printed.code == 4
    assert "device cuda:99 was asked for, but torch finds" in printed.err
    words = ["--recipe", "bicubic", "--set", "scale=2", "--device", "cuda:99"]
    assert srcache("build", "photos", "--cache", "new", *words).code == 4
    assert not Path("new").exists(), "nothing is left behind"
    before = sorted(Path("cache").rglob("*"))
    assert srcache("build", "photos", "--cache", "cache", *words, "--set", "scale=3").code == 4
    assert sorted(Path("cache").rglob("*")) == before


def test_one_of_several_devices_is_that_device(home, srcache, monkeypatch):
    seen = []

    def fill(catalog, recipe, cache, settings, progress):
        seen.append(settings.device)
        return FillReport(folder=cache, recipe="r", wanted=1, stored=1)

    monkeypatch.setattr("srcache.fill.fill", fill)
    words = ["build", "one", "--cache", "new", "--recipe", "bicubic"]
    assert srcache(*words, "--devices", "cuda:1").code == 0
    Path("options.yaml").write_text("device: cuda:2\n")
    assert srcache(*words, "--config", "options.yaml", "--devices", "cuda:3").code == 0
    assert seen == ["cuda:1", "cuda:3"]


@pytest.mark.medium
def test_two_devices_write_one_document(home, srcache):
    words = ["build", "photos", "--cache", "new", "--recipe", "bicubic", "--set", "scale=2", "--devices", "cpu,cpu"]
    printed = srcache(*words, "--json")
    found = json.loads(printed.out)
    assert (printed.code, printed.err) == (1, "")
    result = found["result"]
    assert (result["added"], result["failed"], result["left"]) == (3, {"empty": 1}, 1)
    assert result["device"] in ("cpu", "cpu, cpu"), "of four images all may be in one part"
    assert [failed["source"] for failed in found["failures"]] == ["größe 1/leer.png"]
    assert "to do" in srcache(*words, "--dry-run").out


@pytest.mark.medium
def test_a_cache_below_a_url_is_built_looked_at_and_pruned(home, srcache):
    """In the memory of this process; what a service and other processes do is in tests/faults."""
    url = f"memory://commands-{home.name}/cache"
    words = ["build", "one", "--cache", url, *recipe_words("lanczos"), "--spool", "spool"]
    built = srcache(*words, "--json")
    assert built.code == 0, built.err
    result = json.loads(built.out)["result"]
    assert (result["folder"].rpartition("/")[0], result["added"], result["waiting"]) == (url, 1, 0)
    assert srcache("build", url, "--cache", "x", "--recipe", "bicubic").code == 2, "no image lies there"
    assert url in srcache("info", url).out
    assert srcache("export", url, "files").code == 0
    assert srcache("merge", url, "--into", "disk").code == 0
    assert srcache("merge", "disk", "--into", f"{url}-2").code == 0
    repaired = srcache("repair", url)
    assert (repaired.code, "nothing is mended in place" in repaired.err) == (2, True)
    verified = srcache("verify", url)
    assert (verified.code, "is seen by the process only that made it" in verified.err) == (2, True)
    pruned = srcache("prune", url, result["recipe"], "--yes")
    assert (pruned.code, f"removed {url}/{result['recipe']}" in pruned.out) == (0, True)
    assert open_cache(url).folders() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cache", "s3://me:secret@bucket/x"], "must not hold a password"),
        (["--cache", "memory://x/y", "--store", "lmdb"], "keeps its images in shards, not in lmdb"),
        (["--cache", "new", "--spool", "spool"], "leave --spool out"),
        (["--cache", "memory://x/y", "--spool", "s3://bucket/x"], "expected a path of this machine, but got a URL"),
        (["--cache", "nowhere://x/y"], "fsspec knows only"),
    ],
)
def test_a_url_that_is_not_good_for_it_is_refused(home, srcache, words, said):
    printed = srcache("build", "one", "--recipe", "bicubic", *words)
    assert printed.code == 2
    assert said in printed.err
    assert "secret" not in printed.err


def test_a_dry_run_says_what_filling_up_rare_shapes_costs(home, srcache, make_image):
    (home / "many").mkdir()
    for number in range(9):
        image = make_image(8, 8 if number < 4 else 9 + number // 6, number)
        Image.fromarray(image).save(home / "many" / f"{number}.png")
    (home / "r.yaml").write_text("engine: test-shapes\nscale: 2\n")
    words = ["build", "many", "--cache", "new", "--recipe", "r.yaml", "--device", "cpu", "--dry-run"]
    lines = srcache(*words).out.splitlines()
    assert re.fullmatch(r"engine calls +3 \(3 shapes of images\)", lines[6])
    assert re.fullmatch(r"filling up +3 of 12 images that the engine is given \(25 %\)", lines[7])
    assert re.fullmatch(r"rare shapes +2, with fewer images than a batch: 9×8 \(2 of 4\), 10×8 \(3 of 4\)", lines[8])
    assert re.match(r"--batch 1 +computes 9 images instead of 12; on a GPU each of them takes longer", lines[9])
    assert "filling" not in srcache(*words, "--batch", "1").out
    calls = json.loads(srcache(*words, "--json").out)["result"]["calls"]
    assert (calls["calls"], calls["computed"], len(calls["rare"])) == (3, 12, 2)
