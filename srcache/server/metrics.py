"""What a server counts, for Prometheus and for /v1/stats."""

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from srcache.cache.failures import failures_by_reason
from srcache.server.hosted import HostedRecipe
from srcache.server.limits import ByteBudget

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts requests and answers; engines, queues and memory are looked at when somebody asks.

    Args:
        recipes: what is served.
        budget: the memory of requests.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, recipes: Sequence[HostedRecipe], budget: ByteBudget) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "srcache_requests", "Answered requests.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "srcache_request_seconds", "From a request's headers to the end of its answer.", ["route"],
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._images = Counter(
            "srcache_images", "Images that were answered, from the cache (hit) or made (miss).", ["recipe", "cache"],
            registry=self._registry,
        )  # fmt: skip
        self._failures = Counter(
            "srcache_failures", "Images that could not be answered, by reason.", ["recipe", "reason"],
            registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Engines(recipes, budget))
        self.requests = 0

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests += 1
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, recipe: HostedRecipe, cached: str) -> None:
        """Count an image that was answered."""
        self._images.labels(recipe.recipe.folder, cached).inc()

    def failed(self, recipe: HostedRecipe, reason: str) -> None:
        """Count an image that could not be answered."""
        self._failures.labels(recipe.recipe.folder, reason).inc()


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
            name = recipe.recipe.folder
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
