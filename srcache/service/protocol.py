"""What the service and its clients say to each other over HTTP: paths, headers, and the shapes of JSON documents.

    POST /v1/sr?recipe=R&sample=K&as=pixels    body: an image file → 200, the SR image, with the headers below
    GET  /v1/sr/{key}?recipe=R&sample=K        200 the same, 304 for If-None-Match, 404 if the cache has none
    POST /v1/prefetch                          {"recipe", "keys", "samples"}, or an image file → 202, `Prefetched`
    GET  /v1/recipes                           {"recipes": [`OfferedRecipe`…]}

An image is named by the key of its file; with `as=pixels` by the key of its pixels, as `build` names images that exist
only in memory. `recipe` is a name, a fingerprint or a folder's name. Every error is `{"error": {"reason", "message"}}`.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from xxhash import xxh3_64_hexdigest

from srcache.files.documents import parse_json
from srcache.keys import ImageKey
from srcache.recipe.recipe import Recipe

SR, PREFETCH, RECIPES, STATS = "/v1/sr", "/v1/prefetch", "/v1/recipes", "/v1/stats"
PAGE, HEALTH, READY, METRICS, OPENAPI = "/", "/healthz", "/readyz", "/metrics", "/openapi.json"

OPEN_PATHS = frozenset({PAGE, HEALTH, READY})
"""What is answered without a token."""

RECIPE, SAMPLE, AS, PIXELS = "recipe", "sample", "as", "pixels"
"""The names in a query; `as=pixels`: the body stands for an image in memory."""

KEY_HEADER = "X-Srcache-Key"
SAMPLE_HEADER = "X-Srcache-Sample"
FINGERPRINT_HEADER = "X-Srcache-Fingerprint"
CHECKSUM_HEADER = "X-Srcache-Checksum"
CACHE_HEADER = "X-Srcache-Cache"
RECORD_HEADER = "X-Srcache-Record"
REQUEST_ID_HEADER = "X-Request-Id"

HIT, MISS = "hit", "miss"
"""What `CACHE_HEADER` says: the image was stored already, or was made for this request."""

BAD_SAMPLE = "bad_sample"
"""The reason of the error for a sample that a recipe cannot have."""

MOST_SAMPLES = 1000
"""Samples of an image are numbered from 0 to 999."""

MOST_RECORD = 6000
"""Bytes of JSON that a record may have to be sent in a header."""

MOST_KEYS = 10_000
"""Keys that one request to prefetch may name."""

MEDIA_TYPES = {
    ".qoi": "image/qoi",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ppm": "image/x-portable-pixmap",
}
"""The media types of what caches hold, by the suffix that `images.suffix_of` gives."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class OfferedRecipe(TypedDict):
    """A recipe in the answer of /v1/recipes; `document` is complete, as recipe.yaml has it."""

    name: str
    fingerprint: str
    folder: str
    scale: float
    document: dict[str, Any]


class Prefetched(TypedDict):
    """The answer of /v1/prefetch, in entries; `failed` by reason.

    `unknown` are keys that neither the cache nor a source of the service has; `key` names an image that was sent.
    """

    stored: int
    queued: int
    failed: dict[str, int]
    unknown: list[str]
    key: NotRequired[str]


def image_path(key: str) -> str:
    """The path of an image's SR image."""
    return f"{SR}/{key}"


def checksum_of(data: bytes) -> str:
    """The checksum of an image's bytes as they are sent, 16 hexadecimal digits: xxh3-64."""
    return xxh3_64_hexdigest(data)


def entity_tag(fingerprint: str, name: str, checksum: str) -> str:
    """The ETag of an image's bytes, with its quotation marks."""
    return f'"{fingerprint}-{name}-{checksum}"'


def content_location(key: ImageKey, sample: int, fingerprint: str) -> str:
    """Where an image that was posted can be had again."""
    return f"{image_path(key)}?{RECIPE}={fingerprint}&{SAMPLE}={sample}"


def pack_record(record: Mapping[str, Any]) -> str | None:
    """An entry's record for `RECORD_HEADER`: base64url without padding; None if it is too long, or no JSON."""
    try:
        text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        return None
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode() if len(text) <= MOST_RECORD else None


def unpack_record(packed: str) -> dict[str, Any]:
    """The record that `pack_record` packed.

    Raises:
        ValueError: it is none.
    """
    try:
        text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)) if len(packed) <= 2 * MOST_RECORD else b""
        record = parse_json(text)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, but got {type(record).__name__}")
    return record


def offered_recipe(recipe: Recipe) -> OfferedRecipe:
    """A recipe as /v1/recipes lists it."""
    return OfferedRecipe(
        name=recipe.name,
        fingerprint=recipe.fingerprint,
        folder=recipe.folder,
        scale=recipe.scale,
        document=recipe.to_dict(),
    )


def error_document(reason: str, message: str) -> dict[str, Any]:
    """The body of every error: one word for counting, and a sentence."""
    return {"error": {"reason": reason, "message": message}}


def is_request_id(text: str) -> bool:
    """Whether a request's id is taken over as it is."""
    return _REQUEST_ID.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine itself, as seen from this machine."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
