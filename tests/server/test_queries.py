"""Queries: each parameter once, none that is not known, and only numbers and names that mean something."""

import pytest
from service_client import png, running
from starlette.requests import Request

from srcache.server.answers import Refusal
from srcache.server.queries import asked, query, require_key, require_sample


def request(text):
    return Request({"type": "http", "query_string": text.encode(), "headers": []})


def test_a_query_is_read(service):
    found = asked(service.site, request("recipe=mine&sample=0&as=pixels"), "recipe", "sample", "as")
    assert (found.recipe, found.sample, found.as_pixels) == (service.site.recipes[0], 0, True)
    plain = asked(service.site, request(""), "recipe")
    assert (plain.recipe, plain.sample, plain.as_pixels) == (service.site.recipes[0], 0, False)


@pytest.mark.parametrize("text", ["a=1", "recipe=a&recipe=b", "recipe", "=", "recipe=mine;sample=0&x=1"])
def test_other_parameters_are_refused(text):
    if text == "recipe":
        assert query(request(text), "recipe") == {"recipe": ""}
        return
    with pytest.raises(Refusal) as caught:
        query(request(text), "recipe")
    assert caught.value.status_code == 400


@pytest.mark.parametrize("sample", [-1, 1000, 10**30])
def test_samples_have_numbers(service, sample):
    with pytest.raises(Refusal):
        require_sample(sample, service.site.recipes[0])


def test_an_engine_without_noise_has_one_sample(service, tmp_path, recipe_file):
    with pytest.raises(Refusal, match="draws no noise"):
        require_sample(1, service.site.recipes[0])
    with running(tmp_path / "noise", [recipe_file("test-noise", "noise")]) as noisy:
        assert require_sample(999, noisy.site.recipes[0]) == 999
        assert noisy.ask(png(), "/v1/sr?sample=999").status_code == 200


@pytest.mark.parametrize("key", [5, None, "", "g" * 32, "0" * 33, "٣" * 32, ["0" * 32]])
def test_keys_have_a_form(key):
    with pytest.raises(Refusal, match="32 hexadecimal digits"):
        require_key(key)
    assert require_key("0" * 32) == "0" * 32
