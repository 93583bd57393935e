"""Which cluster a fill on Ray joins, what it asks of it, and what is refused; no Ray is started here."""

import socket
import sys

import pytest

from srcache.errors import ConfigError, MachineError, MissingExtraError
from srcache.fill.ray_cluster import Cluster, actor_options, address_of, import_ray, pool, require_reachable
from srcache.fill.settings import RaySettings

CPUS, GPUS = Cluster(cpus=8, gpus=0, is_own=True), Cluster(cpus=64, gpus=4, is_own=False)


def test_an_address_is_what_was_asked_for_or_what_the_environment_says(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address_of(RaySettings()) == "local"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert address_of(RaySettings()) == "10.0.0.1:6379"
    assert address_of(RaySettings(address="auto")) == "auto"


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:port", "host:0", "host:70000", "http://host"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="an address of a Ray cluster is HOST:PORT"):
        require_reachable(address)


def test_nobody_at_an_address_is_found_out_early():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(MachineError, match=r"no Ray cluster answers at 127.0.0.1:.*Connection refused.*ray start"):
            require_reachable(f"127.0.0.1:{taken.getsockname()[1]}")
        taken.listen()
        require_reachable(f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("device", "cluster", "gpus"),
    [("cpu", GPUS, 0), ("cuda", GPUS, 1), ("auto", GPUS, 1), ("auto", CPUS, 0), ("cuda", CPUS, 1)],
)
def test_an_actor_gets_a_gpu_where_its_engine_runs_on_one(device, cluster, gpus):
    assert actor_options(device, cluster)["num_gpus"] == gpus


def test_a_pool_is_as_large_as_was_asked_for_or_as_there_is_room():
    on_cpus, on_gpus = actor_options("cpu", CPUS), actor_options("cuda", GPUS)
    assert pool(RaySettings(), on_cpus, CPUS) == (1, 8, 0)
    assert pool(RaySettings(), on_gpus, GPUS) == (1, 4, 0)
    assert pool(RaySettings(least=2, most=3), on_cpus, CPUS) == (2, 3, 0)
    least, most, patience = pool(RaySettings(least=6), on_gpus, GPUS)
    assert (least, most) == (6, 6)
    assert patience > 60


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[ray\]'"):
        import_ray()
