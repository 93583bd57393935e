"""The gallery in a real browser, served and as a file: filters, slider, keyboard, damaged images, phones, the dark."""

import shutil

import caches
import numpy as np
import pytest
from images import picture
from page_scripts import CONTRAST, TOO_SMALL
from PIL import Image
from served_gallery import served_gallery

from srcache.server.gallery.gallery import GallerySettings, OpenGallery
from srcache.server.gallery.run import write_gallery

pytestmark = pytest.mark.slow

COUNT = 110
PHONE = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """110 photos of two classes, HR of them, and a cache in which one failed and one is damaged."""
    home = tmp_path_factory.mktemp("gallery page")
    for number in range(COUNT):
        for root, size in (("photos", (12, 10)), ("hr", (24, 20))):
            file = home / root / ("ant", "bee")[number % 2] / f"{number:03d} {HOSTILE if number == 2 else ''}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(20, 24, number)).resize(size).save(file)
    (home / "photos/bee/empty.png").touch()
    caches.build(home / "photos", home / "cache")
    payload = next(iter(caches.contents(home / "cache").values()))
    data = caches.only(home / "cache").store_path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(payload[-40:], b"damaged!" * 5))
    return home


@pytest.fixture(scope="module")
def settings(home):
    return GallerySettings(cache=home / "cache", lr=home / "photos", hr=home / "hr")


@pytest.fixture(scope="module")
def url(settings):
    with served_gallery(settings) as url:
        yield url


@pytest.fixture(scope="module")
def file(home, settings):
    write_gallery(settings, home / "gallery.html", count=1000)
    return home / "gallery.html"


@pytest.fixture(params=["served", "file"])
def look(request, open_page, visit, url, file):
    """Open the gallery, either way; its first page of thumbnails is there."""

    def start(**options):
        if request.param == "file":
            page = visit(file, **options)
        else:
            page = open_page(f"{url}/", lambda asked: asked.startswith(f"{url}/"), 30_000, **options)
        page.locator(".strip button").first.wait_for()
        return page

    start.trouble = open_page.trouble
    return start


def says(page, words):
    page.locator(".count", has_text=words).wait_for()


def test_images_stand_under_the_slider_and_in_pages(look):
    page = look()
    says(page, "111 images, 1 to 48 shown.")
    assert page.locator(".strip button").count() == 48
    layers = page.locator(".layer img")
    layers.nth(2).wait_for()
    page.wait_for_function("[...document.querySelectorAll('.layer img')].every(one => one.naturalWidth)") if (
        page.url.startswith("file")
    ) else page.wait_for_timeout(300)
    assert layers.evaluate_all("all => all.map(one => one.naturalWidth)") == [12, 24, 24]
    assert layers.evaluate_all("all => all.map(one => one.alt.slice(0, 2))") == ["LR", "SR", "HR"]
    page.get_by_role("button", name="Next page").click()
    says(page, "49 to 96 shown")
    page.get_by_role("button", name="Next page").click()
    says(page, "97 to 111 shown")
    assert page.get_by_role("button", name="Next page").is_disabled()
    page.get_by_role("button", name="First").click()
    says(page, "1 to 48 shown")


def test_stepping_leads_over_the_end_of_a_page(look):
    page = look()
    page.locator(".strip button").nth(47).click()
    name = page.locator(".name").inner_text()
    page.get_by_role("button", name="Next →").click()
    says(page, "49 to 96 shown")
    page.get_by_role("button", name="← Previous").click()
    says(page, "1 to 48 shown")
    page.locator(".name", has_text=name).wait_for()


def test_filters_and_words_go_together_and_may_leave_nothing(look):
    page = look()
    page.select_option("#choose-class", label="ant (55)")
    says(page, "55 of 111 images")
    page.fill("#words", "00")
    says(page, "6 of 111 images.")
    page.fill("#words", "no such name")
    says(page, "No image fits this choice.")
    assert not page.locator(".stage").is_visible()
    page.get_by_role("button", name="Show all images").click()
    says(page, "111 images")
    assert page.locator(".stage").is_visible()
    assert page.evaluate("document.activeElement.id") == "choose-class"


def test_what_failed_and_what_is_damaged_is_shown_as_such(look, settings):
    page = look()
    page.select_option("#choose-state", label="empty (1)")
    says(page, "1 of 111 images")
    page.locator(".lost", has_text="the file has no bytes").wait_for()
    page.locator(".note", has_text="LR cannot be shown: the file has no bytes").wait_for() if page.url.startswith(
        "http"
    ) else page.locator(".note", has_text="LR cannot be shown: empty").wait_for()
    assert not page.locator(".stage").is_visible()
    page.select_option("#choose-state", value="0")
    says(page, "111 images")
    with OpenGallery(settings) as opened:
        items = (opened.gallery.item(place) for place in range(COUNT))
        title = next(item["title"] for item in items if item["state"] == "damaged")
    page.fill("#words", title)
    page.locator(".strip .bad", has_text="damaged").wait_for()
    page.locator(".lost", has_text="run `srcache repair`").wait_for()
    assert page.locator(".layer img").count() == 2
    look.trouble[:] = [one for one in look.trouble if "404 (Not Found)" not in one]


def test_names_do_nothing(look):
    page = look()
    page.fill("#words", "onerror")
    says(page, "1 of 111 images")
    page.locator(".name", has_text=HOSTILE).wait_for()
    assert page.locator('img[src="x"]').count() == 0


def test_it_is_used_by_keyboard(look):
    page = look()
    for name in ("choose-class", "choose-state", "choose-order", "words"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == name
    page.locator(".strip button").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".strip button").nth(1).get_attribute("aria-current") == "true"
    assert page.evaluate("[...document.querySelectorAll('.strip button')].indexOf(document.activeElement)") == 1
    handle = page.locator(".handle").first
    handle.focus()
    before = handle.get_attribute("aria-valuenow")
    page.keyboard.press("ArrowLeft")
    assert int(handle.get_attribute("aria-valuenow")) == int(before) - 2
    page.get_by_role("button", name="Side by side").focus()
    page.keyboard.press("Enter")
    assert page.locator(".beside img:visible").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable_as_it_is_drawn(look, scheme):
    page = look(color_scheme=scheme)
    page.locator("#problem, .lost, .note, #all").evaluate_all(
        "all => { for (const one of all) { one.hidden = false; one.textContent = 'words'; } }"
    )
    seen, low = page.evaluate(CONTRAST)
    assert seen > 20
    assert low == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 23, 26)") == (scheme == "dark")


def test_a_phone_needs_no_sideways_scrolling_and_fingers_hit(look):
    page = look(**PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    controls = page.locator("button:visible, select:visible, input:visible, .handle")
    assert controls.evaluate_all(TOO_SMALL) == 0


def test_nothing_to_show_is_said(visit, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photos/black.png")
    caches.build(tmp_path / "photos", tmp_path / "cache")
    folder = caches.only(tmp_path / "cache")
    for name in ("receipts", "data.lmdb"):
        shutil.rmtree(folder.path / name)
    write_gallery(GallerySettings(cache=tmp_path / "cache"), tmp_path / "none.html")
    page = visit(tmp_path / "none.html")
    page.locator(".count", has_text="There are no images yet").wait_for()
    assert not page.locator(".shown").is_visible()


def test_without_a_script_the_page_says_so(url, open_page):
    page = open_page(f"{url}/", lambda asked: asked.startswith(f"{url}/"), 30_000, java_script_enabled=False)
    assert page.get_by_text("The gallery needs JavaScript").is_visible()
    assert not page.locator(".viewer").is_visible()
