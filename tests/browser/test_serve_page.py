"""The service's page in a real browser, against a real service: drop, slider, keyboard, token, errors, policy."""

import io
import re
import time
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest
from page_scripts import CONTRAST, TOO_SMALL
from PIL import Image
from served import Server, words_for

from srcache.images import decode, encode
from srcache.keys import image_key
from srcache.recipe import load_recipe

pytestmark = pytest.mark.slow

TOKEN = "q7Tz1sVb9XwLm4Rk8YdN2cJh6PfG3aEu"
PHONE = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
UNAUTHORIZED = "console: Failed to load resource: the server responded with a status of 401 (Unauthorized)"
_DROP = """([name, bytes]) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([new Uint8Array(bytes)], name));
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
  }
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve page")


def _start(folder, name, *more):
    (folder / name).mkdir()
    server = Server([*words_for(folder / name / "cache", "compact", {}), *map(str, more)], folder / name)
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def server(folder):
    """A service of two recipes without a token."""
    server = _start(folder, "open", "--recipe", "bicubic")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def guarded(folder):
    """A service of one recipe that asks for a token."""
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    server = _start(folder, "guarded", "--token-file", folder / "token")
    yield server
    assert TOKEN not in server.stderr
    assert server.stop() == 0


@pytest.fixture
def surf(open_page):
    """Open a service's page, which may ask for nothing but what the service has; no address holds the token."""

    def start(server, **options):
        own = (f"{server.url}/", f"blob:{server.url}/")
        return open_page(own[0], lambda url: url.startswith(own) and TOKEN not in url, 30_000, **options)

    start.trouble = open_page.trouble
    return start


_made = iter(range(10**6))


def _photo(kind="png", height=24, width=36):
    """An image file that no test sent before, with something to see in it."""
    rng = np.random.default_rng(next(_made))
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize((width, height)))
    if kind in ("png", "qoi"):
        return encode(pixels, kind)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def _drop(page, name, data):
    page.wait_for_selector("#ask-form:visible")
    page.evaluate(_DROP, [name, list(data)])


def _says(page, selector, words):
    """Wait until an element holds some words; the policy forbids `wait_for_function`, which evaluates a text."""
    page.locator(selector, has_text=words).wait_for(state="attached")


def _done(page):
    page.wait_for_selector("#result:visible")
    _says(page, "#status", "Done")


def _facts(page):
    return dict(
        page.locator("#facts > div").evaluate_all(
            "all => all.map(one => [one.querySelector('dt').textContent, one.querySelector('dd').textContent])"
        )
    )


def _downloaded(page):
    with page.expect_download() as found:
        page.locator("#download").click()
    return found.value.suggested_filename, found.value.path().read_bytes()


# From an image to its SR image


def test_a_photo_that_is_dropped_stands_beside_its_sr_image(surf, server):
    page = surf(server)
    data = _photo()
    _drop(page, "a photo.png", data)
    _done(page)
    facts = _facts(page)
    assert facts["Size"] == "36 × 24 → 144 × 96"
    assert facts["Cache"] == "miss: made now"
    assert facts["Key"] == image_key(data)
    assert facts["Fingerprint"] == load_recipe("compact").fingerprint
    assert re.fullmatch(r"[\d.]+ s", facts["Time"])
    assert page.locator("#result-name").inner_text() == "a photo.png"
    images = page.locator(".layer img")
    assert images.evaluate_all("all => all.map(one => one.alt)") == ["LR of a photo.png", "SR of a photo.png"]
    assert images.evaluate_all("all => all.map(one => one.naturalWidth)") == [36, 144]
    name, sr = _downloaded(page)
    assert name == "a photo-compact-000.png"
    stored = _get(server, f"/v1/sr/{image_key(data)}?recipe=compact")
    assert stored[:4] == b"qoif"
    assert (decode(sr) == decode(stored)).all()


def _get(server, path):
    with build_opener(ProxyHandler({})).open(server.url + path, timeout=30) as answer:
        return answer.read()


