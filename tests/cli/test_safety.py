"""`srcache safety`: what it prints, its JSON document, its exit codes, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from images import picture
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.scores import TABLE
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.recipe.reading import load_recipe, resolve
from srcache.study.train.networks import build_network
from srcache.study.train.runs import TrainRun, write_finished, write_weights
from srcache.study.train.settings import TrainSettings

NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2, "options": {"strength": 0.5}})
PLAIN = load_recipe("bicubic", {"scale": 2})


@pytest.fixture
def cache(photos) -> Path:
    fill(scan(photos), NOISY, photos.parent / "cache", FillSettings(device="cpu"))
    return photos.parent / "cache"


@pytest.fixture
def judge(tmp_path) -> Path:
    """A run folder as a training leaves it, with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build_network("small:4", 3, (16, 16))
    folder = tmp_path / "run"
    folder.mkdir()
    write_finished(
        TrainRun(
            folder=folder,
            arm="lr",
            classes=("bark", "gravel", "moss"),
            settings=TrainSettings(network="small:4", size=16),
            inputs={},
            history=(),
            best_epoch=1,
            metrics={},
            balance={},
            versions={},
            device="cpu",
            weights=write_weights(folder / "model.safetensors", network.state_dict()),
            seconds=0.0,
            stopped=False,
        )
    )
    return folder


def table_of(cache: Path, recipe: str = "noisy") -> Path:
    return open_cache(cache).find(recipe).path / TABLE


def test_what_it_prints(srcache, photos, cache, judge):
    printed = srcache("safety", cache, "--lr", photos, "--classifier", judge, "--device", "cpu")
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[0] == f"{table_of(cache)}: 12 SR images measured (12 now)"
    assert lines[2].split() == ["least", *["5", "%", "25", "%"], "median", *["75", "%", "95", "%"], "most"]
    names = ["agree", "feature_distance", "back_projection", "back_projection_error", "safe"]
    assert [line.split()[0] for line in lines[3:8]] == names
    assert [line.split()[0] for line in lines[9:]] == ["filter", "safe>0.5", "safe>0.8", "safe>0.9", "safe>0.95"]
    again = srcache("safety", cache, "--lr", photos, "--classifier", judge, "--device", "cpu")
    assert "12 SR images measured (0 now)" in again.out
    assert srcache("safety", cache).out == again.out.replace(" (0 now)", "")


def test_without_a_classifier_it_says_so(srcache, photos, cache):
    printed = srcache("safety", cache, "--lr", photos)
    assert printed.out.endswith("no classifier was used: `safe` depends on back-projection alone (--classifier RUN)\n")
    assert "agree" not in printed.out


def test_what_a_filter_removes_is_listed(srcache, photos, cache):
    srcache("safety", cache, "--lr", photos)
    rows = [line.split(",") for line in table_of(cache).read_text().splitlines()[1:]]
    middle = sorted(float(row[4]) for row in rows)[6]
    text = f"safe>={middle}"
    removed = [row[1] for row in rows if float(row[4]) < middle]
    printed = srcache("safety", cache, "--show", text, "--show", "back_projection>0")
    assert f"safe>={middle} keeps 6 and removes 6:\n" + "\n".join(f"  {name}" for name in removed) in printed.out
    assert printed.out.endswith("back_projection>0 keeps 12 and removes 0\n")
    document = json.loads(srcache("safety", cache, "--show", text, "--json").out)
    assert document["result"]["filters"] == [{"filter": text, "kept": 6, "removed": 6, "names": removed}]


@pytest.mark.medium
def test_a_long_list_is_cut_in_text_only(srcache, tmp_path):
    (tmp_path / "many").mkdir()
    for seed in range(60):
        Image.fromarray(picture(8, 8, seed)).save(tmp_path / "many" / f"{seed:02d}.png")
    fill(scan(tmp_path / "many"), NOISY, tmp_path / "cache", FillSettings(device="cpu"))
    printed = srcache("safety", tmp_path / "cache", "--lr", tmp_path / "many", "--show", "safe>1")
    assert printed.out.endswith("  49\n  … and 10 more (--json lists all)\n")
    document = json.loads(srcache("safety", tmp_path / "cache", "--show", "safe>1", "--json").out)
    assert len(document["result"]["filters"][0]["names"]) == 60


