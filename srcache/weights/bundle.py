"""Bundles: the several files that one engine loads, named together by one digest.

A bundle is located once: every part of its manifest is found, hashed and, if it was pickled, converted to safetensors;
what was found is recorded. The digest is taken over the published files' own, so it is the same wherever they lie and
whatever mirror they came from. A recipe names it; `find_bundle` then gives the files, and hashes only what has changed.
"""

import contextlib
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srcache.engine.offline import hub_offline
from srcache.engine.registry import find_engine
from srcache.errors import DamagedError, DiskFullError, EngineError, MissingExtraError, WeightsError, listed
from srcache.files import disk_errors
from srcache.files.scratch import scratch_folder
from srcache.progress import Say
from srcache.weights.checkpoint import PICKLED, adopt, is_digest, kind_of, require_tensors, weights_folder
from srcache.weights.contents import content_problem, how_to_get_again
from srcache.weights.digests import (
    RecordedFile,
    WeightsRecord,
    file_digest,
    read_weights_record,
    recorded_digest,
    unchanged_file,
    write_record,
)
from srcache.weights.manifest import BundlePart, Manifest, bundle_digest, load_manifest, shipped_manifests
from srcache.weights.search import VARIABLE, FoundFile, made_folder, search

_LARGE = 1 << 26
"""Bytes from which on hashing takes long enough to be announced."""


def find_bundle(digest: str, hashed: bool = False) -> dict[str, Path]:
    """The files of a bundle by part; those whose size or time changed are hashed again, with `hashed` all of them.

    A bundle that an engine can make itself is made, if it is not here.

    Raises:
        WeightsError: the bundle, or one of its files, is not on this machine.
        DamagedError: a file is not what was recorded.
    """
    record = read_weights_record(digest) or _locate_shipped(digest)
    if record is None:
        raise WeightsError(_unknown_text(digest))
    kept = {name: unchanged_file(part, fetch_command(record.name), hashed) for name, part in record.parts.items()}
    if kept != record.parts:
        with contextlib.suppress(DiskFullError):  # a record that cannot be refreshed costs time, and nothing else
            write_record(digest, WeightsRecord(name=record.name, engine=record.engine, parts=kept))
    return {name: part.path for name, part in kept.items()}


def locate(name: str | Path, folders: Sequence[Path] = (), say: Say | None = None) -> str:
    """Find every file of a bundle on this machine, record what was found, and give the bundle's digest.

    Args:
        name: a shipped bundle's name, or a manifest's file.
        folders: searched before all other places.
        say: called with what is being done, which for large files takes minutes.

    Raises:
        ConfigError: no such bundle, or mistakes in its manifest.
        WeightsError: files are missing (all of them are named), or cannot be used.
        DamagedError: a file is not what the manifest says, or not what was recorded.
    """
    manifest = load_manifest(name)
    make_parts(manifest, say)
    found = search(manifest, folders)
    missing = [part for part in manifest.parts if found[part.name] is None]
    if missing:
        raise WeightsError(_missing_text(manifest, missing, folders))
    there = [one for one in found.values() if one]
    _require_contents([one.path for one in there], manifest)
    kept = {one.part.name: _record_file(one, manifest, say) for one in there}
    digest = bundle_digest({name: part.sha256 for name, part in kept.items()})
    record = WeightsRecord(name=manifest.name, engine=manifest.engine, parts=kept)
    if recorded_digest(manifest.key) != digest or read_weights_record(digest) != record:
        if manifest.digest is None:  # else every byte is known beforehand
            _require_fit(manifest, there, kept)
        write_record(digest, record, manifest.key)
    return digest


def _require_contents(paths: Sequence[Path], manifest: Manifest) -> None:
    """Refuse files that cannot be what they should be, all of them at once."""
    command = fetch_command(manifest.name)
    problems = [(path, problem) for path in paths if (problem := content_problem(path))]
    if problems:
        lines = "".join(f"\n  - {problem}; {how_to_get_again(path, command)}" for path, problem in problems)
        raise WeightsError(f"weights {manifest.name}: {len(problems)} files cannot be used:{lines}")


def _require_fit(manifest: Manifest, found: Sequence[FoundFile], kept: Mapping[str, RecordedFile]) -> None:
    """Let the engine look at the files. Its error then names those that people have, and not their conversions, which
    would be deleted in vain; and it names the bundle, which no record has yet.
    """
    try:
        check_by_engine(manifest.engine, {name: part.path for name, part in kept.items()})
    except WeightsError as error:
        text = str(error).replace(fetch_command(None), fetch_command(manifest.name))
        for one in found:
            text = text.replace(str(kept[one.part.name].path), str(one.path))
        raise WeightsError(text) from error


def check_by_engine(engine: str | None, parts: Mapping[str, Path]) -> None:
    """Let the engine of a bundle look at its files, if it has a static method `check_weights`, and its packages.

    Raises:
        WeightsError: settings or tensors are not what it expects.
    """
    try:
        check = None if engine is None else getattr(find_engine(engine), "check_weights", None)
        if check is not None:
            with hub_offline():
                check(parts)
    except (EngineError, MissingExtraError):  # whoever runs the engine is told
        return


