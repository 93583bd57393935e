"""A cluster of Ray for the time of a fill: joined by its address, or started on this machine; quiet, and left as found.

Ray listens on every address of a machine, whatever it is told, and runs what it is sent: it needs a trusted network.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from srcache.errors import ConfigError, MachineError, needs_extra
from srcache.fill.settings import RaySettings

_PATIENCE = 600
"""Seconds that a cluster which is too small now gets to grow, until a fill gives up."""

_RETRIES = 2
"""Times that a block is tried again whose actor died."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_REACH = 10.0
"""Seconds within which an address must answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What a cluster has in all: processors and GPUs; and whether it was started for this fill."""

    cpus: float
    gpus: float
    is_own: bool


def import_ray() -> Any:
    """Ray with Ray Data.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs_extra("ray[data]", "ray", "a fill on Ray (--executor ray)"):
        import ray
        import ray.data
    return ray


_ANSWER = 45.0
"""Seconds within which a cluster must answer."""

_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


@contextmanager
def joined(settings: RaySettings) -> Iterator[Cluster]:
    """Join the cluster that is meant, or start one on this machine; one that the caller has joined is used, and stays.

    Raises:
        MachineError: it cannot be reached, or will have nothing to do with this process; or Ray gave up what was asked
            of it.
    """
    with _environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = import_ray()
        is_own = not ray.is_initialized()
        try:
            if is_own:
                _join(ray, settings)
            _silence(ray)
            found = ray.cluster_resources()
            yield Cluster(cpus=found.get("CPU", 0), gpus=found.get("GPU", 0), is_own=is_own)
        except ray.exceptions.RayError as error:
            raise MachineError(_words(error)) from error
        finally:
            if is_own:
                ray.shutdown()


def actor_options(device: str, cluster: Cluster) -> dict[str, Any]:
    """What Ray is asked for each actor: a processor, and a GPU where the engine shall run on one."""
    gpus = 1 if device == "cuda" or (device == "auto" and cluster.gpus) else 0
    return {"num_cpus": 1, "num_gpus": gpus, "max_restarts": -1, "max_task_retries": _RETRIES}


def pool(settings: RaySettings, options: dict[str, Any], cluster: Cluster) -> tuple[int, int, int]:
    """The least and the most actors, and the seconds to wait for a cluster that lacks room for the least now."""
    room = int(cluster.gpus) if options["num_gpus"] else int(cluster.cpus)
    most = settings.most or max(room, settings.least)
    return settings.least, most, 0 if room >= settings.least else _PATIENCE


def address_of(settings: RaySettings) -> str:
    """The address that is meant: `local` starts a cluster on this machine, `auto` joins one that runs here."""
    return settings.address or os.environ.get("RAY_ADDRESS") or "local"


def _join(ray: Any, settings: RaySettings) -> None:
    address = address_of(settings)
    how: dict[str, Any] = {"address": address}
    if address == "local":
        how |= {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, settings.most or settings.least)}
    try:
        with _signals(), _no_words():
            ray.init(log_to_driver=False, configure_logging=True, logging_level=logging.CRITICAL, **how)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = (
            "Ray could not start on this machine" if address == "local" else f"joining the Ray cluster {address} failed"
        )
        raise MachineError(f"{what}: {_cause(error.__cause__ or error)}") from error


def require_reachable(address: str) -> None:
    """Refuse an address at which nobody listens; Ray would try for a minute, and then end the process.

    Raises:
        ConfigError: it is no address.
        MachineError: nobody listens.
    """
    if address in ("auto", "local"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(
            f"an address of a Ray cluster is HOST:PORT, such as 10.0.0.1:6379, auto or local; got {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except OSError as error:
        raise MachineError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); "
            "`ray start --head` starts one and says its address"
        ) from error


def _silence(ray: Any) -> None:
    """Keep Ray's words out of the terminal; its log files have them."""
    ray._private.worker._worker_logs_enabled = False  # it prints on stdout that actors died
    for name in ("ray", "ray.data"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.CRITICAL + 1)


def require_ray(address: str) -> None:
    """Refuse an address at which something else listens, by asking in a process of its own, for Ray would never return.

    Raises:
        MachineError: no cluster of Ray is there.
    """
    if address in ("auto", "local") or address.startswith("ray://"):
        return
    words = [sys.executable, "-c", _ASK, address]
    try:  # whatever comes back, something of Ray's gave an answer
        subprocess.run(words, capture_output=True, timeout=_ANSWER, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineError(
            f"what listens at {address} does not answer as a Ray cluster does; give the address that "
            "`ray start --head` said"
        ) from error


def _cause(error: BaseException) -> str:
    """What Ray says, in a line: the last one that is not blank has the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _words(error: Exception) -> str:
    """What to say where Ray gave up."""
    return (
        f"Ray ended the run ({type(error).__name__}: {_cause(error)}); what was stored is safe. srcache with its "
        "extra ray and the engine's package must be installed on every machine of the cluster; then run the same "
        "command again"
    )


@contextmanager
def _no_words() -> Iterator[None]:
    """Nothing reaches stderr, to which Ray's libraries write past Python when it starts."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _environment() -> Iterator[None]:
    """What Ray reads from the environment, for the time of a fill; what the user has set there has priority."""
    added = [name for name in _QUIET if name not in os.environ]
    os.environ.update({name: _QUIET[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _signals() -> Iterator[None]:
    """Ray sets a handler of SIGTERM when it starts; afterwards those are there again that were there before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
