"""What the tests in a browser share: a Chromium, and visits in which nothing may be loaded, complained of or popped up.

Needs playwright (extra `dev`) and a Chromium on the machine, such as Debian's package `chromium`; SRCACHE_CHROMIUM
names another. Playwright's own download of browsers is not used.
"""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
DESKTOP = {"viewport": {"width": 1200, "height": 900}}


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; run, in a clone of srcache: pip install '.[dev]'"
    )
    program = os.environ.get("SRCACHE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine (on Debian: apt-get install chromium), nor named by SRCACHE_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Open an address; at the end of the test nothing else may have been asked for, complained about, or popped up."""
    contexts, trouble = [], []

    def start(address, may_ask, patience, **options):
        context = browser.new_context(**{**DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(patience)
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: may_ask(request.url) or trouble.append(f"request: {request.url}"))
        page.goto(address)
        return page

    start.trouble = trouble
    yield start
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def visit(open_page):
    """Open a file, which may ask for nothing but itself."""

    def start(path, **options):
        own = path.as_uri()
        return open_page(own, lambda url: url.partition("#")[0] == own or url.startswith("data:"), 10_000, **options)

    start.trouble = open_page.trouble
    return start
