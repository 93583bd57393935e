"""Fetching bundles: mirrors, cut lines, no network, a process that is killed; against a hub on this machine."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hub as hubs
import pytest
import torch
from hub import commit_of
from safetensors.torch import save

pytest.importorskip("huggingface_hub")

MANIFEST = """
summary: a network, its configuration and a list
parts: {net: model, net.config: model, tags: words}
sources:
  model:
    licence: MIT
    link: https://example.org/model
    hub: [first/model, second/mirror@v1, {repo: third/mirror, folder: kept/here}]
    folders: [model]
    files: {net: unet/net.safetensors, net.config: unet/config.json}
  words:
    hub: [only/words]
    folders: [.]
    files: {tags: words.txt}
"""
NET = save({"a": torch.arange(5000.0)})
FILES = {"unet/net.safetensors": NET, "unet/config.json": b'{"a": 1}\n'}
WORDS = {"words.txt": b"cat\ndog\n"}
DIGEST = hashlib.sha256(
    "".join(
        f"{part} {hashlib.sha256(data).hexdigest()}\n"
        for part, data in [("net", NET), ("net.config", FILES["unet/config.json"]), ("tags", WORDS["words.txt"])]
    ).encode()
).hexdigest()

CODE = """
import sys
import huggingface_hub.constants as constants
constants.DOWNLOAD_CHUNK_SIZE = 1024  # so that a small file can be cut short and resumed
from srcache_cli.main import run
sys.exit(run(["models", *sys.argv[1:]]))
"""


@dataclass
class User:
    """Somebody with a home, a hub's cache and a manifest, who runs `srcache models …` in a process of its own."""

    folder: Path
    address: str

    def environment(self, **more: str) -> dict[str, str]:
        foreign = ("HF_", "HUGGING", "SRCACHE_WEIGHTS")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        homes = {"HF_HOME": str(self.folder / "hf"), "SRCACHE_HOME": str(self.folder / "home")}
        switches = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*", "no_proxy": "*"}
        return {**plain, **homes, **switches, "HF_ENDPOINT": self.address, **more}

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", CODE, *words],
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        return process.returncode, out, err

    def record(self) -> dict[str, dict[str, str]]:
        """The parts of the only record."""
        [path] = (self.folder / "home/weights/bundles").glob("*.json")
        return json.loads(path.read_text())["parts"]

    def forget(self) -> None:
        """As on a machine that has the hub's cache, but never saw srcache."""
        shutil.rmtree(self.folder / "home")


@pytest.fixture
def hub():
    with hubs.serve() as server:
        server.files = {"first/model": dict(FILES), "only/words": dict(WORDS)}
        yield server


@pytest.fixture
def user(tmp_path, hub):
    (tmp_path / "mine.yaml").write_text(MANIFEST)
    return User(tmp_path, hub.address)


@pytest.mark.medium
def test_everything_is_fetched_once_and_its_origin_is_recorded(hub, user):
    code, out, err = user.run("fetch", "mine.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{DIGEST}  mine.yaml"
    assert out.splitlines()[1].startswith("complete, 3 files, 19.6 KiB; licences: MIT; unknown")
    parts = user.record()
    assert {name: part["origin"] for name, part in parts.items()} == {
        "net": f"first/model@{commit_of('first/model')}",
        "net.config": f"first/model@{commit_of('first/model')}",
        "tags": f"only/words@{commit_of('only/words')}",
    }
    assert parts["net"]["licence"] == "MIT"
    assert Path(parts["net"]["path"]).read_bytes() == NET
    assert len(hub.asked()) == 3
    asked = len(hub.seen)
    assert user.run("fetch", "mine.yaml", "--json")[0] == 0
    assert len(hub.seen) == asked, "what is here is not asked for"


@pytest.mark.medium
@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("gone", "is not there, or is private"),
        ("private", "is not there, or is private"),
        ("gated", "asks for consent: agree on its page, then log in with `hf auth login`"),
        ("no-revision", "has no such revision"),
        ("broken", "unet/net.safetensors did not come: "),
    ],
)
def test_a_repository_that_does_not_give_is_passed_over_for_its_mirrors(refusal, words, hub, user):
    hub.refuse["first/model"] = refusal
    hub.files["second/mirror"] = {"unet/config.json": FILES["unet/config.json"]}
    hub.files["third/mirror"] = {f"kept/here/{path}": data for path, data in FILES.items()}
    code, out, _ = user.run("fetch", "mine.yaml")
    assert code == 0
    assert out.startswith(DIGEST), "the digest does not depend on the mirror"
    parts = user.record()
    assert parts["net"]["origin"] == f"third/mirror@{commit_of('third/mirror')}"
    assert parts["net.config"]["origin"] == f"second/mirror@{commit_of('second/mirror')}"


