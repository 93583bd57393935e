"""Loading without the hub: the switch is on inside, and as it was afterwards, whoever imported what when."""

import logging
import os
import sys
from types import ModuleType

import pytest

from srcache.engine.offline import hub_offline
from srcache.engine.registry import open_engine
from srcache.errors import EngineError
from srcache.recipe import load_recipe

CONSTANTS = "huggingface_hub.constants"


@pytest.fixture(autouse=True)
def no_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def constants(value: bool) -> ModuleType:
    module = ModuleType(CONSTANTS)
    module.HF_HUB_OFFLINE = value  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("before", [True, False])
def test_the_switch_of_a_hub_that_is_imported_already(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = constants(before)
    monkeypatch.setitem(sys.modules, CONSTANTS, module)
    with hub_offline():
        assert (module.HF_HUB_OFFLINE, os.environ["HF_HUB_OFFLINE"]) == (True, "1")
    assert module.HF_HUB_OFFLINE is before
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.parametrize(("said", "after"), [(None, False), ("0", False), ("yes", True)])
def test_a_hub_that_is_imported_inside_reads_the_environment_as_it_was(
    said: str | None, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", said)
    monkeypatch.delitem(sys.modules, CONSTANTS, raising=False)
    module = constants(True)
    with hub_offline():
        monkeypatch.setitem(sys.modules, CONSTANTS, module)
    assert module.HF_HUB_OFFLINE is after
    assert os.environ.get("HF_HUB_OFFLINE") == said


def test_what_is_printed_does_not_get_among_a_command_s_output(capsys: pytest.CaptureFixture[str]) -> None:
    with hub_offline():
        sys.stdout.write("talk\n")
        logging.getLogger("bitsandbytes").warning("Failed to load a kernel")
    assert capsys.readouterr() == ("", "talk\n")
    assert logging.getLogger("bitsandbytes").level == logging.NOTSET


def test_engines_are_built_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = load_recipe("bicubic"), []
    engine = type(open_engine("resample", recipe.setup("cpu")))
    build = engine.__init__
    monkeypatch.setattr(
        engine, "__init__", lambda self, setup: (seen.append(os.environ.get("HF_HUB_OFFLINE")), build(self, setup))[1]
    )
    open_engine("resample", recipe.setup("cpu"))
    assert seen == ["1"]
    with pytest.raises(EngineError):
        open_engine("nobody", recipe.setup("cpu"))
