"""`--executor`, `--address` and `--actors`: where `srcache build` computes."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from srcache.fill import RaySettings

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Actors(click.ParamType[tuple[int, int | None]]):
    """A number of actors, or the least and the most: 4, 1:8, 2:."""

    name = "LEAST:MOST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int | None]:
        """Text → least and most; most is None for no limit."""
        found = re.fullmatch(r"(\d{1,6})(:?)(\d{0,6})", str(value).strip())
        least = int(found[1]) if found else 0
        most = (int(found[3]) if found[3] else None if found[2] else least) if found else 0
        if least < 1 or (most is not None and most < least):
            self.fail(
                f"expected a number of actors such as 4, or least and most such as 1:8, got {value!r}", param, ctx
            )
        return least, most


def ray_options(command: _Command) -> _Command:
    """The options of a build that may run on a cluster."""
    for option in (
        click.option(
            "--actors",
            type=_Actors(),
            help="On Ray: how many processes, such as 4, or at least and at most, such as 1:8; "
            "if left out, from 1 to as many as there are GPUs (processors for an engine on the CPU).",
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="On Ray: the cluster to join; if left out, what RAY_ADDRESS says, or one on this machine.",
        ),
        click.option(
            "--executor",
            type=click.Choice(("local", "ray")),
            default="local",
            show_default=True,
            help="Compute in this process, or with Ray on the machines of a cluster (it needs a trusted network).",
        ),
    ):
        command = option(command)
    return command


def ray_settings(
    executor: str, address: str | None, actors: tuple[int, int | None] | None, *, dry_run: bool
) -> "RaySettings | None":
    """The settings that the options say; None for a build in this process.

    Raises:
        UsageError: options that do not go together.
    """
    from srcache.fill import RaySettings

    if executor == "local":
        given = [name for name, value in (("--address", address), ("--actors", actors)) if value is not None]
        if given:
            raise click.UsageError(f"{' and '.join(given)}: only for a build on Ray; add --executor ray")
        return None
    if dry_run:
        raise click.UsageError("--dry-run tries a few images on this machine; leave --executor ray out for it")
    least, most = actors or (1, None)
    return RaySettings(address=address, least=least, most=most)
