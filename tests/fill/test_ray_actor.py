"""An actor of a fill on Ray: it makes what a block asks for, stops when it is told to, and answers every mistake.

Ray itself is replaced by a ledger that is called directly; `test_ray_run` has the real one.
"""

import gc
import re
import sys
import threading
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from fills import recipe_of, write

from srcache.cache.manifest import create_cache
from srcache.catalog.scanning import scan
from srcache.errors import DiskFullError
from srcache.fill.plan import make_plan
from srcache.fill.ray_actor import RayActor, RayJob
from srcache.fill.ray_ledger import RayLedger
from srcache.fill.ray_rows import Block, outcomes_of, work_table
from srcache.fill.settings import FillSettings

pytest.importorskip("pyarrow")


class Handle:
    """A ledger as Ray would hand it on: each method has `remote`."""

    def __init__(self, ledger):
        self._ledger = ledger

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._ledger, name))


@dataclass
class Place:
    """A catalog, a recipe's folder, and what an actor is told of them."""

    catalog: object
    folder: object
    ledger: RayLedger
    job: RayJob

    def work(self, number=0, first=0, last=None, tried=False):
        plan = make_plan(self.catalog, None, None)
        block = Block(number=number, first=first, last=len(plan.missing) if last is None else last, tried=tried)
        return work_table(self.catalog, plan, block)

    def stored(self):
        return len(self.folder.store())


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch):
    context = SimpleNamespace(get_actor_id=lambda: "actor")
    ray = SimpleNamespace(get=lambda value: value, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)


@pytest.fixture
def place(tmp_path, make_image):
    photos = write(tmp_path / "photos", 9, make=make_image)
    (photos / "broken.png").write_bytes(b"no image")
    recipe = recipe_of("test-sleepy", options={"milliseconds": 100})
    folder = create_cache(tmp_path / "cache", "shards").add(recipe)
    (folder.path / ".token").write_text("secret")
    catalog, ledger = scan(photos), RayLedger()
    job = RayJob(
        cache=str(tmp_path / "cache"),
        recipe=recipe.fingerprint,
        codec="png:1",
        settings=FillSettings(device="cpu", batch=2),
        token="secret",
        token_name=".token",
        root=str(photos),
        ledger=Handle(ledger),
    )
    return Place(catalog, folder, ledger, job)


def test_a_block_is_made_and_its_failures_are_noted(place):
    actor = RayActor(place.job)
    (outcome,) = outcomes_of(actor(place.work()))
    assert (outcome.added, outcome.found, outcome.error) == (9, 0, "")
    assert [(failed.source, failed.reason) for failed in outcome.failures] == [("broken.png", "unreadable")]
    assert (outcome.device, outcome.computed >= 9, outcome.seconds > 0) == ("cpu", True, True)
    assert [failed.source for failed in place.folder.failures().values()] == ["broken.png"]
    writers, _ = place.ledger.writers()
    assert list(place.folder.store_kind.unfinished(place.folder.store_path)) == writers
    del actor
    gc.collect()  # failures leave circles of frames
    assert not list(place.folder.store_kind.unfinished(place.folder.store_path))
    assert place.stored() == 9


def test_what_others_stored_is_theirs_and_what_a_killed_actor_stored_is_the_runs(place):
    RayActor(place.job)(place.work(0, last=4))
    actor = RayActor(place.job)
    (again,), (others,) = outcomes_of(actor(place.work(0, last=4))), outcomes_of(actor(place.work(1, last=4)))
    (tried,) = outcomes_of(actor(place.work(2, last=4, tried=True)))
    assert [(one.added, one.found) for one in (again, others, tried)] == [(4, 0), (0, 4), (4, 0)]


def test_an_actor_stops_after_the_batch_in_hand(place):
    actor, found = RayActor(place.job), []
    work = threading.Thread(target=lambda: found.extend(outcomes_of(actor(place.work()))))
    work.start()
    while place.stored() == 0:
        time.sleep(0.01)
    place.ledger.stop()
    work.join(30)
    (outcome,) = found
    assert outcome.error == ""
    assert outcome.added == place.stored()
    (after,) = outcomes_of(actor(place.work(1)))
    assert (after.added, after.found, after.failures, after.error) == (0, 0, (), "")


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"token": "other"}, "CacheError", "does not see the cache .* another cache of the same name"),
        ({"cache": "/nowhere"}, "CacheError", "does not see the cache /nowhere .*is no srcache cache"),
        ({"recipe": "0" * 16}, "CacheError", "does not see the cache .*holds no recipe"),
        ({"root": "/nowhere/photos"}, "CatalogError", "does not see the images in /nowhere/photos"),
        ({"settings": FillSettings(device="cuda:9")}, "DeviceError", "on machine .*cuda:9"),
        ({"settings": FillSettings(device="cpu", samples=2)}, "RecipeError", "on machine .*would all be the same"),
    ],
)
def test_a_machine_that_cannot_do_the_work_says_why(place, changed, kind, message):
    (outcome,) = outcomes_of(RayActor(replace(place.job, **changed))(place.work()))
    assert (outcome.kind, outcome.added) == (kind, 0)
    assert re.search(message, outcome.error)
    assert place.ledger.begin(0) is False


def test_an_error_of_the_machine_is_an_outcome(place, monkeypatch):
    actor = RayActor(place.job)

    def full(*_):
        raise DiskFullError("no room in /cache")

    monkeypatch.setattr("srcache.stores.shards.ShardsStore.put_many", full)
    (outcome,) = outcomes_of(actor(place.work()))
    assert outcome.kind == "DiskFullError"
    assert re.search("on machine .*no room in /cache", outcome.error)
