"""Images of a page: those in dispute first; files outside the folder never, broken ones listed."""

import copy
from base64 import b64encode

import numpy as np
from report_folder import StudySettings, make_study
from report_page import Page, render

from srcache.images import encode
from srcache.study.report.data.gallery import make_gallery, mixed_order
from srcache.study.report.data.study import Study


def test_files_outside_the_folder_are_not_embedded(tmp_path):
    secret = encode(np.full((5, 7, 3), 200, np.uint8), "png")
    (tmp_path / "secret.png").write_bytes(secret)
    results = make_study(tmp_path / "out", StudySettings(count=3, size=16))
    results["images"][0]["sr"] = "../secret.png"
    results["images"][1]["sr"] = str(tmp_path / "secret.png")
    results["images"][2]["sr"] = "gone\0.png"
    html = render(results, tmp_path / "out")
    assert b64encode(secret).decode() not in html
    assert "3 files could not be shown" in html


def test_broken_images_are_listed(tmp_path):
    results = make_study(tmp_path, StudySettings(count=4, size=16))
    (tmp_path / results["images"][1]["sr"]).write_bytes(b"no image")
    (tmp_path / results["images"][2]["hr"]).unlink()
    words = Page(render(results, tmp_path)).by_id("compare")["text"]
    assert "2 files could not be shown" in words
    assert f"{results['images'][1]['sr']} (unreadable)" in words
    assert f"{results['images'][2]['hr']} (no such file in the folder)" in words


def test_of_more_images_those_in_dispute_come_first(small):
    out, results = small
    many = copy.deepcopy(results)
    many["images"] = [{**results["images"][0], "name": f"n{at}"} for at in range(90)]
    many["compare"]["pairs"] = [
        {**results["compare"]["pairs"][0], "names_first_only": ["n7", "n88"], "names_second_only": []}
    ]
    shown = make_gallery(Study(results=many, root=out), 10)
    assert len(shown.rows) == 10
    assert {"n7", "n88"} <= set(shown.places)
    assert [row["name"] for row in shown.rows] == sorted(shown.places, key=lambda name: int(name[1:]))
    assert len(shown.every) == 90


def test_the_images_of_the_question_come_first_and_classes_take_turns(small):
    out, results = small
    many = copy.deepcopy(results)
    right = {"sr": {"label": "a", "right": True}, "bicubic": {"label": "a", "right": True}}
    apart = {**right, "bicubic": {"label": "b", "right": False}}
    labels = ["a", "a", "a", "b", "b", "c"]
    many["images"] = [{"name": f"n{at}", "label": one, "predictions": right} for at, one in enumerate(labels)]
    many["images"][4]["predictions"] = apart
    pair = results["compare"]["pairs"][0]
    many["compare"]["pairs"] = [{**pair, "names_first_only": ["n2"], "names_second_only": []}]
    study = Study(results=many, root=out)
    assert mixed_order(study, make_gallery(study)) == [4, 2, 0, 3, 5, 1]
