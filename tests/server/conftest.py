"""What the tests of the HTTP service share: a recipe for test engines, and a service in this process."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service_client import Running, running


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[..., str]:
    """Write a recipe for a test engine: `recipe_file("test-faulty", scale=2)`; returns its path."""

    def write(engine: str, name: str = "mine", **fields: Any) -> str:
        path = tmp_path / f"{name}.yaml"
        lines = [f"engine: {engine}", *(f"{field}: {value}" for field, value in {"scale": 2, **fields}.items())]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write


@pytest.fixture
def service(tmp_path: Path, recipe_file: Callable[..., str]) -> Iterator[Running]:
    """A service of `test-faulty`, which doubles sides and breaks on marked images."""
    with running(tmp_path / "cache", [recipe_file("test-faulty")]) as found:
        yield found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key, as PEM files."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    subprocess.run([*words, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key
