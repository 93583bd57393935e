"""uvicorn's settings, and how the server decides that it is done."""

import asyncio
import os
import signal

import pytest

from srcache.server.access import Doors
from srcache.server.app import make_app
from srcache.server.web_server import AT_ONCE, WebServer, web_config


@pytest.fixture
def server(service):
    app = make_app(service.site, Doors(None), lambda line: None)
    return WebServer(web_config(service.site.settings, app), service.site)


def test_nothing_is_believed_that_a_client_could_forge(server):
    config = server.config
    assert (config.proxy_headers, config.server_header, config.access_log) == (False, False, False)
    assert config.ws == "none"


def test_it_ends_when_it_was_told_to_and_nothing_is_left(server, service):
    def tick():
        return asyncio.run(server.on_tick(1))

    assert not tick()
    server._end(signal.SIGTERM, None)
    service.site.active = 1
    assert not tick()
    service.site.active = 0
    assert tick()


def test_an_engine_that_does_not_load_ends_it(server, service, monkeypatch):
    def fail():
        raise ValueError("no weights")

    monkeypatch.setattr(service.site.recipes[0], "start", fail)
    server._load()
    assert asyncio.run(server.on_tick(1))
    assert service.site.is_draining


def test_a_second_signal_does_not_wait(server, monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    server._end(signal.SIGTERM, None)
    assert ended == []
    server._end(signal.SIGINT, None)
    assert ended == [AT_ONCE]


def test_signals_are_given_back(server):
    before = signal.getsignal(signal.SIGTERM)
    with server.capture_signals():
        assert signal.getsignal(signal.SIGTERM) == server._end
    assert signal.getsignal(signal.SIGTERM) is before
