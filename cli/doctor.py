"""`srcache doctor`: what this machine can do, and what is missing."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from srcache.errors import extra_advice
from srcache.wording import counted, human_bytes

from .options import PLACE, common
from .output import document, echo, note, table

if TYPE_CHECKING:
    from srcache.doctor import Checkup, Extra, Place
    from srcache.images import Decoder


@click.command("doctor", short_help="What this machine can do, and what is missing.")
@click.option("--cache", type=PLACE, help="Check the disk of this folder, too; with --clean, clean this cache, too.")
@click.option("--clean", is_flag=True, help="Only remove what killed processes left in your folders, and say how much.")
@common
def command(cache: Path | None, clean: bool, as_json: bool) -> int:
    """Check what this machine can do for srcache, which recipes can be used, and how to install what is missing.

    The exit code is 4 if something is missing without which srcache cannot work.

    \b
    srcache doctor
    srcache doctor --cache /data/cache
    srcache doctor --clean
    """
    from srcache.doctor import check_machine

    if clean:
        return _clean(cache, as_json)
    found = check_machine(cache)
    if as_json:
        echo(document("doctor", found, ok=not found.problems))
    else:
        echo(table(_rows(found)))
        for text in found.advice:
            note(f"note: {text}")
        for text in found.problems:
            echo(f"problem: {text}", err=True)
    return 4 if found.problems else 0


def _clean(cache: Path | None, as_json: bool) -> int:
    from srcache.cache import open_cache
    from srcache.files import user_folder
    from srcache.files.scratch import remove_leftovers

    removed = remove_leftovers([user_folder(), *([open_cache(cache).path] if cache else [])])
    size = sum(left.bytes for left in removed)
    if as_json:
        echo(document("doctor", {"removed": removed, "bytes": size}))
        return 0
    if removed:
        echo(table([(str(left.path), human_bytes(left.bytes)) for left in removed]))
    echo(f"{counted(len(removed), 'leftover')} of killed processes removed, {human_bytes(size)}")
    return 0


def _rows(found: "Checkup") -> list[tuple[str, str]]:
    rows = [("system", f"{found.system}, {counted(found.cores, 'core')}, {human_bytes(found.memory)} memory")]
    rows += [("versions", ", ".join(f"{name} {number}" for name, number in found.versions.items()))]
    rows += [("device", device) for device in found.devices]
    rows += [("decoder", _decoder(one)) for one in found.decoders]
    rows += [("engine", f"{one.name}{' (broken)' if one.error else ''}") for one in found.engines]
    rows += [("recipe", f"{one.name}: {one.problem or 'ready'}") for one in found.recipes]
    rows += [("extra", _extra(one)) for one in found.extras]
    rows += [("scan memo", _place(found.home))]
    rows += [("cache", _place(found.cache))] if found.cache else []
    return rows


def _decoder(decoder: "Decoder") -> str:
    return f"{decoder.kind}: {decoder.name}{f' ({decoder.reason})' if decoder.reason else ''}"


def _extra(extra: "Extra") -> str:
    state = f"lacks {', '.join(extra.missing)}; {extra_advice(extra.name)}" if extra.missing else "installed"
    return f"{extra.name}: {state}"


def _place(place: "Place") -> str:
    state = "" if place.writable else ", cannot be written to"
    return f"{place.path} ({place.filesystem}, {human_bytes(place.free)} free{state})"
