"""`srcache info`: what is in a cache."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from srcache.errors import listed
from srcache.wording import counted, duration, human_bytes

from .options import CACHE, Place, common
from .output import attributes, document, echo, finding_lines, reasons, table

if TYPE_CHECKING:
    from srcache.maintain.info import CacheInfo, RecipeInfo

_USUAL = {"size": "scale", "precision": "fp32", "seed": 0, "color_profile": "ignore", "background": "white"}


@click.command("info", short_help="What is in a cache: recipes, images, failures, runs.")
@click.argument("cache", type=CACHE)
@common
def command(cache: Place, as_json: bool) -> int:
    """List what is in CACHE: its recipes, images, failures and runs, and how many images of each catalog it has.

    \b
    srcache info cache
    """
    from srcache.maintain.info import info

    found = info(cache)
    if as_json:
        result = attributes(found, "path", "store", "bytes", "recipes")
        echo(document("info", result, found.damaged, ok=not found.damaged))
    else:
        echo(_text(found))
        if found.damaged:
            echo(finding_lines(found.damaged), err=True)
    return 3 if found.damaged else 0


def _text(found: "CacheInfo") -> str:
    head = f"{found.path}: {counted(len(found.recipes), 'recipe')}, {found.store}, {human_bytes(found.bytes)}"
    return "\n\n".join([head, *(f"{recipe.folder}\n{table(_rows(recipe))}" for recipe in found.recipes)])


def _rows(recipe: "RecipeInfo") -> list[tuple[str, str]]:
    of = f" of {counted(recipe.images, 'image')}" if recipe.entries != recipe.images else ""
    stored = f"{counted(recipe.entries, 'SR image')}{of}, {recipe.codec}" if recipe.entries else "nothing"
    rows = [("made by", _described(recipe.recipe)), ("stored", f"{stored}, {human_bytes(recipe.bytes)}")]
    for one in recipe.catalogs:
        share = "all" if one.covered == one.images else f"{one.covered} of"
        rest = f"; the rest is in parts {listed(one.missing_parts)}" if one.missing_parts else ""
        rows.append(("covers", f"{share} {counted(one.images, 'image')} of catalog {one.digest[:8]}{rest}"))
    if recipe.failed:
        rows.append(("failed", reasons(recipe.failed)))
    if recipe.writing:
        rows.append(("unfinished", f"{counted(len(recipe.writing), 'shard')}, of writers {listed(recipe.writing)}"))
    if recipe.runs:
        last = recipe.runs[-1]
        what = f"{last.added} added in {duration(last.seconds)}" if last.added else "nothing added"
        what += f" on {last.device}" if last.device else ""
        stop = ", interrupted" if last.interrupted else ""
        rows.append(("built", f"{counted(len(recipe.runs), 'run')}; the last: {what}, {_when(last.ended)}{stop}"))
    return rows


def _described(recipe: Mapping[str, Any]) -> str:
    """A recipe in a few words: engine, scale, options, and the fields that do not have their usual value."""
    hidden = {"name", "engine", "scale", "numerics", "options", "weights"}
    unusual = {name: value for name, value in recipe.items() if name not in hidden and value != _USUAL.get(name)}
    words = {**recipe["options"], **unusual}
    return ", ".join([f"{recipe['engine']} ×{recipe['scale']}", *(f"{name} {value}" for name, value in words.items())])


def _when(ended: str) -> str:
    return f"{ended[:10]} {ended[11:16]} UTC"
