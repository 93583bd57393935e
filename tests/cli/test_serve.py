"""`srcache serve`: what it prints, what it refuses, and what it needs."""

import json
import sys

import httpx
import pytest
from commands import until
from served import served
from service_client import png

from srcache.server.run import Listening, ServedRecipe, ServeReport

REPORT = ServeReport(
    requests=12,
    recipes=(
        ServedRecipe(recipe="a-1", folder="cache/a-1", hits=7, added=3, failed={"blank": 2}, engine_seconds=0.5),
        ServedRecipe(recipe="b-2", folder="cache/b-2", hits=0, added=0, failed={}, engine_seconds=0.0),
    ),
)


@pytest.fixture
def pretended(monkeypatch):
    """A server that ends at once; the settings and the log's form that it got are in the list."""
    got = []

    def serve(settings, announce, *, log_json, progress):
        announce(Listening(url="http://127.0.0.1:8484", warnings=("look out",)))
        got.append((settings, log_json))
        return REPORT

    monkeypatch.setattr("srcache.server.run.serve", serve)
    return got


@pytest.mark.medium
def test_what_serve_prints(home, srcache, pretended):
    printed = srcache("serve", "--cache", "new", "--recipe", "bicubic")
    assert (printed.code, printed.err) == (0, "warning: look out\n")
    assert printed.out.splitlines() == [
        "listening on http://127.0.0.1:8484",
        "12 requests answered",
        "cache/a-1",
        "from the cache  7",
        "added           3",
        "failed          2  blank 2",
        "cache/b-2",
        "from the cache  0",
        "added           0",
    ]


@pytest.mark.medium
def test_json_is_one_document_and_the_address_is_on_stderr(home, srcache, pretended):
    printed = srcache("serve", "--cache", "new", "--recipe", "bicubic", "--json")
    document = json.loads(printed.out)
    assert (document["schema"], document["ok"], document["result"]["requests"]) == ("srcache.serve/1", True, 12)
    assert list(document["result"]["recipes"][0]) == ["recipe", "folder", "hits", "added", "failed", "engine_seconds"]
    assert printed.err.endswith("listening on http://127.0.0.1:8484\n")


@pytest.mark.medium
def test_options_become_settings(home, srcache, pretended, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    monkeypatch.setenv("SRCACHE_TOKEN_FILE", str(token))
    words = "--recipe bicubic --recipe lanczos --batch 8 --deadline 5 --memory 1G --max-body 2M --max-pixels 5000"
    words += " --timeout 9 --connections 7 --workers 3 --port 0 --host ::1 --allow-host a --allow-host b --retry-failed"
    srcache("serve", "--cache", "new", *words.split(), "--source", "photos", "--log-json")
    ((settings, log_json),) = pretended
    assert [recipe.name for recipe in settings.recipes] == ["bicubic", "lanczos"]
    assert (settings.batch, settings.deadline, settings.memory) == (8, 0.005, 1 << 30)
    assert (settings.most_body, settings.most_pixels, settings.engine_seconds) == (2 << 20, 5000, 9)
    assert (settings.connections, settings.workers, settings.port, settings.host) == (7, 3, 0, "::1")
    assert (settings.hosts, settings.retry_failed, settings.token_file, log_json) == (("a", "b"), True, token, True)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("serve --cache new", "Missing option '--recipe'"),
        ("serve --cache new --recipe nothing", "no recipe is named 'nothing'"),
        ("serve --cache new --recipe bicubic --recipe lanczos --set scale=2", "--set changes one recipe"),
        ("serve --cache new --recipe bicubic --host 0.0.0.0", "so requests must carry a token"),
        ("serve --cache new --recipe bicubic --token-file photos", "is a directory"),
        ("serve --cache photos --recipe bicubic --port 0", "is not empty, and is no srcache cache"),
        ("serve --cache new --recipe bicubic --deadline -1", "--deadline"),
    ],
)
def test_mistakes_are_refused(home, refuse, line, message):
    refuse(line, message)


@pytest.mark.medium
@pytest.mark.parametrize("package", ["uvicorn", "starlette", "prometheus_client"])
def test_a_missing_extra_is_named(home, srcache, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    printed = srcache("serve", "--cache", "new", "--recipe", "bicubic", "--port", "0")
    assert printed.code == 4
    assert printed.err.endswith("which is not installed; run, in a clone of srcache: pip install '.[serve]'\n")


@pytest.mark.medium
def test_a_recipe_that_is_being_served_cannot_be_built(home, srcache):
    with served("cache", "bicubic", set="scale=2") as server:
        printed = srcache("build", "photos", "--cache", "cache", "--recipe", "bicubic", "--set", "scale=2")
        assert printed.code == 4
        assert f"is being filled by process {server.process.pid}; wait for it, or stop it" in printed.err
        first = next((home / "photos").rglob("*.ppm"))
        answer = httpx.post(f"{server.url}/v1/sr", content=first.read_bytes())
        assert (answer.status_code, answer.headers["x-srcache-cache"]) == (200, "hit")
        assert server.stop() == 0
        assert "from the cache  1" in server.stdout


@pytest.mark.medium
def test_a_cache_that_was_served_into_is_a_cache_like_any_other(home, srcache):
    with served("new", "bicubic", set="scale=2", json=True) as server:
        assert httpx.post(f"{server.url}/v1/sr", content=png()).status_code == 200
        until(lambda: httpx.get(f"{server.url}/v1/stats").json()["recipes"][0]["stored"] == 1)
        assert server.stop() == 0
        assert json.loads(server.stdout)["result"]["recipes"][0]["added"] == 1
    assert srcache("verify", "new").code == 0
    assert "1" in srcache("info", "new").out
    assert srcache("export", "new", "out", "--recipe", "bicubic").code in (0, 1)
