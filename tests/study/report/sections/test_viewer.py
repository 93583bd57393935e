"""The viewer's markup and data: hidden without its script, and choices that fit the images that are there."""

import copy
from base64 import b64decode

import pytest
from report_page import Page, data_of

from srcache.images import decode
from srcache.study.report.data.copies import copy_images
from srcache.study.report.data.gallery import image_files, make_gallery
from srcache.study.report.data.study import Study
from srcache.study.report.sections.viewer import image_viewer


@pytest.fixture
def study(small):
    out, results = small
    return Study(results=copy.deepcopy(results), root=out)


def _view(study):
    shown = make_gallery(study)
    return (
        f"<div>{image_viewer(study, shown, copy_images(dict.fromkeys(image_files(study, shown), study.colors)))}</div>"
    )


def _options(page, key):
    return [one["text"] for one in page.all("option") if f"choose-{key}" in one["ids"]]


def test_without_a_script_the_controls_are_hidden_and_a_sentence_stands_there(study):
    page = Page(_view(study))
    assert "hidden" in page.by_id("viewer")["attrs"]
    (still,) = [one for one in page.all("p") if one["attrs"].get("class") == "still"]
    assert "needs JavaScript" in still["text"]
    assert "hidden" not in still["attrs"]


def test_the_choices_are_those_of_the_images(study):
    page = Page(_view(study))
    assert _options(page, "class") == ["Every class", "brick", "grass", "gravel"]
    assert _options(page, "arm") == ["LR", "Bicubic", "SR", "HR"]
    assert _options(page, "left") == ["LR", "Bicubic"]
    sets = _options(page, "set")
    assert sets[0] == "All"
    assert all(one.startswith("Only ") and " right, not " in one for one in sets[1:])
    assert len(data_of(_view(study))["sets"]) == len(sets) - 1


def test_a_variant_that_no_image_has_is_not_offered(study):
    for row in study.results["images"]:
        del row["bicubic"]
    page = Page(_view(study))
    assert _options(page, "left") == []
    assert list(data_of(_view(study))["kinds"]) == ["lr", "sr", "hr"]


def test_the_data_of_an_image_is_what_the_results_say(study):
    row = study.results["images"][0]
    row |= {"safe": float("nan"), "quality": {"sr": {"psnr": 30.126, "note": "x"}, "hr": 3}}
    del row["predictions"]["lr"]
    first = data_of(_view(study))["pictures"][0]
    assert (first["name"], first["label"], first["safe"], first["rank"]) == (row["name"], row["label"], None, 30.126)
    assert first["figures"] == [["SR PSNR", "30.13 dB"]]
    right = {arm: row["predictions"].get(arm) for arm in ("lr", "bicubic", "sr", "hr")}
    assert first["answers"] == [one and [one["label"], one["right"]] for one in right.values()]
    assert first["images"]["lr"]["size"] == [2, 2]
    pixels = decode(b64decode(first["images"]["hr"]["src"].partition(",")[2]))
    assert (pixels == decode((study.root / row["hr"]).read_bytes())).all()


def test_images_whose_files_are_gone_are_listed(study):
    for row in study.results["images"]:
        for kind in ("lr", "bicubic", "sr", "hr"):
            row[kind] = f"gone/{row['name']}"
    page = Page(_view(study))
    assert "Not in this report: images; their files are not in the folder." in page.all("p")[0]["text"]
    assert "12 files could not be shown" in page.all("summary")[0]["text"]
    assert page.all("script") == []
