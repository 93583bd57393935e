"""Requests and a store for tests of the service."""

from pathlib import Path

import pytest
from services import ask

from srcache.stores import open_store


@pytest.fixture
def store():
    """An empty memory store."""
    return open_store("memory", Path("memory"), writable=True)


@pytest.fixture
def asks(make_image):
    """A function: requests for so many images of one shape, or of the shapes that a function gives."""

    def make(count, shape=lambda number: (8, 10), first=0):
        return [ask(number, make_image(*shape(number), number)) for number in range(first, first + count)]

    return make