def test_the_second_time_it_comes_from_the_cache(surf, server):
    page = surf(server)
    data = _photo("jpeg")
    _drop(page, "x.jpg", data)
    _done(page)
    page.get_by_role("button", name="Make SR").click()
    _says(page, "#facts", "hit")
    assert _facts(page)["Cache"] == "hit: it was there"
    assert "from the cache" in page.locator("#status").inner_text()


def test_another_recipe_and_another_sample_are_asked_for(surf, server):
    page = surf(server)
    page.wait_for_selector("#ask-form:visible")
    names = page.locator("#recipe option").all_inner_texts()
    assert [name.partition(",")[0] for name in names] == ["compact", "bicubic"]
    page.locator("#recipe").select_option(index=1)
    _drop(page, "x.png", _photo())
    _done(page)
    assert _facts(page)["Fingerprint"] == load_recipe("bicubic").fingerprint
    assert page.locator("#download").get_attribute("download") == "x-bicubic-000.png"
    page.locator("#sample").fill("3")
    page.locator("#sample").press("Enter")
    page.wait_for_selector("#problem:visible")
    assert "ask for sample 0" in page.locator("#problem").inner_text(), "bicubic draws no noise"
    surf.trouble.remove("console: Failed to load resource: the server responded with a status of 400 (Bad Request)")
    page.locator("#sample").fill("1000")
    page.get_by_role("button", name="Make SR").click()
    assert page.locator("#sample").evaluate("one => one.validity.rangeOverflow")


def test_a_photo_can_be_pasted(surf, server):
    page = surf(server)
    page.wait_for_selector("#ask-form:visible")
    page.evaluate(
        """([name, bytes]) => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([new Uint8Array(bytes)], name));
          document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}));
        }""",
        ["pasted.png", list(_photo())],
    )
    _done(page)
    assert page.locator("#result-name").inner_text() == "pasted.png"
    assert page.locator("#file").evaluate("one => one.files[0].name") == "pasted.png"


@pytest.mark.parametrize("kind", ["tiff", "qoi"])
def test_what_a_browser_cannot_show_stands_alone_and_that_is_said(surf, server, kind):
    page = surf(server)
    _drop(page, f"x.{kind}", _photo(kind))
    _done(page)
    assert page.locator(".layer img").evaluate_all("all => all.map(one => one.naturalWidth)") == [144]
    assert "cannot show files like yours" in page.locator("#result-note").inner_text()


# The slider


