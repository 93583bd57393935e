"""Several processes of one machine fill one cache: the same images as one, nothing twice, and one report."""

import multiprocessing
import os
import signal

import pytest
from fills import CPU, contents, recipe_of, write

from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog.parts import Part
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, ConfigError, DeviceError, EngineError, MachineError, RecipeError
from srcache.fill import devices as module
from srcache.fill.devices import fill_on_devices
from srcache.fill.run import fill
from srcache.fill.settings import FillInterrupted, FillReport, FillSettings
from srcache.maintain.info import info
from srcache.maintain.verify import verify
from srcache.recipe.reading import load_recipe

TWO = ("cpu", "cpu")
SLOW = {"options": {"milliseconds": 60}}

pytestmark = pytest.mark.medium


def children() -> list[int]:
    """The processes that this one has started by multiprocessing and that live."""
    return [child.pid for child in multiprocessing.active_children() if child.pid]


@pytest.fixture
def many(tmp_path, make_image):
    return write(tmp_path / "many", 60, shape=lambda number: (8, 10), make=make_image)


@pytest.mark.slow
def test_two_processes_make_what_one_makes_and_nothing_twice(photos, tmp_path):
    recipe, seen = load_recipe("bicubic"), []
    (photos / "moss/broken.png").write_bytes(b"no image")
    catalog = scan(photos)
    report = fill_on_devices(catalog, recipe, tmp_path / "cache", TWO, progress=lambda *at: seen.append(at))
    assert (report.wanted, report.stored, report.added, report.meanwhile, report.left) == (13, 0, 12, 0, 1)
    assert report.failed == {"unreadable": 1}
    assert [failed.source for failed in report.failures] == ["moss/broken.png"]
    assert (report.device, report.mode, report.part, report.interrupted) == ("cpu, cpu", "eager", None, False)
    assert report.engine_seconds > 0
    assert 0 <= report.padding < 1
    assert seen[-1] == (13, 13)
    alone = fill(catalog, recipe, tmp_path / "alone", FillSettings(device="cpu", store="shards"))
    assert contents(report) == contents(alone)
    checked = verify(tmp_path / "cache")
    assert (checked.findings, checked.repeated) == ((), 0)
    folder = open_cache(tmp_path / "cache").find("bicubic")
    assert open_cache(tmp_path / "cache").kind == "shards"
    receipts = folder.receipts()
    assert len({receipt["writer"] for receipt in receipts}) == 2
    assert {receipt["catalog"] for receipt in receipts} == {catalog.digest}
    assert sum(receipt["added"] for receipt in receipts) == 12
    assert all(receipt["added"] for receipt in receipts)
    (told,) = info(tmp_path / "cache").recipes
    assert [(one.digest, one.images, one.covered) for one in told.catalogs] == [(catalog.digest, 13, 12)]
    again = fill_on_devices(catalog, recipe, tmp_path / "cache", ("cpu",) * 3)
    assert (again.wanted, again.stored, again.added, again.skipped, again.device) == (13, 12, 0, 1, None)
    assert children() == []


