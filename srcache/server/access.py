"""Who may ask: the token, the name under which a client asks, and the page that a browser asks from.

A browser sends requests to this machine for any web page that is open in it. So the Host header must name this machine
(a page whose own name was made to lead here is refused), and so must Origin, where a browser says which page it asks
for. Requests from elsewhere are refused on every address, with or without a token.
"""

import hmac
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from srcache.server.answers import Refusal
from srcache.service.protocol import OPEN_PATHS, is_loopback
from srcache.service.token_file import read_token

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_OPEN_FOLDER = "/page/"
_OWN_SITES = (b"same-origin", b"none")


class Doors:
    """Decides which requests are let in.

    Args:
        token: that requests must carry; None asks for none.
        hosts: names of this machine beside its addresses, `localhost`, and the name that it has itself.
    """

    def __init__(self, token: str | None, hosts: Iterable[str] = ()) -> None:
        self._token = None if token is None else token.encode("ascii")
        own = {socket.gethostname(), *hosts}
        self._names = {name.strip("[]").rstrip(".").lower() for name in own if name}
        self._known: dict[bytes, bool] = {}

    def check(self, path: str, scheme: str, said: Mapping[bytes, bytes]) -> None:
        """Let a request in, or refuse it; `said` are its headers.

        Raises:
            Refusal: 401 without the token, 403 from elsewhere.
        """
        host = said.get(b"host", b"")
        self._check_host(host)
        self._check_site(scheme, host, said)
        if self._token is not None and path not in OPEN_PATHS and not path.startswith(_OPEN_FOLDER):
            self._check_token(said.get(b"authorization", b""))

    def hide(self, text: str) -> str:
        """A text, such as a line of a log, without the token."""
        token = self._token.decode() if self._token else ""
        return text.replace(token, "[token]") if token and token in text else text

    def _check_host(self, host: bytes) -> None:
        known = self._known.get(host)
        if known is None:
            known = self._is_own(host)
            if len(self._known) < 256:
                self._known[host] = known
        if not known:
            raise Refusal(
                403,
                "unknown_host",
                "the request's Host header is not a name of this service; ask by its address, or start it with "
                "--allow-host NAME",
            )

    def _is_own(self, host: bytes) -> bool:
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = found[1].decode().strip("[]").rstrip(".").lower()
        return name in self._names or is_loopback(name) or _is_address(name)

    def _check_site(self, scheme: str, host: bytes, said: Mapping[bytes, bytes]) -> None:
        origin, site = said.get(b"origin"), said.get(b"sec-fetch-site")
        own = origin is None or origin.lower() == scheme.encode() + b"://" + host.lower()
        if not own or (site is not None and site.lower() not in _OWN_SITES):
            raise Refusal(
                403, "cross_origin", "requests from pages of other sites are refused; ask from this service's own page"
            )

    def _check_token(self, authorization: bytes) -> None:
        kind, _, given = authorization.partition(b" ")
        good = hmac.compare_digest(given.strip(), self._token or b"")
        if kind.lower() != b"bearer" or not good:
            what = "is wrong" if authorization else "is missing"
            raise Refusal(
                401,
                "unauthorized",
                f"the request's token {what}; send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )


def open_doors(token_file: Path | None, hosts: Iterable[str]) -> tuple[Doors, list[str]]:
    """The doors for a token file, or for none; and what the user should be warned of.

    Raises:
        ConfigError: the file cannot be read, or holds no token.
    """
    if token_file is None:
        return Doors(None, hosts), []
    token, warnings = read_token(token_file), list[str]()
    if os.stat(token_file).st_mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        warnings.append(f"others can read or change the token file {token_file}; run: chmod 600 {token_file}")
    if len(token) < 16:
        warnings.append(
            f"the token in {token_file} has {len(token)} characters, which can be guessed; make a longer one"
        )
    return Doors(token, hosts), warnings


def _is_address(name: str) -> bool:
    """Whether a host is an address; no page on the internet has one for a name of its own."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
