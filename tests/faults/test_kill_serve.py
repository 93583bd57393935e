"""A server that is killed under load: what it answered is there, what is there is intact, and the next one goes on."""

import random
import threading
import time

import httpx
import pytest
from commands import stored
from served import served
from service_client import png

from srcache.maintain.verify import verify

pytestmark = pytest.mark.slow

KILLS, CLIENTS = 4, 8


@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_a_server_that_is_killed_under_load_has_lost_nothing_that_it_answered(tmp_path, store):
    recipe, cache = tmp_path / "mine.yaml", tmp_path / "cache"
    recipe.write_text("engine: test-sleepy\nscale: 2\noptions: {milliseconds: 20}\n")
    answered: dict[str, bytes] = {}
    for kill in range(KILLS):
        rng = random.Random(f"{store} {kill}")
        with served(cache, recipe, store=store, batch=8) as server:
            end = threading.Event()
            clients = [
                threading.Thread(target=_ask, args=(server.url, 1000 * kill + 100 * n, answered, end))
                for n in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            time.sleep(rng.uniform(0.3, 2))
            server.kill()
            end.set()
            for client in clients:
                client.join(60)
                assert not client.is_alive()
        assert verify(cache).ok
        found = stored(cache)
        assert {name: found[name] for name in answered} == answered
    assert len(answered) > 20
    with served(cache, recipe, store=store) as server:
        for name, payload in answered.items():
            key, _, sample = name.rpartition("-")
            answer = httpx.get(f"{server.url}/v1/sr/{key}?sample={int(sample)}")
            assert (answer.status_code, answer.content) == (200, payload)
        assert server.stop() == 0
    assert verify(cache).ok


def _ask(url, first, answered, end):
    """Ask for new images, and note what was answered, until the server is gone."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for seed in range(first, first + 100):
            try:
                answer = client.post("/v1/sr", content=png(seed=seed))
            except httpx.HTTPError:
                return
            if answer.status_code == 200:
                key, sample = answer.headers["x-srcache-key"], int(answer.headers["x-srcache-sample"])
                answered[f"{key}-{sample:03d}"] = answer.content
            if end.is_set():
                return


def test_a_thousand_images_that_many_ask_for_are_computed_once_each(tmp_path):
    recipe, cache = tmp_path / "mine.yaml", tmp_path / "cache"
    recipe.write_text("engine: test-sleepy\nscale: 2\noptions: {milliseconds: 10}\n")
    images, wrong = [png(seed=seed) for seed in range(1000)], []
    with served(cache, recipe, batch=32) as server:

        def ask(number):
            order = random.Random(number).sample(images, 150) + images[number * 31 : number * 31 + 40]
            with httpx.Client(base_url=server.url, timeout=120) as client:
                wrong.extend(data for data in order if client.post("/v1/sr", content=data).status_code != 200)

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(600)
        (found,) = httpx.get(f"{server.url}/v1/stats").json()["recipes"]
        assert wrong == []
        assert (found["computed"] - found["padded"], found["added"], found["stored"]) == (1000, 1000, 1000)
        assert server.stop() == 0
    assert verify(cache).ok
