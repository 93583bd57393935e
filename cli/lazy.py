"""Groups of commands that import a command's module only when the command is called, so that `--help` is quick."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands that are imported when they are asked for.

    Args:
        modules: command → the module of this package whose `command` it is, in the order in which help lists them.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of help."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now; None if there is no such command."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = import_module(f"{__package__}.{self._modules[cmd_name]}").command
        return command
