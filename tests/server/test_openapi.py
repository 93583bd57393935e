"""The OpenAPI document: it is one, its examples keep its schemas, and it has every route of the service, no other."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from srcache.recipe import load_recipe
from srcache.server.answers import FORMATS, Refusal
from srcache.server.app import Routes
from srcache.server.openapi import openapi_document
from srcache.server.openapi_parts import IMAGE
from srcache.service import protocol

METHODS = {"get", "post", "put", "delete", "patch", "options", "head", "trace"}


@pytest.fixture(params=[True, False], ids=["token", "open"])
def document(request):
    return openapi_document(request.param)


def resolve(document, value):
    """A value, or the component that it refers to."""
    if "$ref" not in value:
        return value
    _, _, kind, name = value["$ref"].split("/")
    return document["components"][kind][name]


def walk(value, path=()):
    """Every object in a document, with where it stands."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from walk(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from walk(inner, (*path, at))


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def validator(document, schema):
    return Draft202012Validator({**schema, "components": document["components"]})


def test_it_is_an_openapi_document(document):
    definitions = pytest.importorskip("schemathesis.specs.openapi.definitions")
    errors = list(definitions.OPENAPI_31_VALIDATOR.iter_errors(document))
    assert errors == []
    assert json.loads(json.dumps(document, allow_nan=False)) == document, "plain values"


def test_every_reference_leads_somewhere_and_every_component_is_used(document):
    used = {value["$ref"] for _, value in walk(document) if "$ref" in value}
    kinds = ("schemas", "parameters", "headers", "responses")
    there = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"][kind]}
    unused = there - used - {"#/components/responses/Error401", "#/components/headers/WWW-Authenticate"}
    assert used <= there
    assert unused == set()


def test_every_route_is_in_it_and_nothing_else(document):
    paths = Routes(None).paths
    there = {
        (path, method.lower()) for path, methods in paths.items() if not path.startswith("/page/") for method in methods
    }
    assert {(path, method) for path, method, _ in operations(document)} == there
    assert all(method in METHODS for _, method, _ in operations(document))


def test_every_operation_is_complete(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, _, operation in operations(document):
        assert operation["summary"]
        assert all(resolve(document, answer)["description"] for answer in operation["responses"].values())
        wanted = set(re.findall(r"{(\w+)}", path))
        parameters = [resolve(document, one) for one in operation["parameters"]]
        assert {one["name"] for one in parameters if one["in"] == "path"} == wanted
        assert any(status.startswith("2") for status in operation["responses"])


def test_every_operation_has_examples_and_they_keep_their_schemas(document):
    checked = 0
    for _, _, operation in operations(document):
        holders = [resolve(document, one) for one in operation["parameters"]]
        bodies = [
            operation.get("requestBody", {}),
            *(resolve(document, one) for one in operation["responses"].values()),
        ]
        for body in bodies:
            holders += [kind for name, kind in body.get("content", {}).items() if not name.startswith("image/")]
            holders += [resolve(document, header) for header in body.get("headers", {}).values()]
        for holder in holders:
            assert holder["examples"]
            for example in holder["examples"].values():
                validator(document, holder["schema"]).validate(example["value"])
                checked += 1
    assert checked > 150


def test_every_schema_is_one(document):
    for path, value in walk(document):
        if path and path[-1] == "schema":
            Draft202012Validator.check_schema(resolve(document, value))
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_token_is_asked_for_where_the_service_has_one():
    open_paths = {path for path, _, operation in operations(openapi_document(True)) if operation.get("security") == []}
    assert open_paths == protocol.OPEN_PATHS
    assert openapi_document(True)["security"] == [{"token": []}]
    assert openapi_document(False)["security"] == []
    for with_token in (True, False):
        document = openapi_document(with_token)
        asking = {path for path, _, operation in operations(document) if "401" in operation["responses"]}
        assert asking == (set(document["paths"]) - open_paths if with_token else set())


def test_images_have_the_headers_of_the_protocol_and_the_formats_of_the_service(document):
    named = {value for name, value in vars(protocol).items() if name.endswith("_HEADER")}
    assert named - {protocol.REQUEST_ID_HEADER} < set(IMAGE)
    for method, path in (("post", protocol.SR), ("get", protocol.SR + "/{key}")):
        answer = document["paths"][path][method]["responses"]["200"]
        assert set(FORMATS) <= set(answer["content"]) == set(protocol.MEDIA_TYPES.values())
        assert set(answer["headers"]) - {"Content-Location"} == {*IMAGE, protocol.REQUEST_ID_HEADER}
        assert ("Content-Location" in answer["headers"]) == (method == "post")


def test_offered_recipes_and_errors_keep_their_schemas(document):
    schemas = document["components"]["schemas"]
    for name in ("bicubic", "compact"):
        validator(document, schemas["Recipe"]).validate(protocol.offered_recipe(load_recipe(name)))
    refused = Refusal(413, "too_large", "a sentence")
    validator(document, schemas["Error"]).validate(protocol.error_document(refused.reason, refused.detail))


def test_nothing_tells_which_version_runs(document):
    import srcache

    assert document["info"]["version"] == "1"
    assert srcache.__version__ not in json.dumps(document)
