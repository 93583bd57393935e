"""Manifests: which files make up a bundle of weights, and where each of them may come from.

A manifest is YAML. `parts` names each file that the engine asks for, and the source that has it; `source/file` takes a
file that the source itself calls otherwise. Sources that several manifests share are in `sources.yaml` beside the
shipped ones; a manifest may have `sources` of its own, which come first.

    summary: mine, with another decoder
    engine: seesr
    parts: {unet: mine, image_unet: seesr/unet, vae: mine}
    sources:
      mine:
        licence: MIT
        link: https://example.org/where-people-get-it
        hub: [someone/model@main, {repo: another/mirror, revision: v1, folder: inside}]
        folders: [models/mine]
        files: {unet: unet.safetensors, vae: {path: vae/vae.pth, sha256: …}}

A source with `made_by: ENGINE` is not published anywhere: the engine makes its files when they are needed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from srcache.errors import ConfigError, Mistakes
from srcache.files import read_text, shipped_texts, yaml_mapping
from srcache.files.documents import short

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SOURCES = "sources"
_REPOSITORY = re.compile(r"[A-Za-z0-9]([\w.-]{0,94}[\w-])?/[A-Za-z0-9]([\w.-]{0,94}[\w-])?", re.ASCII)
_REVISION = re.compile(r"[\w][\w./+-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository of the Hugging Face hub; `revision` is a branch, tag or commit, `folder` lies inside it."""

    name: str
    revision: str = "main"
    folder: str = ""

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Files that are published together, and where they may come from.

    Attributes:
        folders: where they lie inside a folder that a person has, the likeliest first.
        made_by: the engine that makes them, if nobody publishes them.
        scope: empty for a shipped source; else it differs between equally named sources of several people's manifests.
    """

    name: str
    licence: str = "unknown"
    link: str | None = None
    repositories: tuple[Repository, ...] = ()
    folders: tuple[str, ...] = ()
    made_by: str | None = None
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePart:
    """One file of a bundle: the name that the engine asks for, its path in its source, its SHA-256 if that is known."""

    name: str
    source: FileSource
    path: str
    sha256: str | None = None

    @property
    def identity(self) -> str:
        """Equal for parts of several bundles that are the same file."""
        return f"{self.source.name}{self.source.scope}/{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A bundle as it should be. `name` is what people type: a shipped manifest's name, or a file's path."""

    name: str
    summary: str = ""
    engine: str | None = None
    parts: tuple[BundlePart, ...] = field(default=())

    @property
    def key(self) -> str:
        """A file name of its own."""
        if _NAME.fullmatch(self.name):
            return self.name
        return f"{Path(self.name).stem}-{sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def digest(self) -> str | None:
        """The bundle's digest, if every part's SHA-256 is in the manifest."""
        known = {part.name: part.sha256 for part in self.parts if part.sha256}
        return bundle_digest(known) if len(known) == len(self.parts) else None


def bundle_digest(parts: Mapping[str, str]) -> str:
    """The digest of a bundle: SHA-256 over the lines `part sha256`, sorted; files' names and places do not matter."""
    return sha256("".join(f"{name} {parts[name]}\n" for name in sorted(parts)).encode()).hexdigest()


def shipped_manifests() -> list[str]:
    """The names of the bundles that srcache knows."""
    return [name for name in shipped_texts("weights") if name != _SOURCES]


def load_manifest(name: str | Path) -> Manifest:
    """A manifest by its shipped name, or from a YAML file.

    Raises:
        ConfigError: there is none, or mistakes in it (all of them at once).
    """
    if str(name) in shipped_manifests():
        return _manifest(str(name), _shipped(str(name)), str(name))
    path = Path(name)
    if path.suffix.lower() not in {".yaml", ".yml"}:
        shipped = ", ".join(shipped_manifests()) or "none"
        raise ConfigError(f"no bundle of weights is named {str(name)!r}; use one of {shipped}, or a .yaml file")
    text = read_text(path, "manifest")
    return _manifest(str(path.resolve()), yaml_mapping(text, str(path)), str(path))


def _shipped(name: str) -> dict[str, Any]:
    text = shipped_texts("weights").get(name)
    return {} if text is None else yaml_mapping(text, f"{name}.yaml")


def _manifest(name: str, plain: Mapping[str, Any], origin: str) -> Manifest:
    mistakes = Mistakes()
    kinds = {"summary": str, "engine": str, "parts": dict, "sources": dict}
    plain = _fields(plain, kinds, "the manifest", mistakes)
    own = plain.get("sources", {})
    sources = {**_shipped(_SOURCES), **own}
    wanted = plain.get("parts", {})
    mistakes.require(wanted, "parts is missing: which file comes from which source")
    parts = [_part(str(part), place, sources, own, mistakes) for part, place in sorted(wanted.items(), key=str)]
    mistakes.found = list(dict.fromkeys(mistakes.found))  # a source is read once for every part that names it
    mistakes.raise_as(ConfigError, f"manifest {origin} cannot be used")
    found = tuple(part for part in parts if part)
    return Manifest(name=name, summary=plain.get("summary", ""), engine=plain.get("engine"), parts=found)


