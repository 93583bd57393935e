"""The page's files: what is served and how, what the page may load, and what everybody can read and reach."""

import re

import pytest
from report_page import Page, assert_everything_has_a_name, assert_headings_are_in_order, assert_ids_and_references_fit
from starlette.applications import Starlette
from starlette.testclient import TestClient

from srcache.html.slider import slider_script, slider_style
from srcache.html.theme import theme_style
from srcache.server.page import FILES, POLICY, routes
from srcache.service import protocol


@pytest.fixture(scope="module")
def client():
    with TestClient(Starlette(routes=routes())) as client:
        yield client


@pytest.fixture(scope="module")
def page(client):
    return Page(client.get("/").text)


def test_every_file_is_served_with_its_type_and_the_policy(client):
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "/": "text/html"}
    assert len(FILES) == 7
    for path in FILES:
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kinds[path.rpartition(".")[2]])
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "$" not in answer.text or path.endswith(".js"), "nothing is left to fill in"
        assert client.head(path).status_code == 200


def test_nothing_else_of_the_package_is_served(client):
    for path in ("/page/", "/page/page.py", "/page/page.html", "/page/../page.py", "/page/%2e%2e/page.py", "/page.js"):
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_a_browser_that_has_a_file_is_told_so(client):
    for path in FILES:
        first = client.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["content-security-policy"] == POLICY
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_slider_and_the_theme_are_the_reports(client):
    assert client.get("/page/slider.js").text == slider_script()
    assert client.get("/page/slider.css").text == slider_style()
    assert client.get("/page/theme.css").text == theme_style()


def test_the_policy_allows_this_origin_and_nothing_that_stands_in_the_page():
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' blob:"
    assert "unsafe" not in POLICY


def test_the_page_loads_its_own_files_and_holds_no_script_or_style(page, client):
    loaded = [one["attrs"].get("src") or one["attrs"].get("href") for one in page.all("script", "link", "img")]
    assert {f"/{one}" for one in loaded} == set(FILES) - {"/"}
    assert page.all("style") == []
    assert all(one["text"] == "" for one in page.all("script"))
    for one in page.elements:
        assert "style" not in one["attrs"]
        assert not any(key.startswith("on") for key in one["attrs"])
    for path in FILES:
        if not path.endswith(".svg"):
            assert re.search(r"https?://|url\(|@import|innerHTML|eval\(", client.get(path).text) is None, path


def test_the_page_is_complete_for_a_screen_reader(page):
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    assert_headings_are_in_order(page)
    assert_ids_and_references_fit(page)
    assert_everything_has_a_name(page)
    assert page.by_id("status")["attrs"]["role"] == "status"
    assert page.by_id("problem")["attrs"]["role"] == "alert"


def test_the_token_can_reach_no_url_and_no_storage(page, client):
    field = page.by_id("token")["attrs"]
    assert field["type"] == "password"
    assert field["autocomplete"] == "off"
    assert "name" not in field, "a form that a browser sends by itself holds no field without a name"
    script = client.get("/page/page.js").text
    assert re.search(r"localStorage|sessionStorage|indexedDB|cookie|location|history\.|console", script) is None


def test_the_script_asks_for_what_the_protocol_names(client):
    script = client.get("/page/page.js").text
    headers = (protocol.CACHE_HEADER, protocol.KEY_HEADER, protocol.FINGERPRINT_HEADER, "Retry-After")
    paths = [f'"{protocol.RECIPES.lstrip("/")}"', f"`{protocol.SR.lstrip('/')}?"]
    for word in (*headers, *paths, f'"{protocol.HIT}"', protocol.RECIPE, protocol.SAMPLE):
        assert word in script
    assert f'max="{protocol.MOST_SAMPLES - 1}"' in client.get("/").text
    assert set(re.findall(r'find\("([\w-]+)"\)', script)) <= set(re.findall(r'id="([\w-]+)"', client.get("/").text))


def test_every_class_of_the_page_has_a_rule(page, client):
    style = client.get("/page/page.css").text + theme_style() + slider_style()
    given = {name for one in page.elements for name in (one["attrs"].get("class") or "").split()}
    assert {name for name in given if f".{name}" not in style} == set()
