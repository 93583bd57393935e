"""What the operations of the OpenAPI document share: parameters, headers, answers and their examples."""

from collections.abc import Mapping
from typing import Any

from srcache.keys import image_key
from srcache.server.answers import FORMATS
from srcache.service import protocol

Plain = dict[str, Any]
"""A JSON object."""

PPM = "P6 4 4 255\n" + "".join(f"{letter}{letter.lower()}9" for letter in "ABCDEFGHIJKLMNOP")
"""A complete image of 4×4 pixels that can be written in JSON: what the examples send."""

KEY = image_key(PPM.encode())
FINGERPRINT = "f8460286fc9f81fe"
CHECKSUM = "9d6c1b1f0a4e7352"
"""Of the examples: that image, and the shipped recipe `compact`."""


_COUNT: Plain = {"type": "integer", "minimum": 0}
_SECONDS: Plain = {"type": "number", "minimum": 0}
_REASONS: Plain = {"type": "object", "additionalProperties": _COUNT}

STATS_SCHEMA: Plain = {
    "type": "object",
    "required": ["requests", "active", "draining", "memory", "recipes"],
    "properties": {
        "requests": {**_COUNT, "description": "that were answered"},
        "active": {**_COUNT, "description": "that are being answered"},
        "draining": {"type": "boolean", "description": "whether the service is ending"},
        "memory": {
            "type": "object",
            "required": ["used", "limit"],
            "properties": {"used": _COUNT, "limit": _COUNT},
            "description": "bytes that requests take and may take",
        },
        "recipes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "name",
                    "fingerprint",
                    "ready",
                    "stored",
                    "hits",
                    "added",
                    "meanwhile",
                    "failed",
                    "waiting",
                ],
                "description": "the fields from `device` on are there when `ready` is true",
                "properties": {
                    "name": {"type": "string"},
                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                    "ready": {"type": "boolean", "description": "whether the engine is loaded"},
                    "stored": {**_COUNT, "description": "entries in the cache"},
                    "hits": {**_COUNT, "description": "answers from the cache"},
                    "added": {**_COUNT, "description": "entries that were made and stored"},
                    "meanwhile": {**_COUNT, "description": "entries that another process stored first"},
                    "failed": {**_REASONS, "description": "by reason"},
                    "waiting": {**_COUNT, "description": "images that wait to be prefetched"},
                    "device": {"type": "string"},
                    "batch": {"type": "integer", "minimum": 1, "description": "images per engine call at most"},
                    "queued": {**_COUNT, "description": "images that wait for the engine"},
                    "batches": {**_COUNT, "description": "engine calls"},
                    "mean_batch": {"type": ["number", "null"], "description": "images per engine call, padding apart"},
                    "computed": {**_COUNT, "description": "images that the engine was given, with the padding"},
                    "padded": {**_COUNT, "description": "of these, padding"},
                    "engine_seconds": _SECONDS,
                },
            },
        },
    },
}

STATS_EXAMPLE: Plain = {
    "requests": 12,
    "active": 1,
    "draining": False,
    "memory": {"used": 0, "limit": 2147483648},
    "recipes": [
        {
            "name": "compact",
            "fingerprint": FINGERPRINT,
            "ready": True,
            "stored": 9,
            "hits": 2,
            "added": 9,
            "meanwhile": 0,
            "failed": {"unreadable": 1},
            "waiting": 0,
            "device": "cpu",
            "batch": 8,
            "queued": 0,
            "batches": 3,
            "mean_batch": 3.0,
            "computed": 9,
            "padded": 0,
            "engine_seconds": 0.41,
        }
    ],
}


def ref(kind: str, name: str) -> Plain:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def content(schema: Plain, example: Any) -> Plain:
    """A JSON body with its example."""
    return {"application/json": {"schema": schema, "examples": {"typical": {"value": example}}}}


