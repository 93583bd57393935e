"""The routes: what there is at which path, for which method."""

import pytest

from srcache.service.protocol import HEALTH, METRICS, PREFETCH, READY, RECIPES, SR, STATS


@pytest.mark.parametrize("path", [RECIPES, STATS, METRICS, HEALTH, READY])
def test_what_is_read_takes_get_and_head(service, path):
    got, head = service.client.get(path), service.client.head(path)
    assert (got.status_code, head.status_code) == (200, 200)
    assert (head.content, head.headers["content-type"]) == (b"", got.headers["content-type"])
    refused = service.client.post(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert refused.json()["error"]["reason"] == "bad_method"


@pytest.mark.parametrize("path", [SR, PREFETCH])
def test_what_is_sent_takes_post(service, path):
    refused = service.client.get(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/sr/a/b", "/v1/srx", "/healthz/", "/../etc/passwd", "/V1/SR"])
def test_there_is_nothing_else(service, path):
    assert service.client.get(path).status_code in (400, 404)


def test_recipes_are_complete(service):
    (found,) = service.client.get(RECIPES).json()["recipes"]
    recipe = service.site.recipes[0].recipe
    assert (found["name"], found["fingerprint"], found["folder"]) == ("mine", recipe.fingerprint, recipe.folder)
    assert found["document"] == recipe.to_dict()
    assert service.client.get(f"{RECIPES}?x=1").status_code == 400
