"""The report in a real browser: borders drag, lists open, filters filter, nothing is loaded and nothing complains."""

import json
import re
from base64 import b64decode

import pytest
from page_scripts import CONTRAST, TOO_SMALL
from report_folder import StudySettings, make_study

from srcache.images import decode
from srcache.study.report import summarise, write_report

pytestmark = pytest.mark.slow

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    results = make_study(out, StudySettings(size=32))
    return out, results, write_report(out)


def _value(handle):
    return int(handle.get_attribute("aria-valuenow"))


def _shown(page):
    return page.locator(".viewer .name").inner_text()


def _clips(page):
    return page.locator(".layer").evaluate_all("all => all.map(one => one.style.clipPath)")


def _scale(page):
    return page.locator(".layer img").first.evaluate("one => new DOMMatrix(getComputedStyle(one).transform).a")


# The slider


def test_borders_drag(visit, study):
    page = visit(study[2])
    first, second = page.locator(".handle").all()
    stage = page.locator(".stage").bounding_box()
    assert (_value(first), _value(second)) == (33, 67)
    first.scroll_into_view_if_needed()
    stage = page.locator(".stage").bounding_box()
    middle = stage["y"] + stage["height"] / 2
    page.mouse.move(stage["x"] + stage["width"] / 3, middle)
    page.mouse.down()
    page.mouse.move(stage["x"] + 0.1 * stage["width"], middle, steps=4)
    page.mouse.up()
    assert (_value(first), _value(second)) == (10, 67)
    lr, sr, hr = _clips(page)
    assert re.fullmatch(r"inset\(0(px)? (89\.9|90)\S*% 0(px)? 0%\)", lr)
    assert re.fullmatch(r"inset\(0(px)? 33\.3\S*% 0(px)? (10|10\.\d+|9\.9\d+)%\)", sr)
    assert re.fullmatch(r"inset\(0(px)? 0% 0(px)? 66\.\d+%\)", hr)
    page.mouse.move(stage["x"] + 0.9 * stage["width"], middle)
    assert _value(first) == 10, "the border is let go"


def test_borders_move_by_keyboard_and_never_cross(visit, study):
    page = visit(study[2])
    first, second = page.locator(".handle").all()
    assert first.get_attribute("aria-label") == "Border between LR and SR"
    assert second.get_attribute("aria-label") == "Border between SR and HR"
    first.focus()
    page.keyboard.press("ArrowRight")
    assert _value(first) == 35
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowLeft")
    assert _value(first) == 23
    page.keyboard.press("End")
    assert _value(first) == _value(second) == int(first.get_attribute("aria-valuemax")) == 67
    page.keyboard.press("Home")
    assert _value(first) == int(first.get_attribute("aria-valuemin")) == 0
    second.focus()
    page.keyboard.press("Home")
    assert _value(second) == 0
    page.keyboard.press("End")
    assert _value(second) == 100