PARAMETERS: Mapping[str, Plain] = {
    "recipe": {
        "name": protocol.RECIPE,
        "in": "query",
        "description": "A recipe that is served: its name, fingerprint or folder's name, as /v1/recipes lists them. "
        "It may be left out where one recipe is served.",
        "schema": {"type": "string", "minLength": 1},
        "examples": {"name": {"value": "compact"}},
    },
    "sample": {
        "name": protocol.SAMPLE,
        "in": "query",
        "description": "Which of an image's SR images, for recipes that draw noise; 0 for all others.",
        "schema": {"type": "integer", "minimum": 0, "maximum": protocol.MOST_SAMPLES - 1, "default": 0},
        "examples": {"first": {"value": 0}},
    },
    "as": {
        "name": protocol.AS,
        "in": "query",
        "description": "`pixels`: the body stands for an image in memory, and is named by the key of its pixels.",
        "schema": {"type": "string", "enum": [protocol.PIXELS]},
        "examples": {"pixels": {"value": protocol.PIXELS}},
    },
    "key": {
        "name": "key",
        "in": "path",
        "required": True,
        "description": "The key of an image: of its file, as `b2sum -l 128 FILE` prints it, or of its pixels.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "examples": {"file": {"value": KEY}},
    },
    "if-none-match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "ETags of what the client has already; if the image has one of them, the answer is 304.",
        "schema": {"type": "string"},
        "examples": {"tag": {"value": protocol.entity_tag(FINGERPRINT, f"{KEY}-000", CHECKSUM)}},
    },
    "request-id": {
        "name": protocol.REQUEST_ID_HEADER,
        "in": "header",
        "description": "Comes back with the answer and stands in the log, if it is 1 to 64 of A–Z, a–z, 0–9, `.`, `_` "
        "and `-`; else another one is made up.",
        "schema": {"type": "string"},
        "examples": {"id": {"value": "epoch3-worker1"}},
    },
}
"""By the names under which `components` has them."""


def _header(description: str, example: Any, required: bool = True, **schema: Any) -> Plain:
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string", **schema},
        "examples": {"typical": {"value": example}},
    }


HEADERS: Mapping[str, Plain] = {
    protocol.REQUEST_ID_HEADER: _header(
        "The request's id: that of the request, or a new one.", "epoch3-worker1", pattern="^[A-Za-z0-9._-]{1,64}$"
    ),
    "ETag": _header(
        "Names the bytes: the recipe's fingerprint, the entry's name and the checksum of the bytes sent.",
        protocol.entity_tag(FINGERPRINT, f"{KEY}-000", CHECKSUM),
        pattern='^"[0-9a-f]{16}-[0-9a-f]{32}-[0-9]{3}-[0-9a-f]{16}"$',
    ),
    "Vary": _header("The format depends on the request's Accept header.", "Accept", const="Accept"),
    "Cache-Control": _header("Images may be kept by the client alone.", "private", const="private"),
    "Content-Location": _header(
        "Where the image can be had again.",
        f"/v1/sr/{KEY}?recipe={FINGERPRINT}&sample=0",
        pattern="^/v1/sr/[0-9a-f]{32}\\?recipe=[0-9a-f]{16}&sample=[0-9]{1,3}$",
    ),
    protocol.KEY_HEADER: _header("The key under which the cache has the image.", KEY, pattern="^[0-9a-f]{32}$"),
    protocol.SAMPLE_HEADER: _header("The sample's number.", "0", pattern="^[0-9]{1,3}$"),
    protocol.FINGERPRINT_HEADER: _header("The recipe's fingerprint.", FINGERPRINT, pattern="^[0-9a-f]{16}$"),
    protocol.CHECKSUM_HEADER: _header("The xxh3-64 of the bytes sent.", CHECKSUM, pattern="^[0-9a-f]{16}$"),
    protocol.CACHE_HEADER: _header(
        "Whether the image was stored already, or was made for this request.",
        protocol.MISS,
        enum=[protocol.HIT, protocol.MISS],
    ),
    protocol.RECORD_HEADER: _header(
        "The entry's record, JSON in base64url without padding, with which a client can store the entry whole; left "
        f"out if the JSON has more than {protocol.MOST_RECORD} bytes.",
        protocol.pack_record({"key": KEY, "sample": 0}),
        required=False,
        pattern="^[A-Za-z0-9_-]+$",
    ),
    "Retry-After": _header("Seconds after which to ask again.", "1", pattern="^[0-9]+$"),
    "WWW-Authenticate": _header("How to authenticate.", "Bearer"),
}
"""By their names, which `components` has them under too."""

