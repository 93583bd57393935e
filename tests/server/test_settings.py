"""Settings of the service: what is refused before it begins."""

import os
import subprocess
from pathlib import Path

import pytest

from srcache.errors import ConfigError, MachineError
from srcache.recipe.reading import resolve
from srcache.server.settings import ServerSettings, addresses_of, is_loopback, require_certificate, require_servable

RECIPE = resolve({"name": "t", "engine": "test-faulty", "scale": 2})


def settings(**changes):
    return ServerSettings(cache=Path("cache"), **{"recipes": (RECIPE,), **changes})


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.9.1", True),
                                           ("0.0.0.0", False), ("::", False), ("192.0.2.7", False)])  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host, own):
    assert is_loopback(host) is own


def test_loopback_needs_nothing():
    require_servable(settings())
    require_servable(settings(host="::1", port=0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0", "plain_http": True}, ["--token-file"]),
        ({"host": "0.0.0.0", "token_file": Path("t")}, ["--tls-cert and --tls-key", "--plain-http"]),
        ({"host": "::"}, ["--token-file", "--plain-http"]),
        ({"tls_key": Path("k")}, ["TLS needs both"]),
        ({"recipes": (RECIPE, RECIPE)}, ["named twice"]),
        ({"deadline": float("inf")}, ["deadline"]),
    ],
)
def test_what_is_open_or_contradicts_itself_is_refused(changes, words):
    with pytest.raises(ConfigError) as caught:
        require_servable(settings(**changes))
    assert all(word in str(caught.value) for word in words)


def test_off_loopback_with_a_token_and_tls_or_a_word_for_plain_http_is_fine():
    token = Path("t")
    require_servable(settings(host="0.0.0.0", token_file=token, plain_http=True))
    require_servable(settings(host="0.0.0.0", token_file=token, tls_cert=Path("c"), tls_key=Path("k")))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "300.1.1.1", "", "a b", "x" * 300])
def test_a_host_that_leads_nowhere_is_said(host):
    with pytest.raises(MachineError, match="is no address or name"):
        addresses_of(host)


def test_a_certificate_and_its_key_are_looked_at_before(certificate, tmp_path):
    cert, key = certificate
    require_certificate(settings(tls_cert=cert, tls_key=key))
    require_certificate(settings())
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    locked = tmp_path / "locked.pem"
    words = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(words, check=True, capture_output=True)
    os.mkfifo(tmp_path / "pipe")
    for wrong in ((junk, key), (cert, junk), (key, cert), (cert, tmp_path / "none"), (tmp_path / "pipe", key)):
        with pytest.raises(ConfigError, match="are no certificate and its key"):
            require_certificate(settings(tls_cert=wrong[0], tls_key=wrong[1]))
    with pytest.raises(ConfigError, match="is encrypted"):
        require_certificate(settings(tls_cert=cert, tls_key=locked))