def _record_file(found: FoundFile, manifest: Manifest, say: Say | None) -> RecordedFile:
    """Hash a file, compare it with the manifest, convert it if it was pickled."""
    part, path, command = found.part, found.path, fetch_command(manifest.name)
    if found.kept:
        return unchanged_file(found.kept, command)
    if say and path.stat().st_size > _LARGE:
        say(f"hashing {part.name}: {path}")
    sha256 = file_digest(path)
    if part.sha256 not in (None, sha256):
        raise DamagedError(
            f"{path} should have the SHA-256 {part.sha256}, but has {sha256}: it is cut short, or another file; "
            f"delete it and run `{command}`, or give a good one with `{command} --from FOLDER`"
        )
    loads = sha256
    if kind_of(path) in PICKLED:
        if say:
            say(f"converting {part.name} to safetensors")
        loads = adopt(path)
        path = weights_folder() / f"{loads}.safetensors"
    elif kind_of(path) == ".safetensors":
        require_tensors(path)
    state = path.stat()
    return RecordedFile(
        sha256=sha256,
        path=path,
        loads=loads,
        size=state.st_size,
        mtime=state.st_mtime_ns,
        ctime=state.st_ctime_ns,
        origin=found.origin,
        licence=part.source.licence,
        identity=part.identity,
    )


def is_made(digest: str) -> bool:
    """Whether the digest is a shipped bundle's whose files are all known beforehand, so that it can be located."""
    return _shipped_name(digest) is not None


def _shipped_name(digest: str) -> str | None:
    names = shipped_manifests() if is_digest(digest) else []
    return next((name for name in names if load_manifest(name).digest == digest), None)


def _locate_shipped(digest: str) -> WeightsRecord | None:
    name = _shipped_name(digest)
    return read_weights_record(locate(name)) if name else None


def fetch_command(name: str | None) -> str:
    """The command that brings a bundle, or, where its name is not known, any."""
    return f"srcache models fetch {shlex.quote(name or 'NAME')}"


def _unknown_text(digest: str) -> str:
    if (weights_folder() / f"{digest}.safetensors").is_file():
        return f"weights {digest} are one checkpoint, but a bundle of several files is needed (`srcache models list`)"
    names = ", ".join(shipped_manifests()) or "none"
    return (
        f"no bundle of weights {digest} on this machine (looked in {weights_folder()}); "
        f"`srcache models fetch NAME` brings one of {names}, `srcache models list` shows what is here"
    )


def _missing_text(manifest: Manifest, missing: Sequence[BundlePart], folders: Sequence[Path]) -> str:
    """A message that names every missing file, where it was looked for, and the command that brings it."""
    command = fetch_command(manifest.name)
    lines = [f"  - {part.name}: {part.path} of {part.source.name}" for part in missing]
    places = [*map(str, folders), f"${VARIABLE} ({os.environ.get(VARIABLE) or 'not set'})", "the Hugging Face cache"]
    return (
        f"weights {manifest.name} lack {len(missing)} of {len(manifest.parts)} files on this machine:\n"
        + "\n".join(lines)
        + f"\nlooked in: {', '.join(places)}; `{command}` downloads them, `{command} --from FOLDER` takes them from a "
        f"folder{links(missing)}"
    )


def links(parts: Sequence[BundlePart]) -> str:
    """Where people get the files of these parts, for the end of a message."""
    found = dict.fromkeys(f"\n  {part.source.name}: {part.source.link}" for part in parts if part.source.link)
    return "; where people get them:" + "".join(found) if found else ""


def make_parts(manifest: Manifest, say: Say | None) -> None:
    """Let engines make the files that nobody publishes, if they are not here or not complete."""
    folder = made_folder(manifest)
    parts = [part for part in manifest.parts if part.source.made_by]
    if _are_complete(parts, folder):
        return
    if say:
        say(f"making {manifest.name}")
    with disk_errors(folder), scratch_folder(folder.parent, folder.name) as work:
        made = work / folder.name
        for engine in sorted({str(part.source.made_by) for part in parts}):
            made.mkdir(exist_ok=True)
            with hub_offline():
                _weights_maker(engine)(manifest.name, made)
        _require_made(parts, made)
        if not _are_complete(parts, folder):  # else another process made them in the meantime
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(made, folder)


def _weights_maker(engine: str) -> Any:
    make = getattr(find_engine(engine), "make_weights", None)
    if make is None:
        raise WeightsError(f"engine {engine} should make these weights, but has no make_weights; update its package")
    return make


def _are_complete(parts: Sequence[BundlePart], folder: Path) -> bool:
    return all(_is_complete(folder / part.path, part) for part in parts)


def _is_complete(path: Path, part: BundlePart) -> bool:
    return path.is_file() and part.sha256 in (None, file_digest(path))


def _require_made(parts: Sequence[BundlePart], folder: Path) -> None:
    wrong = [part for part in parts if not _is_complete(folder / part.path, part)]
    if wrong:
        states = listed([f"{part.path} ({_state_text(folder / part.path)})" for part in wrong])
        raise WeightsError(f"engine {wrong[0].source.made_by} made other files than the manifest says: {states}")


def _state_text(path: Path) -> str:
    return f"SHA-256 {file_digest(path)}" if path.is_file() else "missing"
