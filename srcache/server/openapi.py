"""The OpenAPI document: every path of the service, with all its answers and headers, and an example of each.

It is written by hand as plain values, and tests hold it against the routes and against a running service.
"""

from typing import Any

from srcache.server.openapi_parts import (
    ERRORS,
    FINGERPRINT,
    HEADERS,
    IMAGE,
    IMAGE_TYPES,
    KEY,
    PARAMETERS,
    PPM,
    STATS_EXAMPLE,
    STATS_SCHEMA,
    Plain,
    content,
    error_name,
    errors,
    headers,
    ref,
)
from srcache.service import protocol

_TOKEN = "token"
_OPEN: Plain = {"security": []}
"""Of what is answered without a token."""

_OK: Plain = {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}}
_SOURCE = 'curl --fail-with-body -H "Authorization: Bearer $(cat token)" '

_ABOUT = (
    "An image and a recipe name exactly one SR image for each sample's number. What the cache has is answered from it; "
    "what it lacks is made once, however many ask for it, and answered when it is stored for good. Every error is a "
    "JSON document with a word for counting and a sentence for people; 503 says with Retry-After when to ask again."
)

_SCHEMAS: Plain = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "additionalProperties": False,
        "properties": {
            "error": {
                "type": "object",
                "required": ["reason", "message"],
                "additionalProperties": False,
                "properties": {
                    "reason": {"type": "string", "pattern": "^\\w+$", "description": "one word, for counting"},
                    "message": {
                        "type": "string",
                        "minLength": 1,
                        "description": "a sentence: what is wrong, what to do",
                    },
                },
            }
        },
    },
    "Key": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "the key of an image"},
    "Recipe": {
        "type": "object",
        "required": ["name", "fingerprint", "folder", "scale", "document"],
        "properties": {
            "name": {"type": "string"},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "folder": {"type": "string", "description": "name and fingerprint"},
            "scale": {"type": "number", "exclusiveMinimum": 0, "description": "output side / input side"},
            "document": {
                "type": "object",
                "required": ["name", "engine", "scale"],
                "description": "the complete recipe, as recipe.yaml has it; its fingerprint can be computed from it",
            },
        },
    },
    "Wanted": {
        "type": "object",
        "required": ["keys"],
        "additionalProperties": False,
        "properties": {
            "recipe": {
                "type": "string",
                "minLength": 1,
                "description": "as in the query; may be left out if there is one",
            },
            "keys": {"type": "array", "maxItems": protocol.MOST_KEYS, "items": ref("schemas", "Key")},
            "samples": {
                "type": "array",
                "default": [0],
                "minItems": 1,
                "maxItems": protocol.MOST_SAMPLES,
                "items": {"type": "integer", "minimum": 0, "maximum": protocol.MOST_SAMPLES - 1},
            },
        },
    },
    "Stats": STATS_SCHEMA,
    "Prefetched": {
        "type": "object",
        "required": ["stored", "queued", "failed", "unknown"],
        "additionalProperties": False,
        "properties": {
            "stored": {"type": "integer", "minimum": 0, "description": "entries that are in the cache already"},
            "queued": {"type": "integer", "minimum": 0, "description": "entries that will be made"},
            "failed": {
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 1},
                "description": "entries that cannot be made, counted by reason",
            },
            "unknown": {
                "type": "array",
                "items": ref("schemas", "Key"),
                "description": "keys that neither the cache nor a source of the service has",
            },
            "key": {**ref("schemas", "Key"), "description": "the key of the image that was sent"},
        },
    },
}

_LINKS: Plain = {
    "stored": {
        "operationId": "storedImage",
        "description": "The same SR image, from the cache.",
        "parameters": {
            "key": f"$response.header.{protocol.KEY_HEADER}",
            protocol.RECIPE: f"$response.header.{protocol.FINGERPRINT_HEADER}",
            protocol.SAMPLE: f"$response.header.{protocol.SAMPLE_HEADER}",
        },
    }
}

