"""Builds on Ray whose actors are killed, or that are interrupted: nothing is lost, nothing is made twice for long."""

import json

import network_namespace
import pytest
from commands import stored
from fills import write
from ray_builds import RayBuild, count, until

from srcache.cache.manifest import open_cache
from srcache.maintain.verify import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(network_namespace.obstacle() is not None, reason=str(network_namespace.obstacle())),
]

PHOTOS, BATCH = 160, 4
SLEEPY = "engine: test-sleepy\nscale: 2\noptions: {milliseconds: 250}\n"


@pytest.fixture(scope="module")
def sleepy(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "sleepy.yaml"
    path.write_text(SLEEPY)
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory, make_image):
    shapes = [(12, 16), (16, 12), (16, 16)]
    folder = write(tmp_path_factory.mktemp("many") / "p", PHOTOS, lambda number: shapes[number % 3], make=make_image)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def undisturbed(many, sleepy, tmp_path_factory, commands):
    """What a build in one process stores."""
    cache = tmp_path_factory.mktemp("local") / "cache"
    words = ["build", many, "--cache", cache, "--recipe", sleepy, "--store", "shards"]
    assert commands.run(*words, "--device", "cpu")[0] == 1
    return stored(cache)


@pytest.fixture
def build(many, sleepy, tmp_path):
    def start(*words):
        options = ["--cache", tmp_path / "cache", "--recipe", sleepy, "--store", "shards", "--device", "cpu"]
        return RayBuild(tmp_path / "run", many, *options, "--actors", "2", "--json", *words)

    return start


def test_an_actor_that_is_killed_twice_costs_no_image(build, undisturbed, tmp_path):
    cache = tmp_path / "cache"
    run = build()
    for share in (0.2, 0.5):
        until(lambda share=share: count(cache) > share * PHOTOS)
        run.kill_actor()
    assert run.wait() == 1, run.stderr
    assert stored(cache) == undisturbed
    result = run.document["result"]
    assert (result["added"], result["meanwhile"], result["failed"]) == (PHOTOS, 0, {"unreadable": 1})
    checked = verify(cache)
    assert checked.ok
    assert checked.repeated <= 2 * BATCH
    folder = open_cache(cache).find()
    (receipt,) = folder.receipts()
    assert (receipt["added"], receipt["stored_before"], receipt["meanwhile"]) == (PHOTOS, 0, 0)
    assert not list(folder.store_kind.unfinished(folder.store_path))
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".run-")]


def test_ctrl_c_finishes_the_batches_in_hand(build, undisturbed, tmp_path):
    cache = tmp_path / "cache"
    run = build()
    until(lambda: count(cache) > 0.2 * PHOTOS)
    run.interrupt()
    assert run.wait() == 130, run.stderr
    assert "the batch in hand was finished" in run.document["error"]["message"]
    assert "Traceback" not in run.stderr
    have = stored(cache)
    assert have.items() < undisturbed.items()
    (receipt,) = open_cache(cache).find().receipts()
    assert (receipt["added"], receipt["interrupted"]) == (len(have), True)
    again = build()
    assert again.wait() == 1, again.stderr
    assert (again.document["result"]["stored"], again.document["result"]["added"]) == (len(have), PHOTOS - len(have))
    assert stored(cache) == undisturbed
    assert json.loads(again.stdout)["ok"] is False
