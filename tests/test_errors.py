"""The tree of errors is what its docstring draws, every error can be pickled, mistakes are listed together."""

import inspect
import pickle
import re

import pytest

from srcache import errors
from srcache.errors import (
    CatalogError,
    ConfigError,
    ImageError,
    MissingExtraError,
    Mistakes,
    RecipeError,
    SrcacheError,
    listed,
    needs_extra,
)

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
        "the sample `textures` needs scikit-image, which is not installed; "
        "run, in a clone of srcache: pip install '.[samples]'"
    )


def test_long_lists_are_cut_and_counted():
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(12), most=3) == "0, 1, 2 … and 9 more"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("extra", "advice"),
    [("eval", "run, in a clone of srcache: pip install '.[eval]'"), (None, "run: pip install no-such-package")],
)
def test_an_import_that_fails_names_the_command_that_installs_the_package(extra, advice):
    with pytest.raises(MissingExtraError) as caught, needs_extra("no-such-package", extra, "a test"):
        import no_such_package  # noqa: F401
    assert str(caught.value) == f"a test needs no-such-package, which is not installed; {advice}"
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_an_import_that_works_or_fails_otherwise_is_left_alone():
    with needs_extra("json", "eval", "a test"):
        import json
    assert json.loads("1") == 1
    with pytest.raises(ZeroDivisionError), needs_extra("json", "eval", "a test"):
        1 / 0  # noqa: B018


def test_mistakes_are_listed_in_the_order_in_which_they_were_noted():
    mistakes = Mistakes()
    mistakes.note("first")
    mistakes.require([], "second")
    mistakes.require([0], "never")
    with mistakes.noting("field: "):
        raise RecipeError("third")
    with mistakes.noting():
        raise CatalogError("fourth")
    with mistakes.noting("never: "):
        pass
    assert mistakes.found == ["first", "second", "field: third", "fourth"]
    with pytest.raises(CatalogError) as caught:
        mistakes.raise_as(CatalogError, "file.yaml has mistakes")
    assert str(caught.value) == "file.yaml has mistakes:\n  - first\n  - second\n  - field: third\n  - fourth"


def test_no_mistakes_raise_nothing():
    Mistakes().raise_as(ConfigError, "file.yaml has mistakes")


@pytest.mark.parametrize("error", [ImageError("empty", "no bytes"), OSError("no file"), ValueError("odd")])
def test_what_is_no_mistake_of_the_user_is_not_collected(error):
    mistakes = Mistakes()
    with pytest.raises(type(error)), mistakes.noting("field: "):
        raise error
    assert mistakes.found == []


@pytest.mark.parametrize(("count", "most", "rest"), [(3, 3, None), (4, 3, 1), (50, 20, 30), (50, None, None)])
def test_of_many_mistakes_the_first_are_listed_and_the_rest_counted(count, most, rest):
    mistakes = Mistakes()
    for number in range(count):
        mistakes.note(f"mistake {number}")
    with pytest.raises(ConfigError) as caught:
        mistakes.raise_as(ConfigError, "head", most)
    head, *lines = str(caught.value).split("\n  - ")
    shown = [f"mistake {number}" for number in range(count if most is None else most)]
    assert (head, lines) == ("head:", [*shown, *([f"… and {rest} more"] if rest else [])])
