"""Metrics: what Prometheus reads is what happened."""

from prometheus_client.parser import text_string_to_metric_families
from service_client import png

from srcache.server.metrics import stats


def read(service):
    answer = service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def of(samples, name, **labels):
    return samples.get((name, tuple(sorted(labels.items()))))


def test_requests_hits_misses_failures_and_batches_are_counted(service):
    (recipe,) = service.site.recipes
    service.ask(png())
    service.ask(png())
    service.ask(png(16, 16, mark="nan"))
    service.ask(b"junk")
    service.client.get("/nowhere/else")
    samples, name = read(service), recipe.name
    assert of(samples, "srcache_requests_total", route="/v1/sr", method="POST", status="200") == 2
    assert of(samples, "srcache_requests_total", route="/v1/sr", method="POST", status="422") == 1
    assert of(samples, "srcache_requests_total", route="other", method="GET", status="404") == 1
    assert of(samples, "srcache_images_total", recipe=name, cache="hit") == 1
    assert of(samples, "srcache_images_total", recipe=name, cache="miss") == 1
    assert of(samples, "srcache_failures_total", recipe=name, reason="not_finite") == 1
    assert of(samples, "srcache_failures_total", recipe=name, reason="unreadable") == 1
    assert of(samples, "srcache_engine_images_total", recipe=name, kind="asked") == 2
    assert of(samples, "srcache_batch_size_count", recipe=name) == 2
    assert of(samples, "srcache_batch_size_bucket", recipe=name, le="1.0") == 2
    assert of(samples, "srcache_batch_size_sum", recipe=name) == 2
    assert of(samples, "srcache_queue", recipe=name) == 0
    assert of(samples, "srcache_engine_seconds_total", recipe=name) > 0
    assert of(samples, "srcache_ready", recipe=name) == 1
    assert of(samples, "srcache_memory_bytes", what="limit") == service.site.budget.most
    assert of(samples, "srcache_request_seconds_count", route="/v1/sr") == 4
    assert of(samples, "srcache_request_seconds_bucket", route="/v1/sr", le="+Inf") == 4


def test_names_that_clients_invent_make_no_new_series(service):
    for number in range(20):
        service.client.request(f"X{number}", f"/x/{number}")
        service.client.get(f"/v1/sr/{number}")
    routes = {dict(labels).get("route") for _, labels in read(service)}
    methods = {dict(labels).get("method") for _, labels in read(service)}
    assert routes <= {None, "other", "/v1/sr/{key}", "/metrics"}
    assert methods <= {None, "other", "GET"}


def test_stats_say_the_same_in_plain_values(service):
    service.ask(png())
    service.ask(png())
    document = service.client.get("/v1/stats").json()
    (found,) = document["recipes"]
    assert {**stats(service.site.recipes[0]), "waiting": 0} == found
    assert (found["stored"], found["hits"], found["added"], found["mean_batch"]) == (1, 1, 1, 1.0)
    assert document["memory"] == {"used": 0, "limit": service.site.budget.most}
    assert (document["draining"], document["requests"]) == (False, 2)
