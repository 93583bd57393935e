"""A server in a process of its own: it locks its recipes, ends in order, and leaves a receipt."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from commands import until
from served import served
from service_client import png

from srcache.cache import open_cache
from srcache.errors import BusyError, ConfigError, MachineError
from srcache.keys import image_key
from srcache.maintain.verify import verify
from srcache.recipe import load_recipe
from srcache.server.run import serve
from srcache.server.settings import ServerSettings

pytestmark = pytest.mark.medium


def slow(recipe_file, milliseconds=300, **fields):
    return recipe_file("test-sleepy", options=f"{{milliseconds: {milliseconds}}}", **fields)


@pytest.mark.parametrize("store", ["lmdb", pytest.param("shards", marks=pytest.mark.slow)])
def test_sigterm_finishes_what_was_asked_refuses_what_is_new_and_leaves_a_receipt(tmp_path, recipe_file, store):
    cache, how = tmp_path / "cache", {"batch": 2, "store": store, "environment": dict(os.environ)}
    with served(cache, slow(recipe_file, 700), **how) as server, ThreadPoolExecutor(8) as clients:
        late = httpx.Client(base_url=server.url)
        assert late.get("/healthz").status_code == 200
        asked = [clients.submit(httpx.post, f"{server.url}/v1/sr", content=png(seed=n), timeout=60) for n in range(6)]
        queued = httpx.post(f"{server.url}/v1/prefetch", content=png(seed=7)).json()
        assert queued["queued"] == 1
        until(lambda: _is_busy(late.get("/v1/stats").json(), len(asked)))
        server.process.send_signal(signal.SIGTERM)
        until(lambda: late.get("/readyz").status_code == 503)
        refused = late.post("/v1/sr", content=png(seed=8))
        assert (refused.status_code, refused.json()["error"]["reason"]) == (503, "draining")
        assert "retry-after" in refused.headers
        assert {one.result().status_code for one in asked} == {200}
        assert server.process.wait(30) == 0
        assert "7 requests" not in server.stderr
    folder = open_cache(cache).find()
    (receipt,) = folder.receipts()
    assert (receipt["added"], receipt["served"], receipt["interrupted"]) == (7, True, False)
    stored = folder.store()
    assert {f"{image_key(png(seed=n))}-000" for n in [*range(6), 7]} == set(stored.names())
    stored.close()
    assert verify(cache).ok
    assert not list(folder.store_path.glob("*.partial"))


def _is_busy(stats, requests):
    """Whether so many requests came in, beside that for the numbers, and the engine has begun."""
    return stats["active"] > requests and stats["recipes"][0]["batches"] > 0


def test_a_second_signal_ends_it_at_once(tmp_path, recipe_file):
    with served(tmp_path / "cache", slow(recipe_file, 60_000)) as server:
        threading.Thread(target=_ask, args=(server.url,), daemon=True).start()
        until(lambda: httpx.get(f"{server.url}/v1/stats").json()["recipes"][0]["batches"] > 0)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 130


def _ask(url):
    try:
        httpx.post(f"{url}/v1/sr", content=png(), timeout=60)
    except httpx.HTTPError:
        return


def test_a_recipe_that_is_being_filled_is_refused_and_so_is_a_build_meanwhile(tmp_path, recipe_file):
    recipe = recipe_file("test-faulty")
    with served(tmp_path / "cache", recipe) as server:
        settings = ServerSettings(cache=tmp_path / "cache", recipes=(load_recipe(recipe),), port=0, device="cpu")
        with pytest.raises(BusyError, match=rf"is being filled by process {server.process.pid}; wait for it"):
            serve(settings, lambda _: None)


def test_a_port_that_is_taken_is_said(tmp_path, recipe_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = ServerSettings(cache=tmp_path / "c", recipes=(load_recipe(recipe_file("test-faulty")),), port=port)
        with pytest.raises(MachineError, match=f"port {port} cannot be listened on .*another --port"):
            serve(settings, lambda _: None)


def test_what_contradicts_itself_is_refused_all_at_once(tmp_path):
    settings = ServerSettings(cache=tmp_path / "c", recipes=(), host="0.0.0.0", tls_cert=tmp_path, memory=5)
    with pytest.raises(ConfigError) as caught:
        serve(settings, lambda _: None)
    for words in ("no recipe was named", "--token-file", "--tls-cert and --tls-key", "at least 16M"):
        assert words in str(caught.value)
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_hits_are_answered_and_misses_refused_while_the_engine_loads(tmp_path, recipe_file, monkeypatch):
    recipe, cache = recipe_file("test-faulty"), tmp_path / "cache"
    with served(cache, recipe) as server:
        httpx.post(f"{server.url}/v1/sr", content=png())
        server.stop()
    with served(cache, recipe, ready=False) as server:
        until(lambda: "listening on" in server.stdout)
        url = server.stdout.split()[-1]
        seen = set()
        for _ in range(400):
            hit = httpx.post(f"{url}/v1/sr", content=png())
            assert (hit.status_code, hit.headers["x-srcache-cache"]) == (200, "hit")
            state = httpx.get(f"{url}/readyz")
            miss = httpx.post(f"{url}/v1/sr", content=png(seed=1))
            seen.add((state.status_code, miss.status_code))
            if miss.status_code == 200:
                break
        assert seen <= {(503, 503), (503, 200), (200, 200)}
        assert miss.status_code == 200


def test_an_engine_that_does_not_load_ends_the_server_with_its_message(tmp_path, recipe_file):
    with served(tmp_path / "cache", recipe_file("test-faulty"), ready=False, device="cuda:77") as server:
        assert server.process.wait(60) == 4
        assert "srcache: device cuda:77 was asked for" in server.stderr
        assert "Traceback" not in server.stderr


def test_a_disk_that_is_full_ends_the_server_with_exit_code_4(tmp_path, recipe_file):
    with served(tmp_path / "cache", recipe_file("test-faulty")) as server:
        folder = open_cache(tmp_path / "cache").find()
        import resource

        data = folder.store_path / "data.mdb"
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (data.stat().st_size, data.stat().st_size))
        answer = httpx.post(f"{server.url}/v1/sr", content=png(120, 120), timeout=60)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "stopped")
        assert str(tmp_path) not in answer.text
        assert server.process.wait(30) == 4
        assert "could not be written" in server.stderr
    assert verify(tmp_path / "cache").ok


def test_off_loopback_a_token_is_needed_and_the_log_never_shows_it(tmp_path, recipe_file):
    token = tmp_path / "token"
    token.write_text("s3cret-token-of-this-test\n")
    token.chmod(0o644)
    options = {"host": "0.0.0.0", "token_file": token, "plain_http": True, "log_json": True}
    with served(tmp_path / "cache", recipe_file("test-faulty"), ready=False, **options) as server:
        until(lambda: "listening on" in server.stdout)
        url = f"http://127.0.0.1:{server.stdout.strip().rpartition(':')[2]}"
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret-token-of-this-test"}):
            refused = httpx.post(f"{url}/v1/sr", content=png(), headers=headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        good = {"Authorization": "Bearer s3cret-token-of-this-test"}
        assert httpx.post(f"{url}/v1/sr", content=png(), headers=good).status_code == 200
        assert httpx.get(f"{url}/s3cret-token-of-this-test", headers=good).status_code == 404
        assert server.stop() == 0
        assert "others can read or change the token file" in server.stderr
        assert '"path": "/[token]"' in server.stderr
        assert "s3cret" not in server.stdout + server.stderr


def test_tls_is_spoken_with_a_certificate(tmp_path, recipe_file, certificate):
    cert, key = certificate
    with served(tmp_path / "cache", recipe_file("test-faulty"), tls_cert=cert, tls_key=key) as server:
        assert server.url.startswith("https://")
        import ssl

        context = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=context, base_url=server.url) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/v1/sr", content=png()).status_code == 200
        assert server.stop() == 0


def test_probes_are_not_in_the_log(tmp_path, recipe_file):
    with served(tmp_path / "cache", recipe_file("test-faulty")) as server:
        httpx.post(f"{server.url}/v1/sr", content=png())
        time.sleep(0.5)
        assert "POST /v1/sr 200" in server.stderr
        assert "readyz" not in server.stderr
        server.stop()
        assert "added           1" in server.stdout
