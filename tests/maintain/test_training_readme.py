"""The page of training shards: what it says is so, and its code runs."""

import re
import warnings

import numpy as np
import pytest
import yaml
from images import picture
from PIL import Image

from srcache.catalog.scanning import scan
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.maintain.export_shards import JoinSettings, export_join
from srcache.maintain.training_readme import TrainingSet, TrainingShard, class_table, readme
from srcache.recipe.degradation import Degradation
from srcache.recipe.recipe import Recipe

CONTENT = TrainingSet(
    recipe="plain",
    fingerprint="0" * 16,
    catalog="1" * 32,
    seed=3,
    samples=2,
    members=("lr.png", "hr.jpg", "sr000.png", "sr001.png", "cls", "json"),
    classes=("a|b", "cat", r"`t` *s*_<i>\[x]"),
    shards=(TrainingShard(file="shard-000000.tar", samples=2, bytes=2048),),
)


def test_no_name_of_a_class_is_more_than_text():
    for name, shown in (
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("![x](https://evil)", r"\!\[x\](https://evil)"),
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        ("```\n---\nlicense: evil\n---", r"\`\`\` --- license: evil ---"),
        ("\x1b[2J\u202egnp", r"\\x1b\[2J\\u202egnp"),
        ("Möwe_1 (jung)", r"Möwe\_1 (jung)"),
    ):
        assert class_table((name,), "cls").splitlines()[-1] == f"| 0 | {shown} |"


def test_the_page_names_what_there_is():
    text = readme(CONTENT, Recipe(name="plain", engine="resample", scale=2))
    head = yaml.safe_load(text.split("---")[1])
    assert head == {"configs": [{"config_name": "default", "data_files": "*.tar"}]}
    for line in (
        "# 2 images with SR variants",
        "1 tar file, 2.0 KiB",
        "shuffled by seed 3",
        "- `lr.png`: LR, the source image",
        "- `hr.jpg`: HR, paired with LR by name",
        "- `sr001.png`: SR image 1",
        "| 0 | a\\|b |",
        "| 1 | cat |",
        r"| 2 | \`t\` \*s\*\_&lt;i&gt;\\\[x\] |",
        "fingerprint `0000000000000000`",
        '.to_tuple("sr000.png", "cls")',
    ):
        assert line in text


def test_where_lr_is_made_of_hr_the_page_says_so():
    recipe = Recipe(name="plain", engine="resample", scale=2, degradation=Degradation(factor=2))
    text = readme(CONTENT, recipe)
    assert "- `lr.png`: LR, made of HR by bicubic/2" in text
    assert "- `hr.jpg`: HR, the source image" in text


@pytest.mark.medium
@pytest.mark.parametrize("labelled", [True, False])
def test_its_code_runs_where_it_lies(tmp_path, monkeypatch, labelled):
    for number in range(4):
        file = tmp_path / "photos" / ("ab"[number % 2] if labelled else "") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(8, 9, number)).save(file)
    recipe = Recipe(name="bicubic", engine="resample", scale=2, options={"filter": "bicubic"})
    fill(scan(tmp_path / "photos"), recipe, tmp_path / "cache", FillSettings(device="cpu"))
    export_join(tmp_path / "cache", tmp_path / "out", JoinSettings(lr=tmp_path / "photos"))
    (block,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    scope: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webdataset's own
        exec(block.replace("num_workers=min(2, len(shards))", "num_workers=0"), scope)
    assert np.asarray(scope["image"]).shape == (3, 16, 18)
    assert scope["target"] in ((0, 1) if labelled else (scope["target"],))