def test_the_document(srcache, photos, cache, judge):
    words = ("safety", cache, "--lr", photos, "--classifier", judge, "--device", "cpu", "--show", "safe>0.5", "--json")
    document = json.loads(srcache(*words).out)
    assert list(document) == ["schema", "ok", "result", "failures"]
    assert (document["schema"], document["ok"], document["failures"]) == ("srcache.safety/1", True, [])
    result = document["result"]
    assert list(result) == [
        *("table", "convention", "measured", "known", "absent", "failed", "rows", "quantiles", "safe_above", "filters")
    ], "scripts of users read this"
    assert list(result["convention"]) == ["version", "filter", "reference", "classifier"]
    assert list(result["quantiles"]["safe"]) == ["0", "0.05", "0.25", "0.5", "0.75", "0.95", "1"]
    assert list(result["safe_above"]) == ["0.5", "0.8", "0.9", "0.95"]
    assert (result["measured"], result["known"], result["rows"]) == (12, 0, 12)
    shown = json.loads(srcache("safety", cache, "--json").out)["result"]
    assert shown == {name: result[name] for name in ("table", "convention", "rows", "quantiles", "safe_above")} | {
        "filters": []
    }


def test_infinite_numbers_are_null(srcache, tmp_path):
    (tmp_path / "flat").mkdir()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "flat" / "one.png")
    fill(scan(tmp_path / "flat"), PLAIN, tmp_path / "cache", FillSettings(device="cpu"))
    words = ("safety", tmp_path / "cache", "--lr", tmp_path / "flat")
    assert json.loads(srcache(*words, "--json").out)["result"]["quantiles"]["back_projection"]["0.5"] is None
    assert "∞" in srcache(*words).out


def test_what_failed_is_listed(srcache, photos, cache):
    (photos / "list.csv").write_text("path,label\nmoss/moss0.png,moss\nmoss/moss1.png,moss\n")
    words = ("safety", cache, "--lr", photos / "list.csv")
    store = open_cache(cache).find("noisy").store_path / "data.mdb"
    data = store.read_bytes()
    assert b"qoif" in data
    store.write_bytes(data.replace(b"qoif", b"qoiF"))
    printed = srcache(*words)
    assert printed.code == 3
    assert "measured (0 now; failed: checksum 2)" in printed.out
    assert "checksum: moss/moss0.png: the SR image " in printed.err
    document = json.loads(srcache(*words, "--json").out)
    assert (document["ok"], len(document["failures"]), document["result"]["rows"]) == (False, 2, 0)


def test_images_without_sr_are_counted(srcache, photos, cache):
    Image.fromarray(picture(9, 9, 77)).save(photos / "moss" / "new.png")
    assert "12 SR images measured (12 now; 1 image without an SR image)" in srcache("safety", cache, "--lr", photos).out


REFUSED = {
    "no table yet": ((), "nothing was measured of the SR images in .*; give --lr"),
    "nothing to measure": (("--again",), "there is nothing to measure without images"),
    "a filter that is none": (("--lr", "{photos}", "--show", "sure>1"), "the names are safe, agree"),
    "no such recipe": (("--recipe", "lanczos"), "no recipe 'lanczos'"),
    "no run": (("--lr", "{photos}", "--classifier", "{photos}"), "expected the folder of a run"),
    "hr alone": (("--hr", "{photos}"), "was made from LR images"),
    "no such device": (("--lr", "{photos}", "--classifier", "{run}", "--device", "tpu"), "a device is cpu, cuda"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_refused(srcache, photos, cache, judge, case):
    words, message = REFUSED[case]
    printed = srcache("safety", cache, *(word.format(photos=photos, run=judge) for word in words))
    assert printed.code in (2, 4)
    assert re.search(message, printed.err), printed.err
    assert not table_of(cache).exists()


def test_one_of_several_recipes_must_be_named(srcache, photos, cache):
    fill(scan(photos), PLAIN, cache, FillSettings(device="cpu"))
    printed = srcache("safety", cache, "--lr", photos)
    assert printed.code == 2
    assert "holds 2 recipes" in printed.err
    assert srcache("safety", cache, "--lr", photos, "--recipe", "bicubic").code == 0
    assert not table_of(cache).exists()


def test_a_damaged_table_is_not_a_missing_one(srcache, photos, cache):
    srcache("safety", cache, "--lr", photos)
    table_of(cache).write_text("mine")
    printed = srcache("safety", cache)
    assert printed.code == 3
    assert "--again" in printed.err
    assert srcache("safety", cache, "--lr", photos, "--again").code == 0
