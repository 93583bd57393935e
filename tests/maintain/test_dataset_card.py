"""The card of a data set: a head that YAML reads, licences as far as they are known, names that break nothing."""

from dataclasses import replace

import pytest
import yaml

from srcache.maintain.dataset_card import dataset_card
from srcache.maintain.training_readme import TrainingSet, TrainingShard
from srcache.recipe.reading import load_recipe

RECIPE = load_recipe("compact")
CONTENT = TrainingSet(
    recipe=RECIPE.name,
    fingerprint=RECIPE.fingerprint,
    catalog="c" * 32,
    seed=None,
    samples=1500,
    members=("name", "key", "lr", "sr000", "sr001", "hr", "label"),
    classes=("a|b", "größe"),
    shards=(TrainingShard(file="train-00000.parquet", samples=1500, bytes=2048),),
)


def head_of(page: str):
    before, head, _ = page.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head)


def test_the_head_is_what_the_hub_and_datasets_read():
    head = head_of(dataset_card(CONTENT, RECIPE))
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "train-*.parquet"}]}
    ]
    assert head["task_categories"] == ["image-classification", "image-to-image"]
    assert head["size_categories"] == ["1K<n<10K"]
    assert "license" not in head, "nobody but the user knows the licence of the source images"


def test_the_page_says_recipe_columns_classes_licences_and_how_to_share():
    page = dataset_card(CONTENT, RECIPE)
    assert f"fingerprint `{RECIPE.fingerprint}`" in page
    assert "- `sr001`: SR image 1\n" in page
    assert "- `lr`: LR, the source image\n- " in page
    assert "| 0 | a\\|b |" in page
    assert (
        f"- Weights: Apache-2.0\n\nThis is of what made the SR images. They have the SHA-256 digest `{RECIPE.weights}`"
        in page
    )
    assert "hf upload USER/NAME . . --repo-type dataset" in page


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (load_recipe("bicubic"), "- Weights: none are needed\n"),
        (replace(RECIPE, engine="gone"), "- Engine `gone`: not known; it is not installed where"),
        (load_recipe("bicubic", {"degradation": "bicubic/4"}), "- `hr`: HR, the source image"),
    ],
)
def test_what_is_known_of_engines(recipe, words):
    assert words in dataset_card(replace(CONTENT, recipe=recipe.name), recipe)


def test_below_a_url_the_call_names_it():
    page = dataset_card(CONTENT, RECIPE, "s3://bucket/x")
    assert 'load_dataset("parquet", data_files="s3://bucket/x/train-*.parquet", split="train")' in page
    assert "hf upload" not in page
