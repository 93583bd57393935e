"""`srcache warm`: what it prints, its document, its exit codes, and mistakes."""

import json
from pathlib import Path

import paths
import pytest
from fake_service import fake_service

from srcache.recipe.reading import load_recipe

RECIPE = load_recipe("bicubic", {"scale": 2})


@pytest.fixture
def service(monkeypatch):
    monkeypatch.delenv("SRCACHE_TOKEN_FILE", raising=False)
    with fake_service(RECIPE) as fake:
        yield fake


def test_what_warm_prints(home, srcache, service):
    printed = srcache("warm", "one", "--cache", "new", "--service", service.url)
    assert (printed.code, printed.err) == (0, "")
    head, *rows = printed.out.splitlines()
    assert head == f"new/{RECIPE.folder}"
    assert [row.split()[:2] for row in rows] == [["wanted", "1"], ["there", "already"], ["brought", "1"], ["sent", "1"]]
    again = srcache("warm", "one", "--cache", "new", "--service", service.url)
    assert "there already  1  nothing to do" in again.out
    assert srcache("verify", "new").code == 0


def test_the_document(home, srcache, service):
    printed = srcache("warm", "photos", "--cache", "new", "--service", service.url, "--json")
    document = json.loads(printed.out)
    assert printed.code == 1, "one file is empty"
    assert document["result"].pop("seconds") > 0
    assert document["result"].pop("service") == service.url
    assert document == json.loads((paths.GOLDEN / "cli/warm.json").read_text())


def test_asking_only(home, srcache, service):
    printed = srcache("warm", "one", "--cache", "new", "--service", service.url, "--ask-only")
    assert printed.code == 0
    assert "ready at the service  1" in printed.out
    assert "brought" not in printed.out


def test_an_epoch(home, srcache, service):
    words = ["warm", "photos", "--cache", "cache", "--service", service.url, "--recipe", "bicubic", "--json"]
    printed = srcache(*words, "--epoch", 0, "--policy", "lr=0.5,sr=0.5", "--seed", 1)
    result = json.loads(printed.out)["result"]
    assert result["wanted"] == result["stored"] < 3, "what was built is not asked for"
    assert service.asked == []


def test_a_service_that_is_not_there_is_the_machines_failure(home, srcache):
    printed = srcache("warm", "one", "--cache", "new", "--service", "http://127.0.0.1:9", "--timeout", 1)
    assert printed.code == 4
    assert "srcache: the SR service at http://127.0.0.1:9" in printed.err


def test_a_token_file(home, srcache, service, monkeypatch):
    Path("token").write_text("s3cret\n")
    service.token = "s3cret"
    words = ["warm", "one", "--cache", "new", "--service", service.url]
    printed = srcache(*words)
    assert printed.code == 4
    assert "answers 401: a token is needed" in printed.err
    printed = srcache(*words, "--service-token-file", "token")
    assert printed.code == 0
    assert "s3cret" not in printed.out + printed.err
    monkeypatch.setenv("SRCACHE_TOKEN_FILE", "token")
    assert srcache(*words).code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--service http://127.0.0.1:9", "Missing option '--cache'"),
        ("--cache new", "Missing option '--service'"),
        ("--cache new --service ftp://x", "url must begin with http:// or https://"),
        ("--cache new --service http://me:pw@x", "must not hold a name or a password"),
        ("--cache new --service http://127.0.0.1:9 --epoch 3", "--epoch and --policy go together"),
        ("--cache new --service http://127.0.0.1:9 --policy sr", "--epoch and --policy go together"),
        ("--cache new --service http://127.0.0.1:9 --epoch 0 --policy bicubic", "a policy is made of hr, lr and sr"),
        ("--cache new --service http://127.0.0.1:9 --service-token-file gone", "does not exist"),
        ("--cache photos --service http://127.0.0.1:9", "is no srcache cache; choose a new"),
        ("--cache cache --service http://127.0.0.1:9", "say which recipe is meant"),
        ("--cache cache --store shards --service http://127.0.0.1:9", "keeps its images in lmdb, not in shards"),
    ],
)
def test_a_mistake_is_refused(home, refuse, line, message):
    refuse(f"warm one {line}", message)
