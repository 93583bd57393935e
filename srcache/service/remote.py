"""RemoteService: the address of an SR service, and how it is asked; a value that may be pickled."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from srcache.errors import ConfigError, Mistakes
from srcache.service.protocol import is_loopback
from srcache.service.token_file import VARIABLE, find_token_file

FALLBACKS = ("raise", "lr", "hr")
"""What can be done about an SR image that cannot be had."""

MOST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class RemoteService:
    """An SR service (`srcache serve`) that makes what a cache lacks: `on_miss=RemoteService("http://127.0.0.1:8484")`.

    What it gives is checked (key, sample, recipe, checksum, size) and written to the local cache, so that it is asked
    for once. A cache that takes no images from a training (one of shards, or one that may not be written to) stays as
    it is: there the image is served, and asked for again the next time; `srcache warm` fills such a cache.

    The token is read from its file when it is needed; it is in no pickle, log, or text of this object. Redirects are
    not followed, and nothing goes through a proxy to an address of this machine.

    Args:
        url: `http://` or `https://`, host, port, and a path if the service lies below one.
        token_file: the file with the service's token; None for the one that SRCACHE_TOKEN_FILE names, if it is set.
        fallback: what to serve where the service cannot give an image: "raise" is an error; "lr" and "hr" are counted.
            A service that does not answer is waited for until `timeout` with "raise", and only for some seconds with a
            fallback; after a few failures nothing is asked at all for a while. One that is full and says when to come
            again is waited for until `timeout` in any case. An answer that is not what was asked for is an error in
            any case.
        timeout: seconds until an image must have come, all tries together. A service has a queue, in which the images
            of all that ask wait.
        batch: images that each process asks for at once.
        ca_file: certificates (PEM) that a service's own one is checked by, instead of those of well-known authorities.
        plain_http: send the token over `http://` to another machine, where others may read it.

    Raises:
        ConfigError: what is wrong with them, all at once.
    """

    url: str
    token_file: str | Path | None = field(default=None, kw_only=True)
    fallback: str = field(default="raise", kw_only=True)
    timeout: float = field(default=300.0, kw_only=True)
    batch: int = field(default=16, kw_only=True)
    ca_file: str | Path | None = field(default=None, kw_only=True)
    plain_http: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        parts = _split(self.url, mistakes)
        object.__setattr__(self, "token_file", find_token_file(self.token_file))
        if parts is not None:
            object.__setattr__(self, "url", parts.geturl().rstrip("/"))
            self._note_exposed(parts, mistakes)
        mistakes.require(
            self.fallback in FALLBACKS, f"fallback must be one of {', '.join(FALLBACKS)}, but is {self.fallback!r}"
        )
        mistakes.require(_is_time(self.timeout), f"timeout must be a number of seconds, but is {self.timeout!r}")
        mistakes.require(
            type(self.batch) is int and 1 <= self.batch <= MOST_AT_ONCE,
            f"batch must be a number of images from 1 to {MOST_AT_ONCE}, but is {self.batch!r}",
        )
        mistakes.raise_as(ConfigError, "this SR service cannot be used")

    def _note_exposed(self, parts: SplitResult, mistakes: Mistakes) -> None:
        """Note what a plain connection would give away, or has no use for."""
        if parts.scheme == "https":
            return
        mistakes.require(self.ca_file is None, "ca_file is for https://, but the address begins with http://")
        if self.token_file is not None and not (self.plain_http or is_loopback(parts.hostname or "")):
            mistakes.note(
                f"the token of {self.token_file} would go to {parts.hostname} in plain text; use https://, leave the "
                f"token out (also {VARIABLE}), or allow it by plain_http=True"
            )

    @property
    def is_near(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


def is_url(text: object) -> bool:
    """Whether this is meant as the address of a service."""
    return isinstance(text, str) and text.lower().startswith(("http://", "https://"))


def _split(url: object, mistakes: Mistakes) -> SplitResult | None:
    """The parts of an address; a name and a password in it are not shown."""
    if not is_url(url):
        shown = "something else, with an @ in it" if "@" in str(url) else repr(url)
        mistakes.note(f"url must begin with http:// or https://, but is {shown}")
        return None
    try:
        parts = urlsplit(str(url))
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        mistakes.note(f"url is no address ({error})")
        return None
    if "@" in parts.netloc:
        mistakes.note(
            f"url must not hold a name or a password (it is for {host}): addresses come into logs; give the service's "
            "token by token_file"
        )
        return None
    odd = not str(url).isascii() or not str(url).isprintable() or " " in str(url)
    if not host or odd or parts.query or parts.fragment or "?" in str(url):
        mistakes.note("url must be a scheme, a host, a port and a path, such as http://127.0.0.1:8484, without ? or #")
        return None
    return parts


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
