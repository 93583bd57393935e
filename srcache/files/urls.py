"""URLs of folders of objects: which text is one, what it may hold, and a name for what this machine keeps of it."""

import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

from srcache.errors import ConfigError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_FLATTENED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def is_url(place: Any) -> bool:
    """Whether a place that a caller names is a URL rather than a folder of this machine.

    Raises:
        ConfigError: it is a URL that went through `Path`, which takes one of its slashes away.
    """
    if isinstance(place, Path) and _FLATTENED.match(str(place)):
        raise ConfigError(f"{place} was a URL before it became a Path, which takes a slash away; pass it as text")
    return isinstance(place, str) and _URL.match(place) is not None


def checked_url(url: str) -> str:
    """A URL without slashes at its end.

    Raises:
        ConfigError: it holds a password, options, or several URLs; or nothing behind its protocol. A password is not
            repeated in the message.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigError(f"expected a URL such as s3://bucket/folder, but got {url!r}")
    protocol, rest = found[1].lower(), found[2].rstrip("/")
    if re.match(r"[^/@]*:[^/]*@", rest):
        raise ConfigError(
            f"a URL must not hold a password, but this {protocol}:// URL does; credentials are taken from the "
            "environment and from fsspec's configuration"
        )
    if re.search(r"[?#\0\r\n]", rest):
        raise ConfigError(f"a URL must not hold options (?, #), but this {protocol}:// URL does; name a folder only")
    if "::" in url or not rest.strip("/"):
        raise ConfigError(f"expected one URL of a folder, such as s3://bucket/folder, but got {url!r}")
    if any(part in (".", "..") for part in rest.split("/")):
        raise ConfigError(f"a URL must not hold . or .., but got {url!r}")
    return f"{protocol}://{rest}"


def local_name(url: str) -> str:
    """A folder's name for what this machine keeps of a URL; the same URL at another endpoint has another one."""
    digest = blake2b(f"{_endpoint(url)}\0{url}".encode(), digest_size=8).hexdigest()
    readable = re.sub(r"[^\w.-]+", "-", url.partition("://")[2], flags=re.ASCII).strip("-.")[-40:]
    return f"{readable}-{digest}"


def _endpoint(url: str) -> str:
    """The address of the server, as far as it is not in the URL."""
    from fsspec.config import conf

    options = conf.get(url.partition("://")[0], {})
    inner = options.get("client_kwargs") or {}
    asked = (options.get("endpoint_url"), inner.get("endpoint_url"), *(os.environ.get(name) for name in _ENDPOINTS))
    return next((str(one) for one in asked if one), "")
