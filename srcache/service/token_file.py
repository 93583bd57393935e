"""The bearer token of the service: always in a file, and never on a command line, in a URL, a log or an error."""

import os
import re
from pathlib import Path

from srcache.errors import ConfigError

VARIABLE = "SRCACHE_TOKEN_FILE"
"""The environment variable with the path of the token's file."""

_TOKEN = re.compile(r"[!-~]{1,4096}")


def find_token_file(given: str | Path | None = None) -> Path | None:
    """The token's file: the one that was given, else the one that SRCACHE_TOKEN_FILE names; None for none."""
    path = given or os.environ.get(VARIABLE)
    return Path(path).expanduser().absolute() if path else None


def read_token(path: Path) -> str:
    """The token in a file: one line of printable characters without blanks; space around it is left out.

    Raises:
        ConfigError: the file cannot be read, or holds no token. The message never shows what is in it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(1 << 14)
    except OSError as error:
        raise ConfigError(f"the token file {path} cannot be read: {error.strerror or error}") from error
    token = data.decode("latin-1").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"the token file {path} must hold one line of 1 to 4096 printable ASCII characters without blanks; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token
