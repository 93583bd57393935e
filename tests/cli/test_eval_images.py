"""`srcache eval images`: what it prints, its document, exit codes, and that nothing heavy is loaded for nothing."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image
from srcache_cli import eval_images

from srcache.study.quality import PRESETS

LINE = "eval images --reference hr --test sr"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Three references, three images with more and more noise, and no weights anywhere."""
    for number in range(3):
        for folder, sigma in (("hr", 0), ("sr", 4 + 4 * number)):
            noise = np.random.default_rng(number).normal(0, sigma, (32, 40, 3))
            path = tmp_path / folder / f"moss/m{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rgb = (picture(32, 40, number) + noise).clip(0, 255).round().astype(np.uint8)
            Image.fromarray(rgb).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path


def test_what_it_prints(home, srcache):
    printed = srcache(*LINE.split(), "--channel", "y", "--crop-border", 2, "--out", "quality")
    assert (printed.code, printed.err) == (0, "")
    head, psnr, ssim, *rest = printed.out.splitlines()
    assert head.split() == ["metric", "mean", "95", "%", "median", "n", "worst"]
    assert psnr.startswith("psnr ")
    assert psnr.split()[-2] == "moss/m2"
    assert ssim.startswith("ssim ")
    assert rest[0].startswith("psnr: Y (BT.601, 16–235, rounded), 2 px cropped, range 255, scikit-image ")
    assert rest[2:] == ["quality/quality.csv", "quality/quality.json", "quality/quality.png"]
    again = srcache(*LINE.split(), "--out", "quality")
    assert again.code == 2
    assert "quality already has quality.csv" in again.err


def test_the_document(home, srcache):
    printed = srcache(*LINE.split(), "--metrics", "psnr", "--out", "out", "--json")
    document = json.loads(printed.out)
    assert (printed.code, printed.err) == (0, "")
    assert list(document) == ["schema", "ok", "result", "failures"]
    assert (document["schema"], document["ok"], document["failures"]) == ("srcache.eval/1", True, [])
    result = document["result"]
    assert list(result) == [
        *(
            "command",
            "schema",
            "reference",
            "test",
            "recipe",
            "pairs",
            "images",
            "metrics",
            "bootstrap",
            "skipped",
            "seconds",
        ),
        "files",
    ]
    assert (result["command"], result["schema"], result["images"]) == ("images", "srcache.quality/1", 3)
    assert list(result["metrics"]["psnr"]) == [
        *("mean", "median", "interval", "n", "better", "worst", "best", "convention"),
    ]
    written = json.loads((home / "out/quality.json").read_text())
    assert written["metrics"] == result["metrics"]
    assert result["files"] == ["out/quality.csv", "out/quality.json", "out/quality.png"]


def test_a_mean_over_a_part_says_of_how_many_and_advice_is_an_option_of_the_command(home, srcache):
    Image.fromarray(picture(31, 40, 1)).save(home / "sr/moss/m1.png")
    printed = srcache(*LINE.split(), "--metrics", "psnr")
    assert printed.code == 1
    assert " 2 of 3 " in printed.out.splitlines()[1]
    assert "over 2 of 3 pairs; the others could not be measured" in printed.out
    assert "such as --resize picture:bicubic" in printed.err
    document = json.loads(srcache(*LINE.split(), "--metrics", "psnr", "--json").out)["result"]
    assert (document["pairs"], document["images"], document["metrics"]["psnr"]["n"]) == (3, 2, 2)


@pytest.mark.parametrize(("value", "n"), [("auto", "3"), ("4", "3"), ("none", "1 of 3")])
def test_mod_crop_is_found_said_or_switched_off(home, srcache, value, n):
    for number, (height, width) in enumerate([(33, 40), (34, 43), (32, 40)]):
        Image.fromarray(picture(height, width, number)).save(home / f"hr/moss/m{number}.png")
    printed = srcache(*LINE.split(), "--metrics", "psnr", "--mod-crop", value)
    assert printed.code == (0 if n == "3" else 1)
    assert f" {n} " in printed.out.splitlines()[1]
    assert ("references cut to multiples of 4 (mod-crop)" in printed.out) == (n == "3")
    assert srcache(*LINE.split(), "--mod-crop", "0").code == 2


def test_a_metric_of_one_image_needs_no_reference_and_others_say_so(home, srcache):
    printed = srcache("eval", "images", "--test", "sr", "--metrics", "PSNR")
    assert printed.code == 2
    assert "psnr compares images with references, so a folder of references is needed" in printed.err