_RECIPE: Plain = {
    "name": "compact",
    "fingerprint": FINGERPRINT,
    "folder": f"compact-{FINGERPRINT}",
    "scale": 4,
    "document": {"name": "compact", "engine": "compact", "scale": 4, "precision": "fp32", "seed": 0},
}


def openapi_document(with_token: bool) -> Plain:
    """The document of a service that asks for a token, or of one that does not.

    The version that it has is that of the interface (`/v1`), not of srcache, which is nobody's business.
    """
    security: list[Plain] = [{_TOKEN: []}] if with_token else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "srcache",
            "version": "1",
            "summary": "Super-resolves images, each once, and keeps them.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": security,
        "paths": _paths(with_token),
        "components": {
            "schemas": _SCHEMAS,
            "parameters": dict(PARAMETERS),
            "headers": dict(HEADERS),
            "responses": {error_name(status): answer for status, answer in ERRORS.items()},
            "securitySchemes": {
                _TOKEN: {"type": "http", "scheme": "bearer", "description": "The token in the service's token file."}
            },
        },
    }


def _paths(with_token: bool) -> Plain:
    """The operations; each knows the errors that it can have."""
    asked = [400, 401, 403, 503] if with_token else [400, 403, 503]
    return {
        protocol.SR: {"post": _post_sr(asked)},
        protocol.SR + "/{key}": {"get": _get_sr(asked)},
        protocol.PREFETCH: {"post": _prefetch(asked)},
        protocol.RECIPES: {"get": _recipes(asked)},
        protocol.STATS: {"get": _stats(asked)},
        protocol.METRICS: {"get": _metrics(asked)},
        protocol.OPENAPI: {"get": _document(asked)},
        protocol.HEALTH: {"get": _health()},
        protocol.READY: {"get": _ready()},
        protocol.PAGE: {"get": _page()},
    }


def _post_sr(asked: list[int]) -> Plain:
    return {
        "operationId": "superResolve",
        "tags": ["images"],
        "summary": "The SR image of an image that is sent",
        "parameters": _parameters("recipe", "sample", "as", "request-id"),
        "requestBody": _body(_image_body()),
        "responses": {"200": _image(True), **errors(*asked, 404, 406, 408, 413, 415, 422, 504)},
        **_shell("--data-binary @photo.png -H 'Content-Type: image/png' -o sr.png -H 'Accept: image/png' $URL/v1/sr"),
    }


def _get_sr(asked: list[int]) -> Plain:
    return {
        "operationId": "storedImage",
        "tags": ["images"],
        "summary": "An SR image that the cache has",
        "parameters": _parameters("key", "recipe", "sample", "if-none-match", "request-id"),
        "responses": {
            "200": _image(False),
            "304": {
                "description": "The client has it already.",
                "headers": headers("ETag", "Vary", "Cache-Control"),
            },
            **errors(*asked, 404, 406),
        },
        **_shell(f"-o sr.qoi $URL/v1/sr/{KEY}"),
    }


def _prefetch(asked: list[int]) -> Plain:
    example = {"recipe": "compact", "keys": [KEY], "samples": [0]}
    answer = {"stored": 0, "queued": 0, "failed": {}, "unknown": [KEY]}
    return {
        "operationId": "prefetch",
        "tags": ["images"],
        "summary": "Have images made later: by their keys, or one that is sent",
        "description": "Answers at once. Keys are looked for in the cache, then among the service's own images. The "
        "query belongs to an image that is sent; with JSON there is none.",
        "parameters": _parameters("recipe", "sample", "as", "request-id"),
        "requestBody": _body({**content(ref("schemas", "Wanted"), example), **_image_body()}),
        "responses": {
            "202": {
                "description": "What will be made, and what will not.",
                "headers": headers(),
                "content": content(ref("schemas", "Prefetched"), answer),
            },
            **errors(*asked, 404, 408, 413, 415),
        },
        **_shell(f'--json \'{{"keys": ["{KEY}"]}}\' $URL/v1/prefetch'),
    }


