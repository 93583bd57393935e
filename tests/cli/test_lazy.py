"""Groups that import a command when it is called."""

import subprocess
import sys

import click
import pytest
from srcache_cli.lazy import LazyGroup

GROUP = LazyGroup(name="some", modules={"last": "verify", "first": "info"})


def test_commands_are_listed_in_the_order_given():
    assert GROUP.list_commands(click.Context(GROUP)) == ["last", "first"]


def test_a_command_is_that_of_its_module():
    from srcache_cli.info import command

    assert GROUP.get_command(click.Context(GROUP), "first") is command


@pytest.mark.parametrize("name", ["info", "nothing", ""])
def test_what_is_not_listed_is_no_command_even_if_there_is_such_a_module(name):
    assert GROUP.get_command(click.Context(GROUP), name) is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("inof", "No such command 'inof'. Did you mean info?"),
        ("VERIFY", "No such command 'VERIFY'. Did you mean verify?"),
        ("nonsense", "No such command 'nonsense'."),
    ],
)
def test_a_command_that_is_none_is_refused_with_those_that_are_near(word, message):
    group = LazyGroup(name="some", modules={"verify": "verify", "info": "info"})
    with pytest.raises(click.UsageError) as caught:
        group.resolve_command(click.Context(group), [word])
    assert caught.value.message == message


def test_other_arguments_are_those_of_a_group():
    group = click.group("named", cls=LazyGroup, modules={"info": "info"}, short_help="Short.")(lambda: None)
    assert (group.name, group.short_help, list(group.params)) == ("named", "Short.", [])


def test_a_command_imports_no_other_command():
    code = (
        "import sys; from srcache_cli.main import run\n"
        "assert run(['info', '--help']) == 0\n"
        "print(*sorted(name for name in sys.modules if name.startswith('srcache_cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == [
        f"srcache_cli.{name}"
        for name in ("completing", "info", "interrupts", "lazy", "main", "options", "output", "saying", "streams")
    ]
