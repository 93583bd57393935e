"""The slider by itself in a real browser: a page of nothing but its style, its script and two images."""

from base64 import b64encode
from string import Template

import numpy as np
import pytest

from srcache.html.slider import slider_script, slider_style, stage
from srcache.images import encode

pytestmark = pytest.mark.slow

PAGE = Template("""<!doctype html><html lang="en"><meta charset="utf-8"><title>slider</title>
<link rel="icon" href="data:,">
<style>:root { --paper: #fff; --panel: #eee; --ink: #000; --focus: #b04a00; --sans: sans-serif; }
*, ::before, ::after { box-sizing: border-box; } $style</style>
<main>$stage</main>
<script>$script
window.shown = slider.makeStage(document.querySelector(".stage"), {left: "Before", right: "After"});
const left = {src: "$left", size: [4, 2], pixelated: true}, right = {src: "$right", size: [8, 4]};
shown.show({name: "<b>", images: {left, right}}, ["left", "right"]);
</script></html>""")


def _source(height, width, level):
    png = encode(np.full((height, width, 3), level, np.uint8), "png")
    return f"data:image/png;base64,{b64encode(png).decode()}"


@pytest.fixture
def page(visit, tmp_path):
    html = PAGE.substitute(
        style=slider_style(),
        script=slider_script(),
        stage=stage("Two images"),
        left=_source(2, 4, 0),
        right=_source(4, 8, 255),
    )
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    return visit(tmp_path / "page.html")


def test_two_images_stand_under_one_border_that_moves(page):
    (handle,) = page.locator(".handle").all()
    assert handle.get_attribute("aria-label") == "Border between Before and After"
    assert handle.get_attribute("aria-valuenow") == "50"
    handle.focus()
    page.keyboard.press("ArrowLeft")
    assert handle.get_attribute("aria-valuetext") == "48 per cent from the left"
    clips = page.locator(".layer").evaluate_all("all => all.map(one => one.style.clipPath)")
    assert clips == ["inset(0px 52% 0px 0%)", "inset(0px 0% 0px 48%)"]
    box = page.locator(".stage").bounding_box()
    assert box["width"] == pytest.approx(2 * box["height"]), "the last image gives the shape"


def test_each_image_has_its_name_and_those_that_are_asked_for_show_their_pixels(page):
    images = page.locator(".layer img")
    assert images.evaluate_all("all => all.map(one => one.alt)") == ["Before of <b>", "After of <b>"]
    rendering = images.evaluate_all("all => all.map(one => getComputedStyle(one).imageRendering)")
    assert rendering == ["pixelated", "auto"]
    assert page.locator(".badge").all_inner_texts() == ["Before", "After"]
    assert page.locator(".stage").get_attribute("aria-label") == "Two images"


def test_it_zooms_by_words_and_shows_the_next_picture_under_the_same_borders(page):
    page.evaluate("shown.zoom('in')")
    scale = "one => new DOMMatrix(getComputedStyle(one).transform).a"
    assert page.locator(".layer img").first.evaluate(scale) == 1.5
    page.locator(".handle").focus()
    page.keyboard.press("End")
    page.evaluate("shown.show({name: 'next', images: {}}, ['left', 'right'])")
    assert page.locator(".handle").get_attribute("aria-valuenow") == "100"
    assert page.locator(".layer img").first.get_attribute("alt") == "Before of next is not there"
    page.evaluate("shown.zoom('fit')")
    assert page.locator(".layer img").first.evaluate(scale) == 1