def _recipes(asked: list[int]) -> Plain:
    schema = {
        "type": "object",
        "required": ["recipes"],
        "properties": {"recipes": {"type": "array", "minItems": 1, "items": ref("schemas", "Recipe")}},
    }
    return _read("recipes", "What is served", schema, {"recipes": [_RECIPE]}, asked, protocol.RECIPES)


def _stats(asked: list[int]) -> Plain:
    summary = "What was done since the start"
    return _read("stats", summary, ref("schemas", "Stats"), STATS_EXAMPLE, asked, protocol.STATS)


def _metrics(asked: list[int]) -> Plain:
    lines = '# TYPE srcache_requests_total counter\nsrcache_requests_total{status="200"} 12.0\n'
    text = {"text/plain": {"schema": {"type": "string"}, "examples": {"typical": {"value": lines}}}}
    return {
        "operationId": "metrics",
        "tags": ["operation"],
        "summary": "Counters for Prometheus",
        "parameters": _parameters("request-id"),
        "responses": {
            "200": {"description": "In its text format.", "headers": headers(), "content": text},
            **errors(*asked),
        },
        **_shell("$URL/metrics"),
    }


def _document(asked: list[int]) -> Plain:
    schema = {"type": "object", "required": ["openapi", "info", "paths"]}
    example = {"openapi": "3.1.0", "info": {"title": "srcache", "version": "1"}, "paths": {}}
    return _read("openapi", "This document", schema, example, asked, protocol.OPENAPI)


def _health() -> Plain:
    return {
        **_read("health", "Whether the process lives", _OK, {"ok": True}, [400, 403], protocol.HEALTH),
        **_OPEN,
    }


def _ready() -> Plain:
    return {
        **_read("ready", "Whether it can make images now", _OK, {"ok": True}, [400, 403, 503], protocol.READY),
        **_OPEN,
    }


def _page() -> Plain:
    text = {"text/html": {"schema": {"type": "string"}, "examples": {"start": {"value": "<!doctype html>"}}}}
    return {
        "operationId": "page",
        "tags": ["operation"],
        "summary": "The page for people: drop an image, see LR and SR",
        **_OPEN,
        "parameters": _parameters("if-none-match", "request-id"),
        "responses": {
            "200": {"description": "HTML.", "headers": headers(), "content": text},
            "304": {"description": "The browser has it already.", "headers": headers()},
            **errors(400, 403, 503),
        },
    }


def _read(name: str, summary: str, schema: Plain, example: Any, statuses: list[int], path: str) -> Plain:
    """An operation that reads a JSON document."""
    return {
        "operationId": name,
        "tags": ["operation" if path in protocol.OPEN_PATHS else "service"],
        "summary": summary,
        "parameters": _parameters("request-id"),
        "responses": {
            "200": {"description": f"{summary}.", "headers": headers(), "content": content(schema, example)},
            **errors(*statuses),
        },
        **_shell(f"$URL{path}"),
    }


def _parameters(*names: str) -> list[Plain]:
    return [ref("parameters", name) for name in names]


def _body(kinds: Plain) -> Plain:
    return {"required": True, "content": kinds}


def _image_body() -> Plain:
    """The bytes of an image: `image/*` or, where a client does not know, octets."""
    schema = {"type": "string", "format": "binary", "minLength": 1, "description": "the bytes of one image file"}
    example = {"ppm": {"summary": "a PPM file, which can be written as text", "value": PPM}}
    return {"application/octet-stream": {"schema": schema, "examples": example}, "image/*": {"schema": schema}}


def _image(posted: bool) -> Plain:
    """The answer with an image; its bytes have no schema, as OpenAPI has it for what is not text."""
    return {
        "description": "The SR image: as it is stored, or in the format that Accept prefers.",
        "headers": headers(*IMAGE, *(["Content-Location"] if posted else [])),
        "content": {kind: {} for kind in IMAGE_TYPES},
        **({"links": _LINKS} if posted else {}),
    }


def _shell(command: str) -> Plain:
    return {"x-codeSamples": [{"lang": "Shell", "source": _SOURCE + command}]}
