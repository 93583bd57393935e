"""Behind the counts: exactly the images in dispute, with what is known of them; long lists are cut."""

import copy

from report_page import Page, render

from srcache.study.report.data.labels import score


def test_behind_each_count_are_exactly_its_images(page, results):
    for at, pair in enumerate(results["compare"]["pairs"]):
        turned = (pair["first"], pair["second"]) != ("sr", "bicubic")
        keys = ("names_second_only", "names_first_only") if turned else ("names_first_only", "names_second_only")
        for side, key in zip("bc", keys, strict=True):
            found = [one for one in page.all("a") if f"pair-{at}-{side}" in one["ids"]]
            assert [one["text"] for one in found] == pair[key]
            assert f"{side} = {len(pair[key])}:" in page.by_id(f"pair-{at}-{side}")["text"]


def test_a_disputed_image_shows_what_is_known_of_it(page, results):
    name = results["compare"]["pairs"][0]["names_first_only"][0]
    picture = next(one for one in results["images"] if one["name"] == name)
    row = next(one for one in page.all("tr") if "pair-0-c" in one["ids"] and name in one["text"])
    assert score("psnr", picture["quality"]["sr"]["psnr"]) in row["text"]
    assert f"{picture['predictions']['lr']['label']} ✓ right" in row["text"]
    assert f"{picture['predictions']['bicubic']['label']} ✗ wrong" in row["text"]


def test_where_no_two_arms_differ_that_is_said(small):
    out, results = small
    same = copy.deepcopy(results)
    for pair in same["compare"]["pairs"]:
        pair |= {"names_first_only": [], "names_second_only": []}
        pair["table"] |= {"first_only": 0, "second_only": 0}
    text = render(same, out)
    assert "Whatever one arm has right, the others have right too" in text
    assert "the images on which two arms differ" not in text


def test_long_lists_are_cut_and_say_so(small):
    out, results = small
    many = copy.deepcopy(results)
    names = [f"n{at}" for at in range(400)]
    many["compare"]["pairs"][0] |= {"names_first_only": names, "table": {"first_only": 400, "second_only": 0}}
    many["safety"]["filters"][0]["removed_names"] = names * 2
    page = Page(render(many, out))
    assert "n249" in page.by_id("pair-0-c")["text"]
    assert "n250" not in page.by_id("pair-0-c")["text"]
    assert "c = 400:" in page.by_id("pair-0-c")["text"]
    assert "… and 150 images more; compare.json has all." in page.by_id("pair-0-c")["text"]
    assert "… and 300 more" in page.by_id("safety")["text"]
