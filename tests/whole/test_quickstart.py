"""The quickstart from end to end, with fewer pictures and epochs: twice, interrupted, and in folders of others."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srcache import samples
from srcache.errors import ConfigError
from srcache.evaluate import Convention, measure
from srcache.images import decode
from srcache.quickstart import ARMS, FACTOR, Arm, QuickstartResult, quickstart
from srcache.train import TrainSettings, load_model

SETTINGS = TrainSettings(epochs=2, width=4, batch_size=16)
PICTURES = 8 * (12 + 6)


@pytest.fixture(scope="module", autouse=True)
def _fewer_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(samples._COUNTS, "train", 12)
        patch.setitem(samples._COUNTS, "test", 6)
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[QuickstartResult, list[str]]:
    said: list[str] = []
    return quickstart(tmp_path_factory.mktemp("first") / "out", SETTINGS, said.append), said


@pytest.fixture
def out(first: tuple[QuickstartResult, list[str]], tmp_path: Path) -> Path:
    """A copy of a finished quickstart, to be treated badly."""
    return Path(shutil.copytree(first[0].out, tmp_path / "out"))


def without_seconds(arms: tuple[Arm, ...]) -> list[Arm]:
    return [replace(arm, seconds=0.0, reused=False) for arm in arms]


def test_the_first_run_makes_everything(first: tuple[QuickstartResult, list[str]]) -> None:
    result, said = first
    assert result.samples.made
    assert (result.built.wanted, result.built.stored, result.built.added) == (PICTURES, 0, PICTURES)
    assert [(arm.name, arm.tested, arm.reused) for arm in result.arms] == [(name, 48, False) for name in ARMS]
    assert all(path.exists() for path in result.places.values())
    assert sum("training on" in line for line in said) == 2 * len(ARMS)


def test_its_pictures_are_what_they_are_called(first: tuple[QuickstartResult, list[str]]) -> None:
    out = first[0].out
    files = {kind: sorted((out / "data" / kind).rglob("*.png")) for kind in ("hr", "lr")}
    names = {kind: [path.relative_to(out / "data" / kind) for path in paths] for kind, paths in files.items()}
    assert names["hr"] == names["lr"]
    assert len(names["hr"]) == PICTURES
    hr, small = (decode(files[kind][5].read_bytes()) for kind in ("hr", "lr"))
    assert hr.shape[0] == FACTOR * small.shape[0] == 64
    blocks = hr[..., 0].reshape(16, 4, 16, 4).mean((1, 3))
    assert np.corrcoef(blocks.ravel(), small[..., 0].ravel())[0, 1] > 0.9


def test_its_numbers_are_measured_on_those_pictures(first: tuple[QuickstartResult, list[str]]) -> None:
    result = first[0]
    assert len(result.sr.rows) == len(result.bicubic.rows) == 48
    name, quality = result.bicubic.rows[7]
    small, hr = (decode((result.out / "data" / kind / "test" / name).read_bytes()) for kind in ("lr", "hr"))
    enlarged = np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))
    assert measure(enlarged, hr, Convention()) == quality
    assert 15 < result.bicubic.psnr < result.sr.psnr < 40


def test_its_networks_load(first: tuple[QuickstartResult, list[str]]) -> None:
    for name in ARMS:
        model, classes = load_model(first[0].out / "runs" / name)
        assert classes == first[0].samples.classes
        assert sum(weights.numel() for weights in model.parameters()) > 1000


def test_its_sheet_shows_a_row_per_class(first: tuple[QuickstartResult, list[str]]) -> None:
    sheet = decode(first[0].places["contact sheet"].read_bytes())[..., 0]
    for label in first[0].samples.classes:
        path = min((first[0].out / "data" / "hr" / "test" / label).iterdir())
        shown = decode(path.read_bytes()).repeat(2, 0).repeat(2, 1)[..., 0]
        windows = np.lib.stride_tricks.sliding_window_view(sheet, shown.shape)
        corners = np.argwhere((windows[..., 0, ::9] == shown[0, ::9]).all(-1))
        assert any((windows[top, left] == shown).all() for top, left in corners)


def test_its_results_are_plain_json_and_its_table_says_the_same(first: tuple[QuickstartResult, list[str]]) -> None:
    result = first[0]
    plain = json.loads(result.places["numbers"].read_text())
    assert plain["schema"] == "srcache.quickstart/1"
    assert plain["complete"] is True
    assert {name: plain[name] for name in result.plain()} == json.loads(json.dumps(result.plain(), allow_nan=False))
    assert plain["sr"]["psnr"] == pytest.approx(result.sr.psnr)
    assert plain["sr"]["convention"]["library"] == "scikit-image"
    lines = {line[:14].strip(): line[14:].split() for line in result.table().splitlines()}
    assert lines["LR"] == ["-", "-", f"{result.arms[0].accuracy:.1%}"]
    assert lines["bicubic"] == [f"{result.bicubic.psnr:.2f}", f"{result.bicubic.ssim:.4f}", "-"]
    assert lines["SR (compact)"][2] == f"{result.arms[1].accuracy:.1%}"
    assert "differences of a few points are chance" in result.caveat()
    assert result.sr.psnr > result.bicubic.psnr + 0.5, "the embedded network does better than interpolation"


def test_the_second_run_finds_the_cache_full_and_repeats_nothing(
    first: tuple[QuickstartResult, list[str]], out: Path
) -> None:
    kept = [path for name in ("data", "cache", "runs") for path in (out / name).rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in kept if not path.name.startswith("lock")}
    said: list[str] = []
    again = quickstart(out, SETTINGS, said.append)
    assert (again.built.stored, again.built.added) == (PICTURES, 0)
    assert any("the cache was full, nothing to do" in line for line in said)
    assert all(arm.reused for arm in again.arms)
    assert sum("earlier, from the same data and settings" in line for line in said) == len(ARMS)
    assert without_seconds(again.arms) == without_seconds(first[0].arms)
    assert (again.sr, again.bicubic) == (first[0].sr, first[0].bicubic)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in before} == before


def test_other_settings_train_anew_on_the_same_cache(out: Path) -> None:
    again = quickstart(out, replace(SETTINGS, epochs=1))
    assert again.built.added == 0
    assert not any(arm.reused for arm in again.arms)
    assert all(math.isfinite(arm.accuracy) for arm in again.arms)


def test_an_interrupted_run_is_completed_with_the_same_numbers(
    first: tuple[QuickstartResult, list[str]], tmp_path: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("training on SR"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quickstart(tmp_path / "out", SETTINGS, stop)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["complete"] is False
    result = quickstart(tmp_path / "out", SETTINGS)
    assert [arm.reused for arm in result.arms] == [True, False, False]
    assert without_seconds(result.arms) == without_seconds(first[0].arms)
    assert result.sr == first[0].sr


def test_a_lost_cache_and_a_lost_network_are_made_again(first: tuple[QuickstartResult, list[str]], out: Path) -> None:
    shutil.rmtree(out / "cache")
    (out / "runs" / "hr" / "model.safetensors").unlink()
    (out / "runs" / "lr" / "run.json").write_text("{")
    again = quickstart(out, SETTINGS)
    assert again.built.added == PICTURES
    assert [arm.reused for arm in again.arms] == [False, True, False]
    assert without_seconds(again.arms) == without_seconds(first[0].arms)


@pytest.mark.parametrize("name", ["thesis.txt", "results.json"])
def test_a_folder_of_others_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        quickstart(tmp_path, SETTINGS)
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        quickstart(tmp_path / name, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"mine": 1}'