@pytest.mark.medium
def test_where_no_repository_gives_every_file_is_named_with_every_reason(hub, user):
    hub.refuse["first/model"] = "gated"
    hub.files["second/mirror"] = {}
    code, out, err = user.run("fetch", "mine.yaml")
    assert (code, out) == (4, "")
    assert "2 of 3 files could not be downloaded" in err
    assert "net (unet/net.safetensors)\n" in err
    assert err.count("first/model: asks for consent") == 2
    assert "second/mirror@v1: has no unet/config.json\n" in err
    assert err.count("third/mirror: is not there, or is private\n") == 2
    assert "mine.yaml --from FOLDER`; where people get them:\n  model: https://example.org/model\n" in err
    assert [path for _, path, _ in hub.asked()] == ["words.txt"], "what can be had is not lost"
    assert sum(one[1] == "third/mirror" for one in hub.seen) == 1, "a repository that is gone is asked once"
    hub.refuse.clear()
    assert user.run("fetch", "mine.yaml")[0] == 0
    assert [path for _, path, _ in hub.asked()].count("words.txt") == 1


@pytest.mark.medium
def test_a_cut_line_is_taken_up_where_it_broke(hub, user):
    hub.cut["unet/net.safetensors"] = [9000]
    code, out, _ = user.run("fetch", "mine.yaml")
    assert code == 0
    assert out.startswith(DIGEST)
    firsts = [first for _, path, first in hub.asked() if path == "unet/net.safetensors"]
    assert firsts[0] == 0
    assert 0 < firsts[1] <= 9000


@pytest.mark.medium
def test_a_fetch_that_was_killed_is_taken_up_by_the_next(hub, user):
    hub.stall = "unet/net.safetensors"
    (user.folder / "mine.yaml").write_text(MANIFEST.replace("net.config", "config"))  # so it comes before the network
    process = user.start("fetch", "mine.yaml")
    assert hub.stalled.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (user.folder / "home/weights/bundles").exists(), "nothing is recorded before all is here"
    hub.stall = None
    hub.go_on.set()
    assert user.run("fetch", "mine.yaml")[0] == 0
    assert [path for _, path, _ in hub.asked()].count("unet/config.json") == 1, "complete files are kept"
    assert user.run("verify")[0] == 0


@pytest.mark.medium
def test_without_a_network_the_cache_is_enough_and_a_gap_in_it_is_reported(hub, user):
    assert user.run("fetch", "mine.yaml")[0] == 0
    asked = len(hub.seen)
    user.forget()
    code, out, err = user.run("fetch", "mine.yaml", HF_HUB_OFFLINE="1")
    assert (code, err) == (0, "")
    assert out.startswith(DIGEST)
    user.forget()
    [words] = (user.folder / "hf").rglob("words.txt")
    words.unlink()
    code, out, err = user.run("fetch", "mine.yaml", HF_HUB_OFFLINE="1")
    assert (code, out) == (4, "")
    assert "1 of 3 files could not be downloaded" in err
    assert "only/words: not asked, HF_HUB_OFFLINE is set" in err
    assert len(hub.seen) == asked


@pytest.mark.medium
def test_a_file_with_another_hash_than_the_manifest_says_is_damaged(hub, user):
    text = MANIFEST.replace("tags: words.txt", f"tags: {{path: words.txt, sha256: {'ab' * 32}}}")
    (user.folder / "mine.yaml").write_text(text)
    code, _, err = user.run("fetch", "mine.yaml")
    assert code == 3
    found = hashlib.sha256(WORDS["words.txt"]).hexdigest()
    assert f"words.txt should have the SHA-256 {'ab' * 32}, but has {found}: it is cut short, or another file" in err
    assert "delete it and run `srcache models fetch" in err
    assert not (user.folder / "home/weights/bundles").exists()


@pytest.mark.medium
def test_folders_spare_the_download(hub, user):
    folder = user.folder / "somewhere/model/unet"
    folder.mkdir(parents=True)
    (folder / "net.safetensors").write_bytes(NET)
    (folder / "config.json").write_bytes(FILES["unet/config.json"])
    code, out, _ = user.run("fetch", "mine.yaml", "--from", "somewhere")
    assert code == 0
    assert out.startswith(DIGEST)
    assert [path for _, path, _ in hub.asked()] == ["words.txt"]
    assert user.record()["net"]["origin"] == str(user.folder / "somewhere")