def test_borders_drag_by_touch(visit, study):
    page = visit(study[2], **PHONE)
    handle = page.locator(".handle").first
    handle.scroll_into_view_if_needed()
    box = page.locator(".stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 1 / 3), ("touchMove", 0.4), ("touchMove", 0.55)):
        point = {"x": box["x"] + share * box["width"], "y": middle}
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert _value(handle) == 55


def test_two_fingers_zoom(visit, study):
    page = visit(study[2], **PHONE)
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator(".stage").bounding_box()
    across = lambda share: box["x"] + share * box["width"]  # noqa: E731
    touch = page.context.new_cdp_session(page)
    for kind, ends in (("touchStart", (0.45, 0.55)), ("touchMove", (0.4, 0.6)), ("touchMove", (0.3, 0.7))):
        points = [{"x": across(end), "y": box["y"] + 60, "id": at} for at, end in enumerate(ends)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert 2.5 < _scale(page) < 5


def test_zoom_by_keys_buttons_wheel_and_double_click(visit, study):
    page = visit(study[2])
    stage = page.locator(".stage")
    stage.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert _scale(page) == pytest.approx(2.25)
    left = page.locator(".layer img").first.evaluate("one => one.getBoundingClientRect().left")
    page.keyboard.press("ArrowRight")
    assert page.locator(".layer img").first.evaluate("one => one.getBoundingClientRect().left") < left
    page.keyboard.press("0")
    assert _scale(page) == 1
    page.get_by_role("button", name="Zoom in").click()
    assert _scale(page) == 1.5
    page.get_by_role("button", name="Fit").click()
    stage.hover(position={"x": 20, "y": 40})
    page.mouse.wheel(0, 100)
    assert _scale(page) == 1, "a plain wheel scrolls the page"
    stage.hover(position={"x": 20, "y": 40})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.stage').classList.contains('zoomed')")
    stage.dblclick(position={"x": 20, "y": 40})
    assert _scale(page) == 1
    stage.dblclick(position={"x": 20, "y": 40})
    assert _scale(page) == 3


def test_a_zoomed_image_is_moved_and_stays_in_its_frame(visit, study):
    page = visit(study[2])
    stage = page.locator(".stage")
    stage.scroll_into_view_if_needed()
    stage.dblclick(position={"x": 30, "y": 60})
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 2000, box["y"] + 2000, steps=3)
    page.mouse.up()
    inner = page.locator(".layer img").first.evaluate("one => one.getBoundingClientRect().toJSON()")
    assert inner["left"] == pytest.approx(box["x"], abs=1)
    assert inner["top"] == pytest.approx(box["y"], abs=1)
    assert inner["width"] == pytest.approx(3 * box["width"], rel=0.01)


# From counts to images


def test_a_count_opens_its_images_and_an_image_opens_the_viewer(visit, study):
    out, results, path = study
    pair = next(one for one in results["compare"]["pairs"] if (one["first"], one["second"]) == ("lr", "sr"))
    at = results["compare"]["pairs"].index(pair)
    page = visit(path)
    drill = page.locator(f"#pair-{at}-b")  # the page names SR first
    assert drill.get_attribute("open") is None
    page.locator(f'#pairs a[href="#pair-{at}-b"]').click()
    assert drill.get_attribute("open") is not None
    assert drill.locator("a").all_inner_texts() == pair["names_second_only"]
    trios = drill.locator(".trio")
    assert trios.count() == len(pair["names_second_only"])
    page.wait_for_function(f"[...document.querySelectorAll('#pair-{at}-b img')].every(one => one.naturalWidth > 0)")
    name = pair["names_second_only"][1]
    drill.get_by_role("link", name=name, exact=True).click()
    assert _shown(page) == name
    row = next(one for one in results["images"] if one["name"] == name)
    for kind, image in zip(("lr", "sr", "hr"), page.locator(".stage img").all(), strict=True):
        shown = decode(b64decode(image.get_attribute("src").partition(",")[2]))
        assert (shown == decode((out / row[kind]).read_bytes())).all()
    words = page.locator(".viewer figcaption .facts").inner_text()
    assert f"{row['quality']['sr']['psnr']:.2f} dB" in words
    assert f"{row['predictions']['sr']['label']} ✓ right" in words
    assert page.evaluate("document.activeElement.className").startswith("stage")


def test_the_drill_down_works_by_keyboard(visit, study):
    page = visit(study[2])
    summary = page.locator("details.drill summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.drill").first.get_attribute("open") is not None
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert _shown(page) == name


# Choosing images


def _wanted(results, label, arm, right):
    rows = [row for row in results["images"] if row["label"] == label]
    return [row["name"] for row in rows if row["predictions"][arm]["right"] == right]


def test_filters_show_what_they_say(visit, study):
    _, results, path = study
    page = visit(path)
    page.get_by_label("Order", exact=True).select_option(label="As listed")
    page.get_by_label("True class").select_option(label="gravel")
    page.get_by_label("Arm", exact=True).select_option(label="LR")
    page.get_by_label("Its answer").select_option(label="Wrong")
    wanted = _wanted(results, "gravel", "lr", False)
    texts = page.locator(".strip img").evaluate_all("all => all.map(one => one.alt)")
    assert texts == [f"{name}, wrong" for name in wanted]
    assert page.locator(".count").inner_text().startswith(f"{len(wanted)} of 36 images")
    assert _shown(page) == wanted[0]
    page.get_by_label("Its answer").select_option(label="Right")
    right = _wanted(results, "gravel", "lr", True)
    assert page.locator(".strip img").count() == len(right)
    page.get_by_role("button", name="Next →").click()
    assert _shown(page) == right[1]


def test_the_viewer_opens_where_the_arms_of_the_question_disagree_and_mixes_classes(visit, study):
    _, results, path = study
    page = visit(path)
    apart = [
        row["name"]
        for row in results["images"]
        if row["predictions"]["sr"]["right"] != row["predictions"]["bicubic"]["right"]
    ]
    assert _shown(page) in apart
    first = page.locator(".strip button").evaluate_all("all => all.map(one => one.title)")[: len(apart)]
    assert set(first) == set(apart)
    labels = {row["name"]: row["label"] for row in results["images"]}
    assert len({labels[name] for name in first[:3]}) == 3


def test_images_in_dispute_can_be_chosen_and_ordered(visit, study):
    _, results, path = study
    page = visit(path)
    pair = results["compare"]["pairs"][-1]
    page.get_by_label("Images", exact=True).select_option(label="Only HR right, not SR")
    page.get_by_label("Order", exact=True).select_option(label="SR quality, worst first")
    quality = {row["name"]: row["quality"]["sr"]["psnr"] for row in results["images"]}
    shown = [one.partition(",")[0] for one in page.locator(".strip img").evaluate_all("all => all.map(one => one.alt)")]
    assert sorted(shown) == sorted(pair["names_second_only"])
    assert [quality[name] for name in shown] == sorted(quality[name] for name in shown)
    page.get_by_label("Order", exact=True).select_option(label="Least safe first")
    safe = {row["name"]: row["safe"] for row in results["images"]}
    shown = [one.partition(",")[0] for one in page.locator(".strip img").evaluate_all("all => all.map(one => one.alt)")]
    assert [safe[name] for name in shown] == sorted(safe[name] for name in shown)


def test_a_choice_without_images_is_said(visit, tmp_path):
    results = make_study(tmp_path, StudySettings(count=4, size=8))
    for row in results["images"]:
        row["predictions"] = {"lr": {"label": row["label"], "right": True}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = visit(write_report(tmp_path))
    page.get_by_label("Its answer").select_option(label="Wrong")
    assert page.locator(".count").inner_text() == "No image fits this choice."


def test_images_may_lack_variants(visit, tmp_path):
    results = make_study(tmp_path, StudySettings(count=4, size=8))
    for row in results["images"]:
        del row["lr"], row["bicubic"]
    del results["images"][0]["sr"]
    results["images"][1] |= {"label": None, "safe": None, "predictions": {}, "quality": {}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = visit(write_report(tmp_path))
    assert page.locator(".handle").count() == 1
    assert page.locator(".stage img").first.get_attribute("alt") == "SR of 0/p0000 is not there"
    for _ in range(3):
        page.get_by_role("button", name="Next →").click()
    assert _shown(page) == "0/p0003"


def test_pages_of_thumbnails(visit, study):
    page = visit(study[2])
    page.get_by_label("Order", exact=True).select_option(label="As listed")
    assert page.locator(".strip img").count() == 24
    page.get_by_role("button", name="Next 24").click()
    assert page.locator(".strip img").count() == 12
    assert page.get_by_role("button", name="Next 24").is_disabled()
    page.locator(".strip button").nth(3).click()
    assert _shown(page) == study[1]["images"][27]["name"]


def test_bicubic_can_take_the_left_and_all_can_stand_side_by_side(visit, study):
    page = visit(study[2])
    page.get_by_label("At the left").select_option(label="Bicubic")
    assert page.locator(".handle").first.get_attribute("aria-label") == "Border between Bicubic and SR"
    button = page.get_by_role("button", name="Side by side")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator(".beside img:visible").count() == 4
    assert not page.locator(".stage").is_visible()


# Everybody, everywhere


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable_as_it_is_drawn(visit, study, scheme):
    page = visit(study[2], color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    seen, low = page.evaluate(CONTRAST)
    assert seen > 500
    assert low == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 23, 26)") == (scheme == "dark")


def test_a_phone_needs_no_sideways_scrolling_and_fingers_hit(visit, study):
    page = visit(study[2], **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    controls = page.locator("button:visible, select:visible, .handle, summary:visible")
    assert controls.evaluate_all(TOO_SMALL) == 0
    box = page.locator(".stage").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_on_a_phone_the_mean_is_seen_and_tables_that_scroll_say_so(visit, study):
    page = visit(study[2], viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    frame = page.locator("#accuracy .scroll").first
    page.wait_for_function("document.querySelector('#accuracy .scroll').classList.contains('wider')")
    header = page.locator("#accuracy thead th", has_text="Mean").bounding_box()
    assert header["x"] + header["width"] <= 390
    cue = "one => getComputedStyle(one, '::before').content"
    assert "scroll sideways" in frame.evaluate(cue)
    frame.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    page.wait_for_function("document.querySelector('#accuracy .scroll').classList.contains('end')")
    assert frame.evaluate("one => getComputedStyle(one).boxShadow") == "none"


def test_paper_has_all_that_is_folded(visit, study):
    page = visit(study[2])
    closed = page.locator("details:not([open])").count()
    assert closed > 10
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed
    page.emulate_media(media="print")  # a browser that tells nobody shows it all the same
    assert page.locator("#pair-0-b table").evaluate("one => one.checkVisibility({contentVisibilityAuto: true})")
    assert page.evaluate("""() => [...document.querySelectorAll('table')].filter(one => one.checkVisibility())
      .every(one => one.getBoundingClientRect().height > 0)""")


def test_paper_shows_the_page_without_its_controls(visit, study):
    page = visit(study[2], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 28, 26)"
    assert not page.locator("nav").is_visible()
    assert not page.locator(".stage").is_visible()
    assert page.locator(".beside img:visible").count() == 4


def test_the_first_key_reaches_the_content_and_focus_is_seen(visit, study):
    page = visit(study[2])
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    assert skip.bounding_box()["y"] >= 0
    assert skip.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_tables_are_stops_of_the_keyboard_only_where_they_scroll(visit, study):
    wide, narrow = visit(study[2]), visit(study[2], **PHONE)
    for page in (wide, narrow):
        page.wait_for_function("""() => [...document.querySelectorAll('.scroll')].filter(one => one.checkVisibility())
          .every(one => (one.scrollWidth > one.clientWidth) === (one.tabIndex === 0))""")
    assert wide.locator("#accuracy .scroll").get_attribute("tabindex") is None
    assert narrow.locator("#accuracy .scroll").get_attribute("tabindex") == "0"


def test_every_stop_of_the_keyboard_has_a_name(visit, study):
    page = visit(study[2])
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, a, select, summary, [tabindex="0"]')]
      .filter(one => one.checkVisibility())
      .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.querySelector('img[alt]')))
      .map(one => one.outerHTML)""")
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0


def test_motion_is_reduced_where_that_is_wished(visit, study):
    moving = visit(study[2], reduced_motion="no-preference")
    still = visit(study[2], reduced_motion="reduce")
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert [page.evaluate(behaviour) for page in (moving, still)] == ["smooth", "auto"]


def test_without_a_script_the_page_still_shows_all_but_the_viewer(visit, study):
    page = visit(study[2], java_script_enabled=False)
    assert page.get_by_text("The viewer needs JavaScript").is_visible()
    assert not page.locator(".viewer").is_visible()
    page.locator("details.drill summary").first.click()
    assert page.locator("details.drill table").first.is_visible()


# What comes from outside


def test_hostile_names_do_nothing(visit, tmp_path):
    results = make_study(
        tmp_path, StudySettings(count=8, size=8, classes=("<script>alert(1)</script>", EVIL), names=(EVIL,))
    )
    results["name"] = results["question"] = results["compare"]["verdict"] = EVIL
    results["arms"][0]["name"] = EVIL
    for row in results["images"]:
        row["predictions"][EVIL] = {"label": "</script><script>alert(2)</script>", "right": False}
    (tmp_path / "results.json").write_text(json.dumps(results))
    page = visit(write_report(tmp_path))
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    page.get_by_label("True class").select_option(label=EVIL)
    page.get_by_label("True class").select_option(label="Every class")
    assert _shown(page) in {row["name"] for row in results["images"]}
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator('img[src="x"]').count() == 0
    page.wait_for_timeout(100)


def test_the_policy_stops_what_slipped_in(visit, study):
    page = visit(study[2])
    failed = []
    page.on("requestfailed", lambda request: failed.append((request.url, request.failure)))
    stopped = page.evaluate("""async () => {
      const stopped = [];
      document.addEventListener('securitypolicyviolation', event => stopped.push(event.effectiveDirective));
      const script = document.createElement('script');
      script.textContent = 'window.ran = true';
      document.body.append(script);
      const image = document.createElement('img');
      image.src = 'https://example.invalid/x.png';
      document.body.append(image);
      await fetch('https://example.invalid/').catch(() => null);
      const frame = document.createElement('div');
      frame.setAttribute('onclick', 'window.ran = true');
      frame.click();
      await new Promise(done => setTimeout(done, 200));
      return [Boolean(window.ran), stopped.sort()];
    }""")
    assert stopped[0] is False
    assert set(stopped[1]) >= {"script-src-elem", "img-src", "connect-src", "script-src-attr"}
    expected = [one for one in visit.trouble if one.startswith("console:") and "Content Security Policy" in one]
    assert len(expected) >= 4
    assert failed == [("https://example.invalid/x.png", "csp")]
    expected.append("request: https://example.invalid/x.png")
    visit.trouble[:] = [one for one in visit.trouble if one not in expected]


def test_two_studies_on_a_page_do_not_meddle(visit, study, tmp_path):
    make_study(tmp_path / "b", StudySettings(count=5, size=8, classes=("x", "y")))
    page = visit(summarise([study[0], tmp_path / "b"], tmp_path / "both.html").path)
    first, second = page.locator(".viewer").all()
    before = first.locator(".name").inner_text()
    second.locator(".strip button").nth(2).click()
    assert second.locator(".name").inner_text() == "0/p0002"
    assert first.locator(".name").inner_text() == before
    assert first.locator(".strip img").count() == 24
    assert second.locator(".strip img").count() == 5
