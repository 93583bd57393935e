"""Downloads: what a bundle lacks comes from the repositories of its manifest, which are asked in their order."""

from collections.abc import Sequence
from pathlib import Path

from srcache.errors import WeightsError
from srcache.progress import Say
from srcache.weights.bundle import fetch_command, links, locate
from srcache.weights.hub import Hub
from srcache.weights.manifest import BundlePart, Manifest, load_manifest
from srcache.weights.search import search


def fetch(name: str | Path, folders: Sequence[Path] = (), say: Say | None = None) -> str:
    """Download what a bundle lacks from the Hugging Face hub, then `locate` it.

    Raises:
        MissingExtraError: the package huggingface_hub is needed, and is not installed.
        WeightsError: no repository has some file; each is named with its reason, and how to get it by hand.
        DiskFullError: the disk cannot hold what is lacking.
    """
    manifest = load_manifest(name)
    found = search(manifest, folders)
    lacking = [part for part in manifest.parts if found[part.name] is None and not part.source.made_by]
    if lacking:
        _download(manifest, lacking, say)
    return locate(name, folders, say)


def _download(manifest: Manifest, lacking: Sequence[BundlePart], say: Say | None) -> None:
    hub = Hub()
    if say:
        say(f"asking the Hugging Face hub for {len(lacking)} files of {manifest.name}")
    reasons: dict[str, list[str]] = {part.name: [] for part in lacking}
    offers = [offer for part in lacking if (offer := hub.offer(part, reasons[part.name]))]
    hub.require_room(offers)
    done = set()
    for number, offer in enumerate(offers, 1):
        if say:
            say(f"fetching {offer.part.name} ({number} of {len(offers)}) from {offer.repository}")
        if hub.download(offer, reasons[offer.part.name]):
            done.add(offer.part.name)
    failed = [part for part in lacking if part.name not in done]
    if failed:
        raise WeightsError(_failure_text(manifest, failed, reasons))


def _failure_text(manifest: Manifest, failed: Sequence[BundlePart], reasons: dict[str, list[str]]) -> str:
    """A message that names every file that did not come and why; files with the same reasons share a line."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for part in failed:
        why = reasons[part.name] or ["no repository is known to have it"]
        groups.setdefault((part.source.name, *why), []).append(f"{part.name} ({part.path})")
    lines = []
    for (source, *why), names in groups.items():
        lines += [f"  - {source}: {', '.join(names)}", *(f"      {reason}" for reason in why)]
    return (
        f"weights {manifest.name}: {len(failed)} of {len(manifest.parts)} files could not be downloaded:\n"
        + "\n".join(lines)
        + f"\nget them by hand and run `{fetch_command(manifest.name)} --from FOLDER`{links(failed)}"
    )
