"""The six ways in which the thesis's program was used, each as a list of commands, run in order on tiny images.

The lists are those of the page on experiments, word for word; what makes them quick is added behind the words.
"""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import paths
import pytest
from srcache_cli.main import run
from tiny_experiment import make_images

from srcache.images import decode

WAYS = {
    "The whole process": """
srcache experiment thesis-corrected --out study --set data.hr=photos
""",
    "Preparation only": """
srcache prepare split photos data/hr --ratios 0.8,0.1,0.1 --seed 1
srcache prepare lr data/hr/train data/lr/train --factor 4
srcache prepare lr data/hr/validation data/lr/validation --factor 4
srcache prepare lr data/hr/test data/lr/test --factor 4
""",
    "Super-resolution only": """
srcache build data/lr/train --cache cache --recipe compact
srcache build data/lr/validation --cache cache --recipe compact
srcache export cache sr --recipe compact
""",
    "Training only": """
srcache train --lr data/lr/train --validation data/lr/validation --arm lr --out runs/lr
srcache train --lr data/lr/train --validation data/lr/validation --arm sr --cache cache --recipe compact --out runs/sr
srcache train --hr data/hr/train --validation data/hr/validation --arm hr --out runs/hr
""",
    "Classifying with a trained network": """
srcache predict runs/hr new --unlabelled --out new.csv
srcache predict runs/hr data/hr/test --out hr.csv
srcache predict runs/lr data/lr/test --out lr.csv
srcache eval classifiers LR=lr.csv HR=hr.csv --out compared
""",
    "Super-resolution and its evaluation": """
srcache build data/lr/test --cache cache --recipe compact
srcache eval images --reference data/hr/test --test cache --recipe compact --out quality
srcache safety cache --lr data/lr/test --hr data/hr/test --classifier runs/hr
""",
}
"""In this order: later ones use what earlier ones made."""

QUICK = {
    "experiment": "--jobs 1 --set train.epochs=1 --set train.network=small:2 --set train.size=32 --set seeds=[0] "
    "--set recipe=compact --set further.gan=bicubic --set device=cpu --set train.device=cpu "
    "--set quality.metrics=[psnr]",
    "train": "--set epochs=1 --set network=small:2 --set size=32",
}
PAGE = paths.ROOT / "configs/experiments/README.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` (a folder per class) and `new` (no classes)."""
    home = tmp_path_factory.mktemp("home")
    for path in sorted(make_images(home / "made", size=32).rglob("*.png")):
        label = path.parent.name
        (home / "photos" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, home / "photos" / label / f"{path.parts[-3]}-{path.name}")
    (home / "new").mkdir()
    shutil.copy(home / "made/test/down/down-0.png", home / "new/unknown.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for commands in WAYS.values():
            for line in commands.strip().splitlines():
                words = shlex.split(line)[1:]
                assert run([*words, *QUICK.get(words[0], "").split()]) == 0, line
    return home


def test_the_whole_process_ends_with_a_report(home: Path) -> None:
    assert json.loads((home / "study/results.json").read_text())["complete"] is True
    assert (home / "study/report.html").is_file()


def test_preparation_leaves_hr_and_lr_of_the_same_names(home: Path) -> None:
    roots = {kind: home / "data" / kind for kind in ("hr", "lr")}
    names = {kind: {path.relative_to(root) for path in root.rglob("*.png")} for kind, root in roots.items()}
    assert names["hr"] == names["lr"]
    assert {name.parts[0] for name in names["hr"]} == {"train", "validation", "test"}
    assert len(names["hr"]) == 34


def test_super_resolution_leaves_four_times_larger_images(home: Path) -> None:
    made = list((home / "sr").rglob("*.*"))
    images = [decode(path.read_bytes()).shape for path in made if path.suffix in (".png", ".qoi")]
    assert images
    assert set(images) == {(32, 32, 3)}


def test_training_leaves_a_run_for_each_arm(home: Path) -> None:
    for arm in ("lr", "sr", "hr"):
        assert json.loads((home / f"runs/{arm}/run.json").read_text())["arm"] == arm


def test_classifying_answers_for_images_with_and_without_classes(home: Path) -> None:
    with (home / "new.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], row["label"]) == ("unknown", "")
    assert row["prediction"] in ("across", "down")
    assert json.loads((home / "compared/compare.json").read_text())["images"] == sum(
        1 for _ in (home / "data/hr/test").rglob("*.png")
    )


def test_evaluation_measures_every_test_image(home: Path) -> None:
    found = json.loads((home / "quality/quality.json").read_text())
    assert found["images"] == sum(1 for _ in (home / "data/hr/test").rglob("*.png"))
    assert set(found["metrics"]) == {"psnr", "ssim"}
    assert next((home / "cache").glob("compact-*/safety.csv")).is_file()


def test_the_page_has_these_lists_and_no_others() -> None:
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## Six ways of use") :].partition("\n## ")[0]
    assert re.findall(r"^\*\*(.*?)\.\*\*", section, re.MULTILINE) == list(WAYS)
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert [block.strip() for block in blocks] == [commands.strip() for commands in WAYS.values()]
