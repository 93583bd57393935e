"""How the HTTP service runs, and what is refused before it begins."""

import ipaddress
import math
import socket
from dataclasses import dataclass
from pathlib import Path

from srcache.errors import ConfigError, MachineError, Mistakes
from srcache.files.regular import regular_status
from srcache.recipe.recipe import Recipe

PORT = 8484


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the service runs; nothing here changes what an image is.

    Attributes:
        cache, store: the cache directory, and the kind of store of a new one (None: the default).
        recipes: what is served; each has an engine of its own.
        source: a folder or CSV file of images that may be prefetched by their keys.
        batch: images per engine call at most; None takes the engine's advice.
        deadline: seconds after which a short batch leaves for an engine that is idle.
        memory: bytes that bodies, decoded pixels and results may take together.
        device, compiled: where engines run, and whether they are compiled.
        workers: threads that decode, and as many that encode for each recipe.
        retry_failed: try again what failed in earlier runs.
        host, port: where to listen; port 0 takes a free one.
        hosts: names under which clients may ask for this machine, beside its addresses and its own name.
        token_file: holds the bearer token that requests must carry; None asks for none.
        tls_cert, tls_key: PEM files; None for plain HTTP, which off loopback must be asked for by `plain_http`.
        connections: that may be open at once.
        most_body, most_pixels: bytes of a request's body, and pixels of an image in it.
        engine_seconds: how long a request waits for its image at most.
    """

    cache: Path
    recipes: tuple[Recipe, ...]
    store: str | None = None
    source: Path | None = None
    batch: int | None = None
    deadline: float = 0.02
    memory: int = 2 << 30
    device: str = "auto"
    compiled: bool = False
    workers: int = 2
    retry_failed: bool = False
    host: str = "127.0.0.1"
    port: int = PORT
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False
    connections: int = 1000
    most_body: int = 256 << 20
    most_pixels: int = 100_000_000
    engine_seconds: float = 300.0


def require_servable(settings: ServerSettings) -> None:
    """Refuse settings that contradict each other, or that would leave the service open to others.

    Raises:
        ConfigError: lists all mistakes.
        MachineError: the host's name leads nowhere.
    """
    mistakes = Mistakes()
    prints = [recipe.fingerprint for recipe in settings.recipes]
    mistakes.require(settings.recipes, "no recipe was named; --recipe says which images are made")
    mistakes.require(len(set(prints)) == len(prints), "one recipe was named twice; name each recipe once")
    mistakes.require(
        settings.deadline >= 0 and math.isfinite(settings.deadline), "a deadline must be 0 or more seconds"
    )
    mistakes.require(settings.memory >= 16 << 20, f"--memory must be at least 16M, but is {settings.memory} bytes")
    mistakes.require(
        (settings.tls_cert is None) == (settings.tls_key is None), "TLS needs both --tls-cert and --tls-key"
    )
    if not is_loopback(settings.host):
        mistakes.require(
            settings.token_file,
            f"others can reach {settings.host}, so requests must carry a token; name its file with --token-file",
        )
        mistakes.require(
            settings.tls_cert or settings.plain_http,
            f"others can reach {settings.host}, so give --tls-cert and --tls-key; or, where the network is trusted or "
            "a proxy in front speaks TLS, say --plain-http",
        )
    mistakes.raise_as(ConfigError, "this cannot be served")


def require_certificate(settings: ServerSettings) -> None:
    """Load the certificate and its key once, before anything else is begun.

    Raises:
        ConfigError: they cannot be read, or do not belong together.
    """
    if settings.tls_cert is None:
        return
    import ssl

    def refuse() -> str:
        raise ConfigError(f"the key {settings.tls_key} is encrypted, and nobody is there to be asked; decrypt the file")

    try:
        for file in (settings.tls_cert, settings.tls_key):
            if file is not None:
                regular_status(file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, refuse)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ConfigError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key, in PEM ({error})"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether a host to listen on, a name or an address, can be reached from this machine only.

    Raises:
        MachineError: the name leads nowhere.
    """
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses_of(host))


def addresses_of(host: str) -> list[str]:
    """The addresses that a host to listen on stands for.

    Raises:
        MachineError: the name leads nowhere.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise MachineError(f"--host {host!r} is no address or name of this machine ({error})") from error
    return sorted({str(entry[4][0]) for entry in found})
