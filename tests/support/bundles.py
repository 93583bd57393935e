"""A bundle of weights for tests: its manifest, its files as they are published, and one that an engine makes."""

import hashlib
from pathlib import Path

MANIFEST = """
summary: two networks and a list
engine: test-bundled
parts: {net: mine, net.config: mine, tags: words, other: mine/spare}
sources:
  mine:
    licence: MIT
    link: https://example.org/mine
    folders: [preset/models/mine]
    files: {net: unet/net.safetensors, net.config: unet/config.json, spare: spare.pth}
  words:
    folders: [preset/models, .]
    files: {tags: words.txt}
"""


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def published(models):
    """The SHA-256 of each part's file as it was published."""
    paths = {
        "net": "mine/unet/net.safetensors",
        "net.config": "mine/unet/config.json",
        "other": "mine/spare.pth",
        "tags": "words.txt",
    }
    return {part: sha256_of(models / path) for part, path in paths.items()}


MADE = """
engine: test-noise
parts: {net: made, words: made}
sources:
  made:
    licence: CC0-1.0
    made_by: test-noise
    files:
      net: {path: deep/net.txt, sha256: NET}
      words: {path: words.txt, sha256: WORDS}
"""


def make_small(name, folder):
    (folder / "deep").mkdir()
    (folder / "deep/net.txt").write_text(f"net of {Path(name).stem}")
    (folder / "words.txt").write_text("cat")
