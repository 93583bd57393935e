"""What the tests of this folder share."""

import pytest


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh SRCACHE_HOME for each test, so that no key is remembered from another one."""
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path_factory.mktemp("home")))
