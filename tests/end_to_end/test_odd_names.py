"""Images whose names have dots in other places than before a suffix, from the first command to the last.

A CSV file may name any file, so a catalog's names need not end in an image suffix: scanners number their files
`scan.0001`, and archives keep versions such as `v1.2`. Only an image suffix is cut off where names are paired.
"""

import csv
import json
import shutil
from pathlib import Path

import pytest
from images import picture
from PIL import Image
from srcache_cli.main import run

from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset

NAMES = ["scan.0001", "scan.0002", "a.b.c", "a.b.d", "x.PNG", "no dot", "v1/page.1", "v1/page.2", "v.2/page.1"]
HIDDEN = ".hidden"
STEMS = [name.removesuffix(".PNG") for name in NAMES]
SETTINGS = ["--set", "network=small:4", "--set", "size=16", "--set", "epochs=1"]


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, listed by a CSV file, and a cache of them; no file has a suffix that says what it is."""
    home = tmp_path_factory.mktemp("odd")
    for number, name in enumerate([*NAMES, HIDDEN]):
        path = home / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(24, 32, number)).save(path, "PNG")
    _write_csv(home / "photos/list.csv", NAMES)
    _write_csv(home / "photos/all.csv", [*NAMES, HIDDEN])
    recipe = home / "bicubic-x2.yaml"
    recipe.write_text("engine: resample\nscale: 2\n")
    assert run(["build", str(home / "photos/list.csv"), "--cache", str(home / "cache"), "--recipe", str(recipe)]) == 0
    return home


def _write_csv(path: Path, names: list[str]) -> None:
    path.write_text("path,label\n" + "".join(f"{name},{'ab'[place % 2]}\n" for place, name in enumerate(names)))


@pytest.fixture
def home(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `photos/list.csv`, and `cache` with its images at twice their size."""
    shutil.copytree(_made, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def _files(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png")}


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["export", "cache", "out", "--names"], "out"),
        (["prepare", "lr", "photos/list.csv", "out", "--factor", "2"], "out"),
    ],
    ids=["export", "prepare lr"],
)
def test_every_image_is_written_under_its_own_name(home: Path, words: list[str], folder: str) -> None:
    assert run(words) == 0
    assert _files(folder) == {f"{stem}.png" for stem in STEMS}


def test_a_data_set_pairs_its_images_with_their_references(home: Path) -> None:
    assert run(["export", "cache", "out", "--names"]) == 0
    listed = SRAugmentedDataset("photos/list.csv", cache="cache", policy="hr=1", hr="photos/list.csv")
    for place in range(len(NAMES)):
        assert listed[place][0] == Image.fromarray(picture(24, 32, place))
    exported = SRAugmentedDataset("photos/list.csv", cache="cache", policy="hr=1", hr="out")
    served = SRAugmentedDataset("photos/list.csv", cache="cache", policy="sr=1")
    for place in range(len(NAMES)):
        assert exported[place][0] == served[place][0]


def test_image_quality_is_measured_for_each_pair(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "cache", "reference", "--names"]) == 0
    capfd.readouterr()
    assert run(["eval", "images", "--reference", "reference", "--test", "cache", "--out", "quality", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["result"]["images"] == len(NAMES)
    with Path("quality/quality.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == set(STEMS)
    assert {row["ssim"] for row in rows} == {"1.0"}, "each image is compared with itself"


def test_a_run_is_trained_on_them_and_predicts_each(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arm = ["--lr", "photos/list.csv", "--hr", "photos/list.csv", "--cache", "cache", "--arm", "hr=0.5,sr=0.5"]
    assert run(["train", *arm, "--validation", "0.4", "--out", "run", *SETTINGS]) == 0
    predict = ["predict", "run", "photos/list.csv"]
    assert run([*predict, "--domain", "sr", "--cache", "cache", "--out", "sr.csv"]) == 0
    assert run([*predict, "--domain", "hr", "--hr", "photos/list.csv", "--out", "hr.csv"]) == 0
    for table in ("sr.csv", "hr.csv"):
        with Path(table).open(newline="") as file:
            assert [row["name"] for row in csv.DictReader(file)] == STEMS
    capfd.readouterr()
    assert run(["eval", "classifiers", "sr.csv", "hr.csv", "--json"]) == 0
    assert '"ok": true' in capfd.readouterr().out


@pytest.mark.parametrize("words", [["--lr", "photos/list.csv"], ["--lr", "photos/list.csv", "--hr", "photos/list.csv"]])
def test_label_safety_is_measured_for_each(home: Path, capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    capfd.readouterr()
    assert run(["safety", "cache", *words]) == 0
    assert f"{len(NAMES)} SR images measured ({len(NAMES)} now)" in capfd.readouterr().out


def test_a_name_that_starts_with_a_dot_is_served_from_a_csv_file_and_hidden_in_a_folder(home: Path) -> None:
    assert run(["prepare", "lr", "photos/all.csv", "lr", "--factor", "2"]) == 0
    assert _files("lr") == {f"{stem}.png" for stem in [*STEMS, HIDDEN]}
    assert HIDDEN not in {row.name.removesuffix(".png") for row in scan("lr").rows}
    data = SRAugmentedDataset("photos/all.csv", cache="cache", policy="hr=1", hr="photos/all.csv")
    assert data[len(NAMES)][0] == Image.fromarray(picture(24, 32, len(NAMES)))


def test_two_names_that_differ_in_an_image_suffix_alone_keep_it(home: Path) -> None:
    shutil.copy("photos/scan.0001", "photos/scan.0001.png")
    _write_csv(Path("photos/two.csv"), ["scan.0001", "scan.0001.png", "scan.0002"])
    assert run(["prepare", "lr", "photos/two.csv", "out", "--factor", "2"]) == 0
    assert _files("out") == {"scan.0001.png", "scan.0001.png.png", "scan.0002.png"}