def test_the_border_is_dragged_and_moved_by_keys(surf, server):
    page = surf(server)
    _drop(page, "x.png", _photo())
    _done(page)
    handle = page.get_by_role("slider", name="Border between LR and SR")
    assert handle.get_attribute("aria-valuenow") == "50"
    handle.scroll_into_view_if_needed()
    box = page.locator(".stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(1.5, rel=0.01)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], middle, steps=3)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "20"
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "22"
    page.get_by_role("button", name="Zoom in").click()
    scale = "one => new DOMMatrix(getComputedStyle(one).transform).a"
    assert page.locator(".layer img").first.evaluate(scale) == 1.5
    page.get_by_role("button", name="Fit").click()
    assert page.locator(".layer img").first.evaluate(scale) == 1


def test_everything_is_reached_by_keyboard_and_has_a_name(surf, server):
    page = surf(server)
    _drop(page, "x.png", _photo())
    _done(page)
    page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(10):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.id || document.activeElement.className || 'zoom'"))
    assert stops == ["file", "recipe", "sample", "make", "zoom", "zoom", "zoom", "download", "stage", "handle"]
    assert page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle") == "solid"
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, a, select, input, [tabindex="0"]')]
      .filter(one => one.checkVisibility())
      .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))
      .map(one => one.outerHTML)""")
    assert nameless == []
    page.locator("#make").focus()
    page.keyboard.press("Enter")
    _says(page, "#facts", "hit")


# The token


def test_the_token_is_asked_for_and_kept_in_memory_alone(surf, guarded):
    page = surf(guarded)
    field = page.locator("#token")
    field.wait_for(state="visible")
    assert page.evaluate("document.activeElement.id") == "token"
    assert field.get_attribute("type") == "password"
    assert not page.locator("#ask-form").is_visible()
    field.fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:visible")
    assert "does not take this token" in page.locator("#problem").inner_text()
    field.fill(f" {TOKEN} ")
    page.get_by_role("button", name="Use this token").click()
    page.wait_for_selector("#ask-form:visible")
    assert not field.is_visible()
    assert field.input_value() == ""
    assert not page.locator("#problem").is_visible()
    _drop(page, "x.png", _photo())
    _done(page)
    kept = page.evaluate("[location.href, document.cookie, localStorage.length, sessionStorage.length, history.length]")
    assert kept[0] == f"{guarded.url}/"
    assert kept[1:4] == ["", 0, 0]
    assert TOKEN not in page.content()
    page.reload()
    field.wait_for(state="visible")
    assert surf.trouble == 3 * [UNAUTHORIZED]
    surf.trouble.clear()


def test_a_token_that_can_be_none_is_not_sent(surf, guarded):
    page = surf(guarded)
    page.locator("#token").fill("schlüssel")
    page.keyboard.press("Enter")
    assert page.locator("#token").evaluate("one => one.validity.patternMismatch")
    surf.trouble.remove(UNAUTHORIZED)


def test_an_image_waits_for_the_token_and_goes_on_with_a_new_one(surf, guarded):
    page = surf(guarded)
    page.locator("#token").wait_for(state="visible")
    page.evaluate(_DROP, ["early.png", list(_photo())])
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    _done(page)
    assert page.locator("#result-name").inner_text() == "early.png"
    refused = []
    page.route(
        "**/v1/sr?*", lambda route: (refused.append(1), _refuse(route, 401)) if not refused else route.continue_()
    )
    page.get_by_role("button", name="Make SR").click()
    page.locator("#token").wait_for(state="visible")
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    _says(page, "#facts", "hit")
    assert not page.locator("#token").is_visible()
    assert surf.trouble == 2 * [UNAUTHORIZED]
    surf.trouble.clear()


# What goes wrong


def _refuse(route, status, headers=None, body='{"error": {"reason": "full", "message": "the service is full"}}'):
    route.fulfill(status=status, headers=headers or {}, content_type="application/json", body=body)


def test_a_full_service_is_asked_again_when_it_says(surf, server):
    page = surf(server)
    times = []

    def answer(route):
        times.append(time.monotonic())
        _refuse(route, 503, {"Retry-After": "2"}) if len(times) < 2 else route.continue_()

    page.route("**/v1/sr?*", answer)
    _drop(page, "x.png", _photo())
    _says(page, "#status", "Asking again in 2 s")
    assert "the service is full" in page.locator("#status").inner_text()
    _done(page)
    assert 1.9 < times[1] - times[0] < 15
    surf.trouble.remove(
        "console: Failed to load resource: the server responded with a status of 503 (Service Unavailable)"
    )


def test_waiting_can_be_cancelled(surf, server):
    page = surf(server)
    asked = []
    page.route("**/v1/sr?*", lambda route: (asked.append(1), _refuse(route, 503, {"Retry-After": "1"})))
    _drop(page, "x.png", _photo())
    _says(page, "#status", "Asking again")
    page.get_by_role("button", name="Cancel").click()
    count = len(asked)
    page.wait_for_timeout(1500)
    assert len(asked) == count
    assert page.locator("#status").inner_text() == "Cancelled."
    assert not page.locator("#progress").is_visible()
    assert page.get_by_role("button", name="Make SR").is_enabled()
    surf.trouble.clear()


def test_errors_are_said_in_the_services_words(surf, server):
    page = surf(server)
    _drop(page, "notes.png", b"these are no pixels")
    page.wait_for_selector("#problem:visible")
    assert page.locator("#problem").inner_text().startswith("notes.png: the body is not an image")
    assert not page.locator("#result").is_visible()
    page.route("**/v1/sr?*", lambda route: _refuse(route, 502, body="<html>"))
    _drop(page, "x.png", _photo())
    _says(page, "#problem", "status 502")
    assert len(surf.trouble) == 2
    surf.trouble.clear()


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(surf, server):
    page = surf(server)
    page.route("**/v1/sr?*", lambda route: route.abort("connectionrefused"))
    _drop(page, "x.png", _photo())
    page.wait_for_selector("#again:visible")
    assert "does not answer" in page.locator("#problem").inner_text()
    page.unroute("**/v1/sr?*")
    page.get_by_role("button", name="Try again").click()
    _done(page)
    assert not page.locator("#again").is_visible()
    assert not page.locator("#problem").is_visible()
    surf.trouble.clear()


def test_the_last_image_wins(surf, server):
    page = surf(server)
    held = []
    page.route("**/v1/sr?*", lambda route: held.append(route) if not held else route.continue_())
    _drop(page, "first.png", _photo())
    page.wait_for_selector("#cancel:visible")
    _drop(page, "second.png", _photo())
    _done(page)
    assert page.locator("#result-name").inner_text() == "second.png"
    assert not page.locator("#problem").is_visible()


def test_a_name_does_nothing(surf, server):
    page = surf(server)
    name = "<img src=x onerror=alert(1)>.png"
    _drop(page, name, _photo())
    _done(page)
    assert page.locator("#result-name").inner_text() == name
    assert page.locator('img[src="x"]').count() == 0


# Everybody, everywhere


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable_as_it_is_drawn(surf, server, scheme):
    page = surf(server, color_scheme=scheme)
    _drop(page, "x.qoi", _photo("qoi"))
    _done(page)
    page.locator("#token-form, #problem, #cancel, #again").evaluate_all(
        "all => { for (const one of all) one.hidden = false; }"
    )
    page.locator("#problem").evaluate("one => { one.textContent = 'words'; }")
    seen, low = page.evaluate(CONTRAST)
    assert seen > 30
    assert low == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 23, 26)") == (scheme == "dark")


def test_a_phone_needs_no_sideways_scrolling_and_fingers_hit(surf, server):
    page = surf(server, **PHONE)
    _drop(page, "a-very-long-name-without-any-blank-that-goes-on-and-on-and-on-and-on.png", _photo())
    _done(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    controls = page.locator("button:visible, select:visible, input:visible, a:visible, .handle")
    assert controls.evaluate_all(TOO_SMALL) == 0
    box = page.locator(".stage").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_a_tall_image_fits_on_the_screen(surf, server):
    page = surf(server)
    _drop(page, "tall.png", _photo(height=100, width=20))
    _done(page)
    box = page.locator(".stage").bounding_box()
    assert box["height"] <= 0.81 * 900
    assert box["height"] / box["width"] == pytest.approx(5, rel=0.02)


def test_without_a_script_the_page_says_what_to_do(surf, server):
    page = surf(server, java_script_enabled=False)
    assert page.get_by_text("This page needs JavaScript").is_visible()
    assert not page.locator("form").first.is_visible()


def test_the_policy_stops_what_slipped_in(surf, server):
    page = surf(server)
    page.wait_for_selector("#ask-form:visible")
    ran, stopped = page.evaluate("""async () => {
      const stopped = [];
      document.addEventListener('securitypolicyviolation', event => stopped.push(event.effectiveDirective));
      const script = document.createElement('script');
      try { script.textContent = 'window.ran = true'; } catch { stopped.push('trusted'); }
      document.body.append(script);
      const image = document.createElement('img');
      image.src = 'https://example.invalid/x.png';
      document.body.append(image);
      await fetch('https://example.invalid/').catch(() => null);
      const frame = document.createElement('div');
      try { frame.setAttribute('onclick', 'window.ran = true'); } catch { stopped.push('trusted'); }
      frame.click();
      const styled = document.createElement('p');
      styled.setAttribute('style', 'color: red');
      document.body.append(styled);
      await new Promise(done => setTimeout(done, 200));
      return [Boolean(window.ran), stopped];
    }""")
    assert ran is False
    assert {"img-src", "connect-src", "style-src-attr"} <= set(stopped)
    assert {"trusted", "script-src-elem"} & set(stopped)
    answer = page.request.get(f"{server.url}/")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    surf.trouble.clear()
