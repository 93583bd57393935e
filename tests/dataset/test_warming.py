"""Warming a cache: what an epoch needs, twice as once, failures listed, interrupted and gone on with."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_service import FakeService, fake_service, refusal
from PIL import Image
from training_sets import BROKEN, NOISY, SHRUNK, built, stored

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.policy import Policy
from srcache.dataset.warming import WarmInterrupted, WarmSettings, warm
from srcache.errors import BusyError, PolicyError, ServiceError, UnavailableError
from srcache.images import Pixels, decode
from srcache.maintain.verify import verify
from srcache.service import protocol, remote_session
from srcache.service.remote import RemoteService


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service(NOISY) as fake:
        yield fake


def warmed(photos: Path, service: FakeService, into: str = "warm", **settings: Any) -> Any:
    remote = RemoteService(service.url, batch=4, timeout=30)
    return warm(scan(photos), photos.parent / into, remote, settings=WarmSettings(**settings))


@pytest.mark.parametrize("store", ["lmdb", "shards"])
def test_a_warmed_cache_is_what_build_would_have_made_and_twice_is_once(
    photos: Path, service: FakeService, store: str
) -> None:
    report = warmed(photos, service, store=store, samples=2)
    assert (report.wanted, report.stored, report.added, report.sent, report.left) == (24, 0, 24, 24, 0)
    assert (report.recipe, report.service, report.failed, report.interrupted) == (NOISY.folder, service.url, {}, False)
    reference = built(photos, NOISY, samples=2, into="built", store=store)
    assert stored(report.folder.parent, NOISY) == stored(reference, NOISY)
    asked = len(service.asked)
    again = warmed(photos, service, samples=2)
    assert (again.wanted, again.stored, again.added, len(service.asked)) == (24, 24, 0, asked)
    folder = open_cache(report.folder.parent).find()
    assert (folder.samples, len(folder.receipts())) == (2, 1)
    assert verify(report.folder.parent).absent == 0
    data = SRAugmentedDataset(photos, report.folder.parent, policy="sr", size="mixed")
    assert len(data.__getitems__(range(12))) == 12


def test_what_the_service_knows_is_not_sent(photos: Path, service: FakeService) -> None:
    rows = scan(photos).rows
    service.known = {row.key: row.path.read_bytes() for row in rows[:8] if row.path}
    report = warmed(photos, service)
    assert (report.added, report.queued, report.sent) == (12, 8, 4)
    assert service.counts == {
        "GET /v1/recipes": 1,
        "POST /v1/prefetch": 1,
        "GET /v1/sr/KEY": 8,
        "POST /v1/sr": 4,
    }
    bare = warmed(photos, service, into="other")
    assert (bare.added, bare.there, bare.sent) == (12, 12, 0)


@pytest.mark.parametrize(
    ("policy", "epoch"),
    [("lr=0.4,sr=0.6", 0), ("lr=0.4,sr=0.6", 3), ("lr=0.4,patch(lr,sr)=0.3,blend(sr#0,sr#2)=0.3", 0)],
)
def test_an_epochs_images_are_those_that_a_training_is_served(
    photos: Path, service: FakeService, policy: str, epoch: int
) -> None:
    report = warmed(photos, service, epoch=epoch, policy=Policy.parse(policy, 5), samples=3)
    assert 0 < report.added == report.wanted < 36
    data = SRAugmentedDataset(photos, report.folder.parent, policy=policy, seed=5, size="mixed", on_miss="raise")
    data.set_epoch(epoch)
    data.__getitems__(range(12))
    assert data.counts["lr"] > 0
    assert sum(len(data.variant(index).samples) for index in range(12)) == report.added
    data.set_epoch(epoch + 1)
    assert verify(report.folder.parent).absent == 0, "only an epoch was asked for"


def test_a_policy_that_serves_no_sr_needs_nothing(photos: Path, service: FakeService) -> None:
    report = warmed(photos, service, epoch=0, policy=Policy.parse("lr"))
    assert (report.wanted, report.added) == (0, 0)
    with pytest.raises(PolicyError, match=r"names sample 2, .*`srcache warm`"):
        warmed(photos, service, epoch=0, policy=Policy.parse("sr#2"))


def test_asking_only_brings_nothing(photos: Path, service: FakeService) -> None:
    rows = scan(photos).rows
    service.known = {row.key: row.path.read_bytes() for row in rows[:8] if row.path}
    report = warmed(photos, service, ask_only=True)
    assert (report.wanted, report.queued, report.there, report.sent, report.added) == (12, 8, 4, 4, 0)
    assert stored(report.folder.parent, NOISY) == {}
    assert open_cache(report.folder.parent).find().receipts() == []
    again = warmed(photos, service, ask_only=True)
    assert (again.queued, again.there, again.sent) == (0, 12, 0)


def test_images_that_cannot_be_made_are_listed_and_the_rest_is_brought(
    photos: Path, make_image: Callable[..., Pixels]
) -> None:
    Image.fromarray(make_image(24, 24, 1, mark="raises")).save(photos / "bark/bark1.png")
    (photos / "moss/moss0.png").write_bytes(b"no image")
    Image.fromarray(make_image(9, 9, 3)).save(photos / "odd ü.png")
    with fake_service(BROKEN) as service:
        catalog = scan(photos)
        (photos / "gravel/gravel0.png").write_bytes((photos / "gravel/gravel1.png").read_bytes())
        remote, cache = RemoteService(service.url), photos.parent / "warm"
        report = warm(catalog, cache, remote)
        assert report.failed == {"changed": 1, "engine_error": 1, "unreadable": 1}
        assert (report.wanted, report.added, report.left) == (13, 10, 3)
        found = {one.source: (one.reason, one.detail) for one in report.failures}
        assert set(found) == {"bark/bark1.png", "moss/moss0.png", "gravel/gravel0.png"}
        assert "marked to raise" in found["bark/bark1.png"][1]
        assert not found["moss/moss0.png"][1].startswith("moss/moss0.png"), "its name is said once"
        assert open_cache(cache).find().failures() == {}, "`build` here may make what the service could not"
        again = warm(catalog, cache, remote)
        assert (again.stored, again.added, again.failed) == (10, 0, report.failed)
        asked = warm(catalog, photos.parent / "other", remote, settings=WarmSettings(ask_only=True))
        assert asked.failed == {"changed": 1, "engine_error": 1, "unreadable": 1}


def test_images_in_memory_are_warmed_too(photos: Path, service: FakeService, make_image: Callable[..., Pixels]) -> None:
    base = [(Image.fromarray(make_image(8, 12, seed)), seed) for seed in range(5)]
    report = warm(from_dataset(base), photos.parent / "warm", RemoteService(service.url))
    assert report.added == 5
    data = SRAugmentedDataset(base, photos.parent / "warm", policy="sr")
    assert len(data.__getitems__(range(5))) == 5


def test_what_was_brought_before_the_service_went_is_kept(
    photos: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_session, "pause", lambda tries, asked: 0.01)
    left = [9]

    def act(handler: Any, asked: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            handler.send(refusal(502, "gone", "the service is gone"))
        return left[0] < 0

    service.act = act
    with pytest.raises(UnavailableError, match="the service is gone"):
        warm(scan(photos), photos.parent / "warm", RemoteService(service.url, batch=1, timeout=1))
    there = len(stored(photos.parent / "warm", NOISY))
    assert 0 < there < 12
    service.act = None
    report = warmed(photos, service)
    assert (report.stored, report.added) == (there, 12 - there)
    assert stored(photos.parent / "warm", NOISY) == stored(built(photos, NOISY), NOISY)


def test_an_interrupt_ends_it_at_once_and_the_next_run_goes_on(photos: Path, service: FakeService) -> None:
    gate, left = threading.Event(), [8]

    def act(handler: Any, asked: Any) -> bool:
        left[0] -= 1
        if left[0] == -1:
            os.kill(os.getpid(), signal.SIGINT)
        return left[0] < 0 and not gate.wait(60)

    service.act = act
    began = time.monotonic()
    with pytest.raises(WarmInterrupted) as stop:
        warm(scan(photos), photos.parent / "warm", RemoteService(service.url, batch=2))
    gate.set()
    assert time.monotonic() - began < 20
    report = stop.value.report
    assert report.interrupted
    assert (report.added, report.left) == (len(stored(report.folder.parent, NOISY)), 12 - report.added)
    assert 0 < report.added < 12
    service.act = None
    assert warmed(photos, service).added == 12 - report.added
    assert [one["interrupted"] for one in open_cache(report.folder.parent).find().receipts()] == [True, False]


def test_one_that_fills_a_cache_of_lmdb_keeps_others_out(photos: Path, service: FakeService) -> None:
    folder = open_cache(built(photos, NOISY)).find()
    with folder.lock(), pytest.raises(BusyError, match="is being filled"):
        warmed(photos, service, into="cache")


def test_what_others_store_meanwhile_is_not_left(photos: Path, service: FakeService) -> None:
    data, left = SRAugmentedDataset(photos, photos.parent / "warm", policy="sr", size="mixed", on_miss=service.url), [1]

    def act(handler: Any, asked: Any) -> bool:
        left[0] -= asked["path"] == protocol.PREFETCH
        if left[0] == 0:
            left[0] = -1
            data.__getitems__(range(5))
        return False

    service.act = act
    report = warmed(photos, service)
    assert (report.stored, report.added, report.meanwhile, report.left) == (0, 7, 5, 0)


def test_a_wrong_answer_ends_it(photos: Path, service: FakeService) -> None:
    service.change = lambda answer: answer["headers"].update({"X-Srcache-Fingerprint": "f" * 16})
    with pytest.raises(ServiceError, match="not the image that was asked for"):
        warmed(photos, service)
    assert stored(photos.parent / "warm", NOISY) == {}


def test_a_recipe_is_chosen_by_name(photos: Path) -> None:
    with fake_service(NOISY, SHRUNK) as service:
        report = warm(scan(photos), photos.parent / "warm", RemoteService(service.url), "shrunk")
        assert report.recipe == SHRUNK.folder
        payload = next(iter(stored(photos.parent / "warm", SHRUNK).values()))
        assert decode(payload).shape[2] == 3
