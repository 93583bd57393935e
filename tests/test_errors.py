"""The tree of errors is what its docstring draws, every error survives a process border, messages stay short."""

import inspect
import pickle
import re

import pytest

from srcache import errors
from srcache.errors import ImageError, MissingExtraError, SrcacheError, listed

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, SrcacheError)]


def _drawn() -> dict[str, tuple[str, int | None]]:
    """Each error of the docstring's tree: its parent, and the exit code that stands beside it."""
    parents, drawn = ["SrcacheError"], {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"    (?P<indent>[│ ]*)[├└]── (?P<name>\w+)(?: +(?P<code>\d+)  )?", line)
        if found:
            depth = 1 + len(found["indent"]) // 4
            drawn[found["name"]] = (parents[depth - 1], int(found["code"]) if found["code"] else None)
            parents[depth:] = [found["name"]]
    return drawn


def test_the_tree_in_the_docstring_is_the_tree():
    real = {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind is not SrcacheError}
    assert {name: parent for name, (parent, _) in _drawn().items()} == real


def test_exit_codes_are_those_of_the_docstring_and_are_inherited():
    for name, (parent, code) in _drawn().items():
        kind = getattr(errors, name)
        assert kind.exit_code == (getattr(errors, parent).exit_code if code is None else code)
    assert {kind.exit_code for kind in CLASSES} == {1, 2, 3, 4, 70}


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickling_with_their_words(kind):
    given = {ImageError: ("truncated", "too short"), MissingExtraError: ("skimage", "samples", "textures")}
    error = kind(*given.get(kind, ("what is wrong",)))
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert getattr(back, "reason", None) == getattr(error, "reason", None)


def test_a_missing_extra_says_the_command_that_installs_it():
    error = MissingExtraError("scikit-image", "samples", "the sample `textures`")
    assert str(error) == (
        "the sample `textures` needs scikit-image, which is not installed; run: pip install 'srcache[samples]'"
    )


def test_long_lists_are_cut_and_counted():
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(12), most=3) == "0, 1, 2 … and 9 more"
    assert listed([]) == ""