def test_an_infinite_number_is_null_beside_a_reason(home, srcache):
    document = json.loads(srcache(*LINE.split(), "--test", "hr", "--json").out)
    psnr = document["result"]["metrics"]["psnr"]
    assert (psnr["mean"], psnr["interval"], psnr["note"]) == (None, None, "3 of 3 pairs are identical")


def test_what_has_no_interval_has_a_dash(home, srcache):
    row = srcache(*LINE.split(), "--test", "hr", "--metrics", "psnr").out.splitlines()[1]
    assert row.split() == ["psnr", "inf", "–", "inf", "3", "moss/m0", "(inf)"]


def test_the_presets_are_those_that_there_are():
    assert tuple(PRESETS) == eval_images._PRESETS


def test_a_preset_gives_metrics_and_convention_unless_an_option_does(home, srcache):
    def conventions(*words):
        document = json.loads(srcache(*LINE.split(), "--preset", "seesr-paper", "--json", *words).out)
        return {name: one["convention"] for name, one in document["result"]["metrics"].items()}

    found = conventions("--metrics", "psnr")
    assert list(found) == ["psnr"]
    assert (found["psnr"]["channel"], found["psnr"]["crop_border"]) == ("y", 0)
    found = conventions("--metrics", "psnr", "--channel", "rgb", "--crop-border", 1)
    assert (found["psnr"]["channel"], found["psnr"]["crop_border"]) == ("rgb", 1)


def test_missing_and_surplus_images_end_it(home, srcache):
    (home / "sr/moss/m1.png").rename(home / "sr/moss/m9.png")
    printed = srcache(*LINE.split(), "--json")
    assert printed.code == 2
    error = json.loads(printed.out)["error"]
    assert error["kind"] == "CatalogError"
    assert "1 missing in sr: moss/m1; 1 surplus, not in hr: moss/m9" in error["message"]


def test_images_that_fail_are_listed(home, srcache):
    (home / "sr/moss/m1.png").write_bytes(b"")
    printed = srcache(*LINE.split())
    assert printed.code == 1
    assert printed.err.splitlines() == ["1 image not measured", "  empty: moss/m1: the file has no bytes"]
    document = json.loads(srcache(*LINE.split(), "--json").out)
    assert document["ok"] is False
    assert document["failures"] == [
        {"source": "moss/m1", "metric": "", "reason": "empty", "detail": "the file has no bytes"},
    ]


def test_a_cache_is_measured_straight(home, srcache):
    caches.build(home / "sr", home / "cache")
    printed = srcache(*LINE.split(), "--reference", "sr", "--test", "cache", "--resize", "reference:bicubic", "--json")
    result = json.loads(printed.out)["result"]
    assert printed.code == 0
    assert result["recipe"].startswith("bicubic-")
    assert result["metrics"]["psnr"]["convention"]["resize"] == "reference:bicubic"


def test_options_may_come_from_a_file(home, srcache):
    (home / "images.yaml").write_text("reference: hr\ntest: sr\nchannel: y\ncrop-border: 3\n")
    result = json.loads(srcache("eval", "images", "--config", "images.yaml", "--json").out)["result"]
    convention = result["metrics"]["psnr"]["convention"]
    assert (convention["channel"], convention["crop_border"]) == ("y", 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--resize bicubic", "picture or reference with a filter"),
        ("--crop-border -1", "-1 is not in the range"),
        ("--channel luma", "'luma' is not one of"),
        ("--preset paper", "'paper' is not one of"),
        ("--recipe seesr", "no srcache cache"),
    ],
)
def test_a_mistake_is_refused(home, srcache, words, message):
    printed = srcache(*LINE.split(), *words.split())
    assert printed.code == 2
    assert message in printed.err


def test_help_names_the_licence_and_shows_examples(home, srcache):
    printed = srcache("eval", "images", "--help")
    assert printed.code == 0
    assert "PolyForm Noncommercial" in " ".join(printed.out.split())
    assert "srcache eval images --reference hr --test sr" in printed.out


# What needs pyiqa to be installed, but does not import it


def _run_apart(*words: str) -> tuple[int, str, str, set[str]]:
    """Run a line in a process of its own; also what was imported."""
    lines = ("import sys", "from srcache_cli.main import run", "code = run()", "print(*sys.modules, file=sys.stderr)")
    code = "\n".join([*lines, "sys.exit(code)"])
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    err, _, modules = done.stderr.rstrip().rpartition("\n")
    return done.returncode, done.stdout, err, set(modules.split())


