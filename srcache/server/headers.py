"""The headers of a request, read once, and those that every answer has."""

from collections.abc import Iterable, Mapping

from starlette.types import Scope

from srcache.server.answers import Refusal

POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of everything that is not the page."""

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", POLICY.encode()),
)

_SAID = "srcache.said"
_LISTS = frozenset({b"accept", b"if-none-match"})
_ONCE = frozenset(
    {
        *(b"host", b"origin", b"authorization", b"sec-fetch-site"),
        *(b"content-length", b"content-type", b"x-request-id"),
    }
)


def read_headers(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers that mean something here, by their names in lower case; they are kept for `said`.

    Raises:
        Refusal: 400, one came twice that must not.
    """
    found: dict[bytes, bytes] = {}
    scope[_SAID] = found
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in found:
                raise Refusal(400, "bad_header", f"the header {name.decode()} must be sent once, but came twice")
            found[name] = value
        elif name in _LISTS:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def said(scope: Scope, name: bytes) -> str:
    """What a request says in a header; an empty text where it says nothing."""
    value: bytes = scope[_SAID].get(name, b"")
    return value.decode("latin-1")


def with_security(headers: Iterable[tuple[bytes, bytes]], is_page: bool) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with those of `SECURITY`; the page may bring its own."""
    own = {name for name, _ in headers} if is_page else ()
    return [*headers, *(pair for pair in SECURITY if pair[0] not in own)] if is_page else [*headers, *SECURITY]
