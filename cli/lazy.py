"""Groups of commands that import a command's module only when the command is called, so that `--help` is quick."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from srcache.wording import near_names


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that a command line begins with; a name that is none is refused with those that are near it."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self._modules and not ctx.resilient_parsing:
            near = near_names(name, self._modules)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, imported now; None if there is no such command."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = import_module(f"{__package__}.{self._modules[cmd_name]}").command
        return command