@pytest.mark.medium
def test_psnr_and_ssim_load_neither_pyiqa_nor_torch(home):
    code, out, err, modules = _run_apart(*LINE.split(), "--preset", "seesr-paper", "--json")
    assert code == 0, err
    assert not {"pyiqa", "torch", "matplotlib"} & modules
    result = json.loads(out)["result"]
    assert list(result["metrics"]) == ["psnr", "ssim"]
    assert result["metrics"]["psnr"]["convention"]["channel"] == "y"
    skipped = {one["metric"]: one["reason"] for one in result["skipped"]}
    assert list(skipped) == ["lpips", "dists", "fid", "niqe", "musiq", "maniqa-pipal", "clipiqa"]
    assert all("PolyForm Noncommercial" in reason or "which is not in" in reason for reason in skipped.values())


@pytest.mark.medium
@pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa (extra iqa) is not installed")
def test_a_metric_asked_for_by_name_fails_at_once(home):
    (home / "sr/moss/m1.png").unlink()
    code, out, _, modules = _run_apart(*LINE.split(), "--metrics", "psnr,niqe,lpips", "--json")
    assert (code, "pyiqa" in modules, "skimage" in modules) == (4, False, False)
    error = json.loads(out)["error"]
    assert error["kind"] == "WeightsError"
    for name in ("niqe_modelparameters.mat", "alexnet-owt-7be5be79.pth", "LPIPS_v0.1_alex-df73285e.pth"):
        assert name in error["message"], "the weights come before the names of images, and all at once"
    assert f"-o {home}/torch/hub/pyiqa/niqe_modelparameters.mat https://" in error["message"]


def _compare(srcache, *words):
    return srcache("eval", "images", "--reference", "hr", "--compare", *words)


def test_two_folders_are_compared_image_by_image(home, srcache):
    noisy = home / "noisy"
    for path in sorted((home / "sr").rglob("*.png")):
        (noisy / "moss").mkdir(parents=True, exist_ok=True)
        rgb = np.asarray(Image.open(path)).astype(int) + np.random.default_rng(9).normal(0, 30, (32, 40, 3))
        Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(noisy / "moss" / path.name)
    printed = _compare(srcache, "sr", "noisy", "--metrics", "PSNR,Ssim", "--out", "o")
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert lines[:2] == ["A: sr", "B: noisy"]
    assert re.fullmatch(r"psnr +\S+ +\S+ +\+\S+ +\+\S+ to \+\S+ +A 3, B 0 +3 +A is better", lines[4])
    assert "for all 2 metrics together" in lines[6]
    assert lines[-2:] == ["o/compare.csv", "o/compare.json"]
    assert _compare(srcache, "sr", "noisy", "--out", "o").code == 2
    turned = json.loads(_compare(srcache, "noisy", "sr", "--json").out)["result"]
    assert (turned["schema"], turned["metrics"]["psnr"]["wins"]) == ("srcache.quality-compare/1", "second")


def test_one_cache_is_compared_by_two_of_its_recipes(home, srcache):
    for recipe in ("bicubic", "lanczos"):
        words = ["--recipe", recipe, "--set", "degradation=bicubic/4", "--set", "size=source"]
        assert srcache("build", "hr", "--cache", "cache", *words).code == 0
    both = _compare(srcache, "cache", "cache", "--recipe", "bicubic", "--recipe", "lanczos", "--metrics", "psnr")
    assert (both.code, both.err) == (0, "")
    assert re.search(r"A: cache, bicubic-\w+\nB: cache, lanczos-\w+\n", both.out)
    (home / "o.yaml").write_text("reference: hr\ncompare: [cache, sr]\nrecipe: lanczos\nmetrics: psnr\n")
    assert srcache("eval", "images", "--config", "o.yaml").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--reference hr", "or --compare A B"),
        ("--reference hr --test sr --compare sr hr", "or --compare A B"),
        ("--reference hr --test sr --recipe a --recipe b", "either --test DIR with one --recipe at most"),
        ("--compare sr hr --metrics psnr", "so a folder of references is needed"),
    ],
)
def test_what_is_to_be_measured_is_said_once(home, srcache, words, message):
    printed = srcache("eval", "images", *words.split())
    assert printed.code == 2
    assert message in printed.err
