"""What the tests of the HTTP service share: a recipe for test engines, and a service in this process."""

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
