"""What a server consists of: recipes by their names, and whether it is ready, idle or ending."""

import pytest
from service_client import png, running

from srcache.server.answers import Refusal


def test_two_recipes_of_one_name_are_told_apart_by_fingerprint(tmp_path, recipe_file):
    (tmp_path / "other").mkdir()
    first = recipe_file("test-faulty")
    second = tmp_path / "other/mine.yaml"
    second.write_text("engine: test-faulty\nscale: 4\n")
    with running(tmp_path / "cache", [first, str(second)]) as service:
        site = service.site
        assert site.find(site.recipes[1].fingerprint) is site.recipes[1]
        with pytest.raises(Refusal, match="several recipes have this name"):
            site.find("mine")
        with pytest.raises(Refusal, match="several recipes are served"):
            site.find(None)


def test_an_engine_that_is_not_loaded_makes_nothing(service):
    (recipe,) = service.site.recipes
    service_of, recipe._service = recipe._service, None
    try:
        assert not service.site.is_ready
        answer = service.ask(png())
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "not_ready")
        assert service.client.get("/readyz").headers["retry-after"] == "2"
        assert service.client.get("/metrics").status_code == 200
        assert service.client.get("/v1/stats").json()["recipes"][0]["ready"] is False
    finally:
        recipe._service = service_of
    assert service.site.is_ready
    assert service.site.is_idle
    assert service.site.error is None
