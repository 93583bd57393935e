"""What a server counts, for Prometheus and for /v1/stats."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from srcache.cache.failures import failures_by_reason
from srcache.server.hosted import HostedRecipe
from srcache.server.limits import ByteBudget

_Request = tuple[str, str, int]
_Pair = tuple[str, str]
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics(Collector):
    """Counts requests and answers in the event loop; engines, queues and memory are looked at when somebody asks.

    Args:
        recipes: what is served.
        budget: the memory of requests.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, recipes: Sequence[HostedRecipe], budget: ByteBudget) -> None:
        self._registry = CollectorRegistry()
        self._requests, self._images, self._failures = Counter[_Request](), Counter[_Pair](), Counter[_Pair]()
        self._seconds: dict[str, list[float]] = {}
        self._registry.register(self)
        self._registry.register(_Engines(recipes, budget))

    @property
    def requests(self) -> int:
        """Requests that were answered."""
        return sum(self._requests.values())

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[route, method, status] += 1
        counts = self._seconds.get(route)
        if counts is None:
            counts = self._seconds[route] = [0.0] * (len(_SECONDS) + 2)
        counts[bisect_left(_SECONDS, seconds)] += 1
        counts[-1] += seconds

    def answered(self, recipe: HostedRecipe, cached: str) -> None:
        """Count an image that was answered."""
        self._images[recipe.name, cached] += 1

    def failed(self, recipe: HostedRecipe, reason: str) -> None:
        """Count an image that could not be answered."""
        self._failures[recipe.name, reason] += 1

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client's `Collector`."""
        requests = CounterMetricFamily("srcache_requests", "Answered requests.", labels=["route", "method", "status"])
        for (route, method, status), count in self._requests.items():
            requests.add_metric([route, method, str(status)], count)
        seconds = HistogramMetricFamily(
            "srcache_request_seconds", "From a request's headers to the end of its answer.", labels=["route"]
        )
        for route, counts in self._seconds.items():
            sums = list(accumulate(counts[:-1]))
            bounds = [*map(str, _SECONDS), "+Inf"]
            seconds.add_metric([route], list(zip(bounds, sums, strict=True)), counts[-1])
        images = CounterMetricFamily(
            "srcache_images", "Images answered, from the cache (hit) or made (miss).", labels=["recipe", "cache"]
        )
        failures = CounterMetricFamily(
            "srcache_failures", "Images that could not be answered, by reason.", labels=["recipe", "reason"]
        )
        for family, counter in ((images, self._images), (failures, self._failures)):
            for pair, count in counter.items():
                family.add_metric(list(pair), count)
        yield from (requests, seconds, images, failures)


class _Engines(Collector):
    """What engines, queues and memory look like now."""

    def __init__(self, recipes: Sequence[HostedRecipe], budget: ByteBudget) -> None:
        self._recipes, self._budget = recipes, budget

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        memory = GaugeMetricFamily("srcache_memory_bytes", "Memory that requests take, and may take.", labels=["what"])
        memory.add_metric(["used"], self._budget.used)
        memory.add_metric(["limit"], self._budget.most)
        yield memory
        ready = GaugeMetricFamily("srcache_ready", "Whether a recipe's engine is loaded.", labels=["recipe"])
        queue = GaugeMetricFamily("srcache_queue", "Images that wait for the engine.", labels=["recipe"])
        images = CounterMetricFamily("srcache_engine_images", "Images given to the engine.", labels=["recipe", "kind"])
        seconds = CounterMetricFamily("srcache_engine_seconds", "Time inside the engine.", labels=["recipe"])
        batches = HistogramMetricFamily(
            "srcache_batch_size", "Images per engine call, padding apart.", labels=["recipe"]
        )
        for recipe in self._recipes:
            name = recipe.name
            ready.add_metric([name], float(recipe.is_ready))
            if not recipe.is_ready:
                continue
            calls = recipe.service.calls
            queue.add_metric([name], recipe.service.queued)
            images.add_metric([name, "asked"], calls.computed - calls.padded)
            images.add_metric([name, "padding"], calls.padded)
            seconds.add_metric([name], calls.seconds)
            batches.add_metric([name], *_histogram(dict(calls.sizes)))
        yield from (ready, queue, images, seconds, batches)


def _histogram(sizes: dict[int, int]) -> tuple[list[tuple[str, float]], float]:
    """Buckets of batch sizes, and the sum of all sizes."""
    found: list[tuple[str, float]] = []
    for bound in _SIZES:
        found.append((f"{bound}.0", sum(count for size, count in sizes.items() if size <= bound)))
    found.append(("+Inf", sum(sizes.values())))
    return found, float(sum(size * count for size, count in sizes.items()))


def stats(recipe: HostedRecipe) -> dict[str, Any]:
    """What a recipe's engine did so far, as plain values."""
    counts = recipe.counts
    plain: dict[str, Any] = {
        "name": recipe.recipe.name,
        "fingerprint": recipe.fingerprint,
        "ready": recipe.is_ready,
        "stored": len(recipe.store),
        "hits": recipe.hits,
        "added": counts.added,
        "meanwhile": counts.meanwhile,
        "failed": failures_by_reason(list(counts.failures)),
    }
    if recipe.is_ready:
        calls = recipe.service.calls
        batches = sum(calls.sizes.values())
        plain |= {
            "device": recipe.service.settings.device,
            "batch": recipe.batch,
            "queued": recipe.service.queued,
            "batches": batches,
            "mean_batch": round((calls.computed - calls.padded) / batches, 3) if batches else None,
            "computed": calls.computed,
            "padded": calls.padded,
            "engine_seconds": round(calls.seconds, 3),
        }
    return plain
