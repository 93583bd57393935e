"""A client in threads, in forked and spawned processes, pickled, closed, and dropped."""

import gc
import multiprocessing
import os
import pickle
import sys
import threading
from concurrent.futures import CancelledError
from functools import partial

import pytest
from fake_service import fake_service
from training_sets import NOISY

from srcache.errors import ConfigError, MissingExtraError
from srcache.images import decode_both, encode
from srcache.keys import image_key
from srcache.service.remote import RemoteService
from srcache.service.remote_answers import wanted_of
from srcache.service.remote_client import RemoteClient
from srcache.service.remote_session import Sent
from srcache.service.requests import make_request


@pytest.fixture
def service():
    with fake_service(NOISY) as fake:
        yield fake


@pytest.fixture
def images(make_image):
    return [encode(make_image(8, 12, seed), "png") for seed in range(12)]


def ask(client, data):
    request = make_request(image_key(data), decode_both(data), NOISY, 0)
    return client.made(wanted_of(request, NOISY.fingerprint), Sent(data=partial(bytes, data)))


@pytest.fixture
def loops():
    """The threads of clients that this test has made."""
    before = set(threading.enumerate())

    def count():
        return sum(thread.name == "srcache-remote" for thread in set(threading.enumerate()) - before)

    return count


def work(client, images, results):
    results.put([ask(client, data).result(30).payload for data in images])
    results.close()
    results.join_thread()


def test_requests_of_many_threads_share_one_thread_and_few_connections(service, images, loops):
    client, made = RemoteClient(RemoteService(service.url, batch=4)), {}

    def act(data):
        made[data] = ask(client, data).result(30).payload

    threads = [threading.Thread(target=act, args=(data,)) for data in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert made == {data: service.entry(NOISY, image_key(data), 0)[1] for data in images}
    assert loops() == 1
    client.close()
    assert loops() == 0


@pytest.mark.medium
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_other_processes_have_connections_of_their_own(service, images, start):
    client, context = RemoteClient(RemoteService(service.url)), multiprocessing.get_context(start)
    before = ask(client, images[0]).result(30).payload
    results = context.Queue()
    workers = [context.Process(target=work, args=(client, images, results)) for _ in range(2 if start == "fork" else 1)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=300) for _ in workers]
    after = ask(client, images[0]).result(30).payload
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    expected = [service.entry(NOISY, image_key(data), 0)[1] for data in images]
    assert found == [expected] * len(workers)
    assert before == after == expected[0]
    client.close()


def test_a_child_that_is_forked_while_a_client_is_made_does_not_wait_for_it(service, images):
    from srcache.service import remote_client

    client = RemoteClient(RemoteService(service.url))
    with remote_client._turn:
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if ask(client, images[0]).result(20).payload else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.close()


def test_a_client_that_is_dropped_closes_its_connections(service, images, loops):
    client = RemoteClient(RemoteService(service.url))
    assert ask(client, images[0]).result(30).payload
    assert loops() == 1
    del client
    gc.collect()
    assert loops() == 0


def test_a_client_that_was_closed_opens_others_unless_it_was_for_good(service, images, loops):
    client = RemoteClient(RemoteService(service.url))
    client.close()
    assert ask(client, images[0]).result(30).payload
    gate = threading.Event()
    service.act = lambda handler, asked: not gate.wait(20)
    pending = ask(client, images[1])
    client.close(for_good=True)
    gate.set()
    for future in (pending, ask(client, images[0])):
        with pytest.raises(CancelledError):
            future.result(30)
    assert loops() == 0


def test_a_pickle_holds_no_token(service, images, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret")
    service.token = "s3cret"
    client = RemoteClient(RemoteService(service.url, token_file=token))
    assert ask(client, images[0]).result(30).payload
    assert b"s3cret" not in pickle.dumps(client)
    again = pickle.loads(pickle.dumps(client))
    assert ask(again, images[0]).result(30).is_hit
    assert "s3cret" not in repr(vars(client)) + repr(client)
    client.close()
    again.close()


def test_what_is_missing_is_said_before_anything_is_asked(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"the token file .*gone cannot be read"):
        RemoteClient(RemoteService("http://127.0.0.1:9", token_file=tmp_path / "gone"))
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"asking an SR service needs httpx.*\.\[serve\]"):
        RemoteClient(RemoteService("http://127.0.0.1:9"))


def test_logs_do_not_show_a_token(service, images, tmp_path, caplog):
    token = tmp_path / "token"
    token.write_text("s3cret-of-this-test")
    client = RemoteClient(RemoteService(service.url, token_file=token))
    with caplog.at_level(1):
        assert ask(client, images[0]).result(30).payload
        client.close()
    assert service.headers[-1]["Authorization"] == "Bearer s3cret-of-this-test"
    assert "127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text
