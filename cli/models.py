"""`srcache models`: the weights that are on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srcache.wording import counted, human_bytes

from .completing import bundles
from .options import EXISTING_FILE, EXISTING_FOLDER, common
from .output import attributes, document, echo, note, table
from .progress_bar import say

if TYPE_CHECKING:
    from srcache.maintain.convert import Converted
    from srcache.weights.status import BundleState, EngineWeights


@click.group("models", short_help="Weights on this machine: list, fetch, verify, convert.")
def command() -> None:
    """Weights on this machine: bundles, converted checkpoints, and weights that come with engines.

    A bundle is a set of files that one engine loads; a checkpoint is a file of yours. Each is named by a SHA-256
    digest. A recipe names its weights by this digest, by a bundle's name, or by a file.

    \b
    srcache models fetch seesr
    srcache models list
    srcache models convert RealESRGAN_x4plus.pth
    srcache build photos --cache cache --recipe mine.yaml --set weights=RealESRGAN_x4plus.pth
    """


@command.command("list", short_help="List bundles, converted checkpoints, and engines' own weights.")
@common
def list_command(as_json: bool) -> int:
    """List the converted checkpoints, the weights that come with engines, and the bundles.

    A bundle is complete, or made on the spot, or lacks files. No large file is read; `srcache models verify`
    does that.

    \b
    srcache models list
    """
    from srcache.weights.checkpoint import adopted, weights_folder
    from srcache.weights.status import bundle_states, of_engines

    checkpoints, engines, bundles = adopted(), of_engines(), bundle_states()
    if as_json:
        result = {"folder": weights_folder(), "checkpoints": checkpoints, "engines": engines, "bundles": bundles}
        _document("list", result)
        return 0
    rows = [(one.digest, human_bytes(one.bytes), one.origin) for one in checkpoints]
    rows += [(str(one.digest), "", f"{one.engine}: {one.problem or one.path or 'in its package'}") for one in engines]
    rows += [(one.digest or "", human_bytes(one.bytes), f"{_titled(one)}: {_bundle(one)}") for one in bundles]
    echo(table(rows, ("sha256", "size", "from")))
    echo(f"{counted(len(checkpoints), 'checkpoint')} in {weights_folder()}")
    return 0


@command.command("convert", short_help="Convert checkpoints to safetensors, and keep them for recipes.")
@click.argument("files", nargs=-1, required=True, type=EXISTING_FILE)
@common
def convert_command(files: tuple[Path, ...], as_json: bool) -> int:
    """Convert checkpoints (.safetensors, .pth, .pt, .ckpt, .bin) to safetensors, keep them, and print their digests.

    Only tensors are read; a file that contains code is refused. The FILES are not changed. A network that an engine
    recognises is run once on small images, to see that the same image always gives the same pixels.

    \b
    srcache models convert RealESRGAN_x4plus.pth 4x_other.safetensors
    """
    from srcache.errors import WeightsError
    from srcache.maintain.convert import convert

    taken, failures = [], []
    for file in files:
        try:
            taken.append(convert(file, say))
        except WeightsError as error:
            failures.append({"source": str(file), "reason": "weights", "detail": str(error)})
    failures += [
        {"source": str(one.file), "reason": "promises", "detail": one.check.problem}
        for one in taken
        if one.check and one.check.problem
    ]
    if as_json:
        names = ("file", "digest", "check", "unchecked", "notes")
        _document("convert", {"checkpoints": [attributes(one, *names) for one in taken]}, failures)
        return 1 if failures else 0
    for one in taken:
        echo(f"{one.digest}  {one.file}{_checked(one)}")
        for line in one.notes:
            note(f"  {line}", err=True)
    for failure in failures:
        echo(f"  {failure['detail']}", err=True)
    return 1 if failures else 0


@command.command("verify", short_help="Hash weights again; exit code 3 if some are damaged.")
@click.argument("words", nargs=-1, metavar="[NAME|DIGEST]...")
@common
def verify_command(words: tuple[str, ...], as_json: bool) -> int:
    """Hash bundles and checkpoints again and compare: those of a NAME or whose digests begin with DIGEST, or all.

    If all are checked, so are the weights that come with engines, except those inside an engine's own package, which
    pip looks after. The exit code is 3 if something is damaged, 4 if a file is missing.

    \b
    srcache models verify
    srcache models verify seesr 713ee7
    """
    from srcache.errors import DamagedError
    from srcache.weights.checkpoint import adopted, find, matching
    from srcache.weights.digests import recorded
    from srcache.weights.status import choose_record, of_engines, verify_bundles

    chosen = {word: choose_record(word) for word in words}
    checkpoints = [matching(word) for word, bundle in chosen.items() if not bundle] if words else adopted()
    bundles = {digest: one for digest, one in recorded().items() if not words or digest in chosen.values()}
    engines = [one for one in ([] if words else of_engines()) if one.path or one.damaged]
    failures = [{"source": one.engine, "reason": "damaged", "detail": one.problem} for one in engines if one.damaged]
    for one in checkpoints:
        try:
            find(one.digest)
        except DamagedError as error:
            failures.append({"source": one.digest, "reason": "damaged", "detail": str(error)})
    for trouble in verify_bundles(list(bundles.values())):
        reason = "damaged" if trouble.damaged else "missing"
        failures.append({"source": f"{trouble.bundle}/{trouble.part}", "reason": reason, "detail": trouble.detail})
    worst = 3 if any(one["reason"] == "damaged" for one in failures) else 4
    files = len(checkpoints) + len(engines) + sum(len(one.parts) for one in bundles.values())
    if as_json:
        names = [*(one.digest for one in checkpoints), *(one.digest for one in engines), *bundles]
        _document("verify", {"checked": names}, failures)
        return worst if failures else 0
    echo(f"{counted(files, 'file')} checked, {len(failures)} damaged{' or missing' if bundles else ''}")
    for failure in failures:
        echo(f"  {failure['detail']}", err=True)
    return worst if failures else 0


@command.command("fetch", short_help="Get a bundle's files, or see what an engine needs.")
@click.argument("name", shell_complete=bundles)
@click.option(
    "--from",
    "folders",
    multiple=True,
    metavar="FOLDER",
    type=EXISTING_FOLDER,
    help="Search this folder first for a bundle's files; repeatable.",
)
@common
def fetch_command(name: str, folders: tuple[Path, ...], as_json: bool) -> int:
    """Get the files that the bundle NAME (or a manifest's YAML file) lacks, hash all, and print the bundle's digest.

    They are searched for in each FOLDER, in the folders of $SRCACHE_WEIGHTS and in the cache of the Hugging Face hub,
    and downloaded from the hub if they are in none of these (HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are
    read).

    If NAME is an engine with weights of its own, this prints whether they are complete, and how to get them.

    \b
    srcache models fetch seesr
    srcache models fetch seesr --from ~/SeeSR/preset/models
    srcache models fetch realesrgan
    """
    from srcache.weights.manifest import shipped_manifests

    if name not in shipped_manifests() and Path(name).suffix.lower() not in {".yaml", ".yml"}:
        if folders:
            raise click.BadParameter("only a bundle's files are searched for in a folder", param_hint="--from")
        return _fetch_engine(name, as_json)
    from dataclasses import asdict

    from srcache.weights.download import fetch
    from srcache.weights.status import bundle_state

    digest = fetch(name, folders, say)
    state = bundle_state(name)
    if as_json:
        _document("fetch", {**asdict(state), "digest": digest, "state": _bundle(state)})
        return 0
    echo(f"{digest}  {name}")
    echo(f"{_bundle(state)}, {human_bytes(state.bytes)}; licences: {'; '.join(state.licences)}")
    return 0


def _fetch_engine(name: str, as_json: bool) -> int:
    from dataclasses import asdict

    from srcache.engine import engine_names
    from srcache.errors import ConfigError, DamagedError, WeightsError
    from srcache.weights.manifest import shipped_manifests
    from srcache.weights.status import engine_weights

    if name not in engine_names():
        bundles, engines = ", ".join(shipped_manifests()), ", ".join(engine_names())
        raise ConfigError(f"no weights are named {name!r}; bundles: {bundles}; engines: {engines}; or a .yaml file")
    found = engine_weights(name)
    if found.problem:
        raise (DamagedError if found.damaged else WeightsError)(found.problem)
    if as_json:
        _document("fetch", {**asdict(found), "state": _state(found)})
        return 0
    echo(f"{name}: {_state(found)}")
    return 0


def _titled(state: "BundleState") -> str:
    return f"{state.name} ({'; '.join(state.licences)})" if state.licences else state.name


def _bundle(state: "BundleState") -> str:
    if state.problem:
        return state.problem
    if state.made:
        return f"{counted(state.parts, 'file')}, made on the spot"
    return f"complete, {counted(state.parts, 'file')}"


def _state(found: "EngineWeights") -> str:
    if found.problem:
        return found.problem
    if found.loads:
        return "nothing to fetch: it runs checkpoints of yours; `srcache models convert FILE` takes one in"
    if found.digest is None:
        return "nothing to fetch: it has no weights"
    return f"{found.path}, checked" if found.path else "nothing to fetch: its weights are in its package"


def _document(action: str, result: dict[str, Any], failures: Sequence[dict[str, Any]] = ()) -> None:
    echo(document("models", {"command": action, **result}, failures, ok=not failures))


def _checked(one: "Converted") -> str:
    """What came of the check, behind a digest."""
    if one.check is None:
        return f" (not checked: {one.unchecked})" if one.unchecked else ""
    kept = "breaks its promises with it" if one.check.problem else "runs it"
    return f" (engine {one.check.engine} {kept}, x{one.check.scale:g})"
