"""`srcache engines`: what is installed."""

from typing import TYPE_CHECKING

import click

from .options import common
from .output import document, echo, table

if TYPE_CHECKING:
    from srcache.engine import EngineInfo, Option


@click.command("engines", short_help="The installed engines, their options and licences.")
@common
def command(as_json: bool) -> int:
    """List the installed engines: what they do, their options with defaults, and their licences.

    An option is set in a recipe, or by --set on the command line.

    \b
    srcache engines
    srcache build photos --cache cache --recipe bicubic --set options.filter=bilinear
    """
    from dataclasses import asdict

    from srcache.doctor import list_engines

    engines = list(list_engines())
    if as_json:
        echo(document("engines", {"engines": [asdict(engine) for engine in engines]}))
        return 0
    blocks = [
        f"{engine.name}\n{table(_rows(engine.info) if engine.info else [('broken', str(engine.error))])}"
        for engine in engines
    ]
    echo("\n\n".join(blocks))
    return 0


def _rows(info: "EngineInfo") -> list[tuple[str, str]]:
    scales = "any" if info.scales is None else ", ".join(f"×{scale}" for scale in info.scales)
    rows = [("does", info.summary), ("scales", scales)]
    rows += [("option", _described(name, option)) for name, option in info.options.items()]
    rows.append(("precision", ", ".join(info.precisions)))
    rows += [("color fix", ", ".join(info.color_fixes))] if info.color_fixes else []
    draws = [word for word, true in (("draws noise", info.stochastic), ("tiles", info.tiles)) if true]
    rows += [("can", ", ".join(draws))] if draws else []
    weights = ", ".join(info.weights_licenses) or ("unknown" if info.weights else "none needed")
    rows.append(("licence", f"code {info.code_license}; weights: {weights}"))
    return rows


def _described(name: str, option: "Option") -> str:
    choices = f" [{', '.join(map(str, option.choices))}]" if option.choices else ""
    return f"{name}={option.default}{choices}  {option.help}"
