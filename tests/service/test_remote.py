"""The address of an SR service: what is taken, what is refused, and that no token is ever shown."""

import pickle

import pytest

import srcache
from srcache.errors import ConfigError
from srcache.service.remote import RemoteService, is_url


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("SRCACHE_TOKEN_FILE", raising=False)


def test_it_is_public():
    assert srcache.RemoteService is RemoteService


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8484", "http://127.0.0.1:8484"),
        ("http://localhost:8484/", "http://localhost:8484"),
        ("HTTPS://sr.example.org/below/", "https://sr.example.org/below"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_an_address_is_kept_without_the_last_slash(url, kept):
    assert RemoteService(url).url == kept
    assert is_url(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://here", "must begin with http:// or https://, but is 'ftp://here'"),
        ("here", "must begin with http"),
        (None, "must begin with http"),
        ("http://", "a scheme, a host"),
        ("http://:80", "a scheme, a host"),
        ("http://here/?token=x", "a scheme, a host"),
        ("http://here/?", "a scheme, a host"),
        ("http://here/#x", "a scheme, a host"),
        ("http://here:99999", "is no address"),
        ("http://[::1", "is no address"),
        ("http://he re", "a scheme, a host"),
        ("http://here\n", "a scheme, a host"),
        ("http://hére", "a scheme, a host"),
    ],
)
def test_what_is_no_address_is_refused(url, why):
    with pytest.raises(ConfigError, match=why):
        RemoteService(url)


@pytest.mark.parametrize("url", ["http://me:s3cret@here", "https://s3cret@here/x", "me:s3cret@here"])
def test_a_password_in_an_address_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError, match=r"name or a password|@ in it") as error:
        RemoteService(url)
    assert "s3cret" not in str(error.value)


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ConfigError) as error:
        RemoteService("x", fallback="sr", timeout=0, batch=0)
    for word in ("url must", "fallback must be one of raise, lr, hr", "timeout must", "batch must"):
        assert word in str(error.value)
    for wrong in ({"timeout": float("inf")}, {"timeout": True}, {"timeout": "1"}, {"batch": 257}, {"batch": 1.0}):
        with pytest.raises(ConfigError, match="must be a number of"):
            RemoteService("http://here", **wrong)


def test_a_token_goes_to_another_machine_only_encrypted_or_where_that_is_allowed(tmp_path):
    token = tmp_path / "token"
    for url in ("http://127.0.0.1", "http://localhost:1", "https://sr.example.org"):
        assert RemoteService(url, token_file=token).token_file == token
    with pytest.raises(ConfigError, match=r"would go to sr.example.org in plain text.*plain_http=True"):
        RemoteService("http://sr.example.org", token_file=token)
    assert RemoteService("http://sr.example.org", token_file=token, plain_http=True).plain_http
    assert RemoteService("http://sr.example.org").token_file is None
    with pytest.raises(ConfigError, match="ca_file is for https"):
        RemoteService("http://localhost", ca_file=tmp_path)


def test_the_token_is_not_in_it(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("s3cret")
    monkeypatch.setenv("SRCACHE_TOKEN_FILE", str(token))
    remote = RemoteService("http://localhost", fallback="lr", timeout=3, batch=2)
    assert remote.token_file == token
    again = pickle.loads(pickle.dumps(remote))
    assert again == remote
    assert b"s3cret" not in pickle.dumps(remote)
    assert "s3cret" not in repr(remote)