ID = (protocol.REQUEST_ID_HEADER,)
IMAGE = (
    *("ETag", "Vary", "Cache-Control", protocol.KEY_HEADER, protocol.SAMPLE_HEADER, protocol.FINGERPRINT_HEADER),
    *(protocol.CHECKSUM_HEADER, protocol.CACHE_HEADER, protocol.RECORD_HEADER),
)
"""Headers of every answer, and of every image."""

IMAGE_TYPES = (*FORMATS, "image/x-portable-pixmap")
"""Media types that an image can come in; the last one only where the cache holds such files."""


def headers(*names: str) -> Plain:
    """The headers of an answer, by reference."""
    return {name: ref("headers", name) for name in (*ID, *names)}


def _error(description: str, reasons: Mapping[str, str], *more: str) -> Plain:
    examples = {reason: {"value": protocol.error_document(reason, words)} for reason, words in reasons.items()}
    body = {"application/json": {"schema": ref("schemas", "Error"), "examples": examples}}
    return {"description": description, "headers": headers(*more), "content": body}


ERRORS: Mapping[int, Plain] = {
    400: _error(
        "The request is malformed: its query, its key, its JSON, or it has no body.",
        {
            "bad_query": "the parameter sample must be a number from 0 to 999",
            "bad_key": "an image's key is 32 hexadecimal digits in lower case, as `b2sum -l 128` prints it",
        },
    ),
    401: _error(
        "The token is missing or wrong.",
        {"unauthorized": "the request's token is missing; send the header Authorization: Bearer TOKEN"},
        "WWW-Authenticate",
    ),
    403: _error(
        "The request comes from a page of another site, or its Host header is no name of this service.",
        {
            "cross_origin": "requests from pages of other sites are refused; ask from this service's own page",
            "unknown_host": "the request's Host header is not a name of this service",
        },
    ),
    404: _error(
        "No such recipe is served, or the cache has no such image.",
        {
            "unknown_recipe": "no such recipe is served here; there are: compact-f8460286fc9f81fe",
            "not_stored": "the cache has no such SR image; POST the image to have it made",
        },
    ),
    406: _error(
        "The image can be sent in no format that the request accepts.",
        {"not_acceptable": "images are answered as image/png, image/qoi, …, but the request accepts none of these"},
    ),
    408: _error(
        "The body came too slowly.", {"too_slow": "the body came too slowly, 1200 bytes in 12 s; send it again"}
    ),
    413: _error(
        "The body has too many bytes, or the image too many pixels.",
        {"too_large": "a body may have 268435456 bytes here, and this one has more; send a smaller file"},
    ),
    415: _error(
        "The body is no image that srcache reads.",
        {
            "unreadable": "the body is not an image that srcache reads, or is damaged",
            "animated": "the file has several frames; send one image",
        },
    ),
    422: _error(
        "The image was read, but its SR image could not be made; the reason is the engine's.",
        {"not_finite": "the image was read, but engine compact could not make its SR image (not_finite)"},
    ),
    503: _error(
        "Not now: the memory for requests is full, the engine is being loaded, or the service is ending.",
        {
            "full": "the service has no memory for more requests at the moment; try again later",
            "not_ready": "the engine is being loaded; try again later",
        },
        "Retry-After",
    ),
    504: _error(
        "The engine took too long.",
        {"too_long": "the image was not made in time; it may be there later, so ask again"},
    ),
}
"""The answers with errors, by status."""


def error_name(status: int) -> str:
    """Under which name `components` has the answer with an error."""
    return f"Error{status}"


def errors(*statuses: int) -> Plain:
    """Answers with errors, by reference."""
    return {str(status): ref("responses", error_name(status)) for status in statuses}