def _part(
    name: str, place: Any, sources: Mapping[str, Any], own: Mapping[str, Any], mistakes: Mistakes
) -> BundlePart | None:
    """One line of `parts`; None after a mistake, which is noted."""
    origin, _, file = str(place).partition("/")
    mistakes.require(
        _NAME.fullmatch(name) is not None, f"part {name!r} must be of lower-case letters, digits, '.', '_', '-'"
    )
    if origin not in sources:
        mistakes.note(f"part {name} comes from {origin!r}, but the sources are {', '.join(map(str, sources))}")
        return None
    source, paths = _source(origin, sources[origin], origin in own, mistakes)
    found = paths.get(file or name)
    if found is None:
        mistakes.note(f"source {origin} has no file {file or name!r}; it has {', '.join(paths) or 'none'}")
        return None
    path, digest = found
    return BundlePart(name=name, source=source, path=path, sha256=digest)


def _source(
    name: str, plain: Any, own: bool, mistakes: Mistakes
) -> tuple[FileSource, dict[str, tuple[str, str | None]]]:
    """A source, and its files: name → (path, SHA-256)."""
    kinds = {"licence": str, "link": str, "hub": list, "folders": list, "made_by": str, "files": dict}
    found = _fields(plain, kinds, f"source {name}", mistakes)
    scope = "#" + sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16] if own else ""
    source = FileSource(
        name=str(name),
        licence=found.get("licence", "unknown"),
        link=found.get("link"),
        repositories=tuple(_repository(one, name, mistakes) for one in found.get("hub", [])),
        folders=_folders(name, found.get("folders", []), mistakes),
        made_by=found.get("made_by"),
        scope=scope,
    )
    given = found.get("files", {})
    paths = {str(file): _file(f"source {name}, file {file}", place, mistakes) for file, place in given.items()}
    return source, paths


def _file(what: str, place: Any, mistakes: Mistakes) -> tuple[str, str | None]:
    found = _fields(place if isinstance(place, dict) else {"path": place}, {"path": str, "sha256": str}, what, mistakes)
    path, digest = found.get("path", ""), found.get("sha256")
    mistakes.require(_is_inside(path), f"{what}: a path is relative and without '..', but is {short(path)}")
    mistakes.require(
        digest is None or _DIGEST.fullmatch(digest), f"{what}: sha256 must be 64 lower-case hexadecimal digits"
    )
    return path, digest


def _repository(plain: Any, source: str, mistakes: Mistakes) -> Repository:
    what = f"source {source}, hub"
    if isinstance(plain, str):
        repo, _, revision = plain.partition("@")
        plain = {"repo": repo, "revision": revision or "main"}
    found = _fields(plain, {"repo": str, "revision": str, "folder": str}, what, mistakes)
    name, folder = found.get("repo", ""), found.get("folder", "")
    usual = _REPOSITORY.fullmatch(name) is not None and ".." not in name and "--" not in name
    mistakes.require(usual, f"{what}: a repository is owner/name, but is {short(name)}")
    mistakes.require(
        not folder or _is_inside(folder), f"{what}: a folder is relative and without '..', but is {short(folder)}"
    )
    revision = found.get("revision", "main")
    mistakes.require(
        _REVISION.fullmatch(revision) is not None and ".." not in revision,
        f"{what}: a revision is a branch, a tag or a commit, but is {short(revision)}",
    )
    return Repository(name, revision, folder)


def _folders(source: str, given: list[Any], mistakes: Mistakes) -> tuple[str, ...]:
    for folder in given:
        usual = isinstance(folder, str) and _is_inside(folder)
        mistakes.require(usual, f"source {source}: a folder is relative and without '..', but is {short(folder)}")
    return tuple(folder for folder in given if isinstance(folder, str))


def _is_inside(path: str) -> bool:
    outside = path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts
    return bool(path) and not outside and "\\" not in path and path.isprintable()


def _fields(plain: Any, kinds: Mapping[str, Callable[..., Any]], what: str, mistakes: Mistakes) -> dict[str, Any]:
    """The known fields that have the right type."""
    if not isinstance(plain, dict):
        mistakes.note(f"{what} must be a mapping, but is {short(plain)}")
        return {}
    mistakes.require(not set(plain) - set(kinds), f"{what} has unknown fields; known: {', '.join(kinds)}")
    found = {name: plain[name] for name in kinds if plain.get(name) is not None}
    for name, value in found.items():
        mistakes.require(type(value) is kinds[name], f"{what}: {name} is of the wrong type: {short(value)}")
    return {name: value for name, value in found.items() if type(value) is kinds[name]}