@pytest.mark.slow
def test_a_cache_below_a_url_gets_the_receipts_of_all(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    url, catalog = (tmp_path / "objects").as_uri(), scan(photos)
    report = fill_on_devices(catalog, load_recipe("bicubic"), url, TWO)
    assert str(report.folder).startswith(f"{url}/bicubic-")
    assert (report.added, report.left) == (12, 0)
    assert len(list((tmp_path / "objects").glob("*/receipts/*.json"))) == 2
    assert len(list((tmp_path / "objects").glob("*/data.shards/*.tar"))) == 2
    assert fill_on_devices(catalog, load_recipe("bicubic"), url, TWO).stored == 12


def test_one_device_is_a_fill_in_this_process(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_run", None)
    report = fill_on_devices(
        scan(photos), load_recipe("bicubic"), tmp_path / "cache", ["cpu"], FillSettings(device="cuda:7")
    )
    assert (report.added, report.device) == (12, "cpu")
    assert open_cache(tmp_path / "cache").kind == "lmdb"


def test_a_part_is_divided_among_the_devices(many, tmp_path, monkeypatch):
    catalog, orders = scan(many), []

    def record(started):
        for child in started:
            wanted = len(child.order.images)
            child.ended, child.report = True, FillReport(folder=tmp_path, recipe="r", wanted=wanted, stored=wanted)
            orders.append((child.device, child.order))
        return False

    monkeypatch.setattr(module, "_run", record)
    settings = FillSettings(part=Part(1, 2), take_over="12345678")
    create_cache(tmp_path / "cache", "shards").add(load_recipe("bicubic"))
    report = fill_on_devices(catalog, load_recipe("bicubic"), tmp_path / "cache", ("cpu", "cpu", "cpu"), settings)
    assert [device for device, _ in orders] == ["cpu"] * 3
    rows = [row for _, order in orders for row in order.images.rows]
    assert sorted(rows, key=catalog.rows.index) == list(Part(1, 2).of(catalog).rows)
    assert all(len(order.images) > 2 for _, order in orders)
    assert {(order.digest, order.settings.part) for _, order in orders} == {(catalog.digest, Part(1, 2))}
    assert [order.settings.take_over for _, order in orders] == ["12345678", None, None]
    assert (report.part, report.wanted) == (Part(1, 2), len(rows))


def test_what_cannot_be_is_refused_before_anything_is_made(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    for devices, settings, error, message in [
        ((), None, DeviceError, "expected at least one device"),
        (("cpu", "auto"), None, DeviceError, "names of devices, such as cuda:0,cuda:1, but got cpu,auto"),
        (("cpu", "gpu"), None, DeviceError, "but got 'gpu'"),
        (TWO, FillSettings(store="lmdb"), CacheError, "use a cache with --store shards"),
        (TWO, FillSettings(samples=2), RecipeError, "2 samples would all be the same"),
        (TWO, FillSettings(compiled=True), EngineError, "makes no use of torch.compile"),
    ]:
        with pytest.raises((ConfigError, MachineError)) as caught:
            fill_on_devices(catalog, recipe, tmp_path / "cache", devices, settings)
        assert isinstance(caught.value, error)
        assert message in str(caught.value)
        assert not (tmp_path / "cache").exists()


def test_a_cache_of_lmdb_is_refused_with_the_way_out(photos, tmp_path):
    catalog, recipe = scan(photos), load_recipe("bicubic")
    fill(catalog, recipe, tmp_path / "cache", CPU)
    with pytest.raises(CacheError) as caught:
        fill_on_devices(catalog, recipe, tmp_path / "cache", TWO)
    assert f"`srcache export {tmp_path / 'cache'} NEW --format shards`" in str(caught.value)


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_and_costs_the_others_nothing(many, tmp_path):
    catalog, recipe = scan(many), recipe_of("test-sleepy", **SLOW)
    killed = []

    def kill(done, total):
        if done >= 6 and not killed:
            killed.append(sorted(children())[0])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(MachineError) as caught:
        fill_on_devices(catalog, recipe, tmp_path / "cache", TWO, FillSettings(batch=2), kill)
    said = str(caught.value)
    assert "process 1 of 2, on cpu, was killed by SIGKILL (as the system does when memory runs out)" in said
    assert "process 2" not in said
    assert "run the same command again to go on" in said
    cache = open_cache(tmp_path / "cache")
    whole = {row.key for row in Part(1, 2).of(catalog).rows}
    stored = {name[:32] for name in cache.find("test-sleepy").store().names()}
    assert whole <= stored < {row.key for row in catalog.rows}
    assert verify(tmp_path / "cache").findings == ()
    report = fill_on_devices(catalog, recipe, tmp_path / "cache", TWO, FillSettings(batch=20))
    assert (report.stored, report.added) == (len(stored), 60 - len(stored))
    assert children() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV])
def test_the_signal_is_named(number, many, tmp_path):
    recipe = recipe_of("test-sleepy", **SLOW)

    def kill(done, total):
        if done >= 4:
            os.kill(sorted(children())[-1], number) if len(children()) == 2 else None

    with pytest.raises(MachineError, match=f"process 2 of 2, on cpu, was (stopped|killed) by {number.name}"):
        fill_on_devices(scan(many), recipe, tmp_path / "cache", TWO, FillSettings(batch=2), kill)


@pytest.mark.slow
def test_ctrl_c_ends_all_after_the_batch_in_hand(many, tmp_path):
    recipe = recipe_of("test-sleepy", **SLOW)

    sent = []

    def interrupt(done, total):
        if done >= 6 and not sent:
            sent.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(FillInterrupted) as caught:
        fill_on_devices(scan(many), recipe, tmp_path / "cache", TWO, FillSettings(batch=2), interrupt)
    report = caught.value.report
    assert report.interrupted
    assert 6 <= report.added < 60
    assert report.left == 60 - report.added
    assert len(contents(report)) == report.added
    assert children() == []
    assert [receipt["interrupted"] for receipt in open_cache(tmp_path / "cache").find("test-sleepy").receipts()] == [
        True
    ] * 2


@pytest.mark.slow
def test_an_error_in_one_process_is_raised_here_when_the_others_are_done(many, tmp_path, monkeypatch):
    catalog, recipe = scan(many), load_recipe("bicubic")
    settings = FillSettings(take_over="00000000")
    create_cache(tmp_path / "cache", "shards").add(recipe)
    with pytest.raises(CacheError) as caught:
        fill_on_devices(catalog, recipe, tmp_path / "cache", TWO, settings)
    said = str(caught.value)
    assert said.startswith("on cpu: ")
    assert "holds no unfinished shard of a writer '00000000'" in said
    assert "added by the others" in said
    added = len(set(open_cache(tmp_path / "cache").find("bicubic").store().names()))
    assert added == len(Part(1, 2).of(catalog))
    assert f"({added} added by the others)" in said
