"""doctor and the list of engines: what is there, what is missing, and the command that helps."""

import contextlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from engines import Noise

from srcache import doctor
from srcache.doctor import check_machine, list_engines, list_recipes
from srcache.errors import DamagedError, EngineError

REQUIRED = ["numpy>=1.26", 'scikit-image>=0.22; extra == "samples"', 'ruff; extra == "dev"', 'x[y,z]; extra == "all"']


@pytest.mark.medium
def test_this_machine_is_fit(tmp_path):
    found = check_machine(tmp_path)
    assert found.problems == ()
    assert found.devices[0] == "cpu"
    assert found.cores >= 1
    assert found.memory > 1 << 28
    assert {"python", "torch", "lmdb", "srcache"} <= set(found.versions)
    assert found.cache.free > 0
    assert found.cache.writable
    assert found.cache.filesystem != "unknown"


@pytest.mark.medium
def test_engines_are_listed_and_a_broken_one_with_its_error(monkeypatch):
    find = doctor.find_engine

    def find_or_fail(name):
        if name == "test-faulty":
            raise EngineError("engine test-faulty is installed but does not load: ImportError('no torch')")
        return find(name)

    monkeypatch.setattr(doctor, "find_engine", find_or_fail)
    found = {engine.name: engine for engine in list_engines()}
    assert found["resample"].info.options["filter"].default == "bicubic"
    assert found["test-faulty"].info is None
    assert "ImportError" in found["test-faulty"].error
    assert [text for text in check_machine().advice if "test-faulty" in text]
    assert check_machine().problems == (), "a third-party engine that is broken is no problem of srcache"


@pytest.fixture
def shipped(monkeypatch):
    """Recipes as if they were shipped, and whatever a test sets for their engines' extras and weights."""
    texts = {
        "easy": "engine: resample\n",
        "large": "engine: test-noise\nweights: seesr\n",
        "own": "engine: test-noise\n",
        "strange": "engine: no-such-engine\n",
    }
    monkeypatch.setattr(doctor, "shipped_recipes", lambda: texts)
    with contextlib.suppress(ImportError):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")


def _problems():
    return {recipe.name: recipe.problem for recipe in list_recipes()}


@pytest.mark.usefixtures("shipped")
def test_every_shipped_recipe_is_listed_as_ready_or_with_what_helps(monkeypatch, tmp_path):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path))
    found = _problems()
    assert (found["easy"], found["own"]) == (None, None)
    assert found["large"] == "lacks 13 of 13 files; run: srcache models fetch seesr"
    assert "no engine is named 'no-such-engine'" in found["strange"]
    monkeypatch.setattr(doctor, "requires", lambda _: ['noise-weights>=2; extra == "test-noise"'])
    assert _problems()["own"] == "lacks noise-weights; run, in a clone of srcache: pip install '.[test-noise]'"
    assert _problems()["easy"] is None


@pytest.mark.usefixtures("shipped")
def test_an_engine_whose_weights_are_damaged_is_listed_so(monkeypatch):
    def broken():
        raise DamagedError("noise.bin should have another SHA-256")

    monkeypatch.setattr(Noise, "weights_file", staticmethod(broken), raising=False)
    assert _problems()["own"] == "noise.bin should have another SHA-256"


@pytest.mark.usefixtures("shipped")
def test_a_record_that_cannot_be_read_does_not_stop_the_checkup(monkeypatch, tmp_path):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path))
    folder = tmp_path / "weights/bundles"
    folder.mkdir(parents=True)
    (folder / f"{'ab' * 32}.json").write_text("{}")
    assert "is no record of weights" in _problems()["large"]


@pytest.mark.medium
def test_listing_engines_loads_no_torch():
    code = "import sys; from srcache.doctor import list_engines; list(list_engines()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.medium
def test_missing_packages_name_the_command_that_installs_them(monkeypatch):
    installed = {"numpy": "1.25.2", "scikit-image": None, "ruff": None}
    monkeypatch.setattr(doctor, "requires", lambda _: REQUIRED)
    monkeypatch.setattr(doctor, "_installed_version", installed.get)
    found = check_machine()
    assert found.problems == ("numpy 1.25.2 is too old; run: pip install -U 'numpy>=1.26'",)
    assert [(extra.name, extra.missing, extra.command) for extra in found.extras] == [
        ("samples", ("scikit-image",), "pip install '.[samples]'")
    ]
    installed["numpy"] = None
    assert check_machine().problems == ("numpy is not installed; run: pip install 'numpy>=1.26'",)


@pytest.mark.parametrize(
    ("installed", "wanted", "older"),
    [
        ("1.26", ">=1.26", False),
        ("1.26.4", ">=1.26", False),
        ("2", ">=1.26", False),
        ("1.9", ">=1.26", True),
        ("2.11.0+cpu", ">=2.11", False),
        ("2.10.0+cu130", ">=2.11", True),
        ("11.0.0.dev1", ">=11", False),
        ("0.1", "", False),
        ("0.1", "<2,>=0.2", True),
    ],
)
def test_versions_are_compared_by_number(installed, wanted, older):
    assert doctor._is_older(installed, wanted) is older


@pytest.mark.medium
def test_a_torch_that_does_not_load_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = check_machine()
    assert found.devices == ()
    assert [text for text in found.problems if text.startswith("torch does not load")]


@pytest.mark.medium
def test_a_cache_folder_that_is_a_file_or_sealed_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    [problem] = check_machine(tmp_path / "file/cache").problems
    assert "cannot be written to; choose another folder" in problem
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found = check_machine(tmp_path)
    assert len(found.problems) == 1
    assert [text for text in found.advice if "set SRCACHE_HOME" in text]


@pytest.mark.medium
def test_a_folder_that_machines_share_is_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "file_system", lambda _: "nfs4")
    found = check_machine(tmp_path / "not/there/yet")
    assert found.problems == ()
    assert found.cache.network
    assert [text for text in found.advice if "keep LMDB caches on a local disk" in text]


def test_kinds_of_device_that_nobody_has_tried_say_so(monkeypatch):
    card = SimpleNamespace(name="Model 9", total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    monkeypatch.setattr(doctor, "accelerators", lambda: ["mps"])
    monkeypatch.setattr(doctor, "device_name", lambda kind: f"{kind} M9")
    untried = "(srcache was never tried on {}: compare some images with --device cpu)"
    assert doctor._devices()[0] == (
        "cpu",
        f"cuda:0 Model 9, 81920 MiB {untried.format('cuda')}",
        f"mps M9 {untried.format('mps')}",
    )
    monkeypatch.setattr(doctor, "TRIED", ("cpu", "cuda"))
    assert doctor._devices()[0][1] == "cuda:0 Model 9, 81920 MiB"
