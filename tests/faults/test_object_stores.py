"""Builds into a cache below an S3 URL: killed, side by side, cut off from the service, and read by another process."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import boto3
import pytest
from commands import until
from s3_server import Gate, S3Server

from srcache.cache.manifest import open_cache

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]

TRAIN = """
import hashlib, sys
from torch.utils.data import DataLoader
from srcache.dataset import SRAugmentedDataset

def main():
    data = SRAugmentedDataset(sys.argv[1], sys.argv[2], policy="sr=1", size=(24, 24))
    loader = DataLoader(data, batch_size=8, num_workers=2, collate_fn=list)
    print(hashlib.blake2b(b"".join(image.tobytes() for batch in loader for image, _ in batch)).hexdigest())

if __name__ == "__main__":
    main()
"""
"""What a loop sees of a cache: a digest of every pixel, in order."""


@pytest.fixture
def start(tmp_path: Path, many: Path, slow: Path) -> Start:
    """Start `srcache build` of `many` on a machine of this test's own."""

    def run(cache: str | Path, *words: str, machine: str = "one", **environment: str) -> "subprocess.Popen[str]":
        arguments = ["build", str(many), "--cache", str(cache), "--recipe", str(slow), "--device", "cpu", *words]
        shards = ["--store", "shards", "--shard-bytes", "3K", "--batch", "4"]
        return command([*arguments, *shards], {"SRCACHE_HOME": str(tmp_path / machine), **environment})

    return run


def command(words: Sequence[str], environment: dict[str, str]) -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "srcache_cli.main", *words]
    return subprocess.Popen(
        program, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def shards(url: str) -> list[str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [one["Key"] for one in found if one["Key"].endswith(".tar")]


def wait_for(url: str, count: int, build: "subprocess.Popen[str]") -> None:
    """Wait until so many shards are uploaded, or the build has ended."""
    until(lambda: len(shards(url)) >= count or build.poll() is not None, 120)


def payloads(cache: str | Path) -> dict[str, bytes | None]:
    store = open_cache(cache).find().store()
    return {name: store.get(name) for name in store.names()}


@pytest.fixture
def undisturbed(start: Start, tmp_path: Path) -> dict[str, bytes | None]:
    """What a build on a disk makes of the same images."""
    assert ended(start(tmp_path / "undisturbed"))[0] == 1, "some files are no images"
    return payloads(tmp_path / "undisturbed")


def verified(url: str) -> dict[str, int]:
    process = command(["verify", url, "--json"], {})
    code, out, _ = ended(process)
    assert code == 0
    return dict(json.loads(out)["result"])


def test_a_killed_build_goes_on_from_its_spool(s3_url: str, start: Start, undisturbed: dict[str, bytes | None]) -> None:
    url, chance = f"{s3_url}/cache", random.Random(1)
    for turn in range(3):
        build = start(url)
        wait_for(url, 2 * turn + 1, build)
        time.sleep(chance.uniform(0, 0.2))
        build.kill()
        build.communicate()
    code, out, err = ended(start(url))
    assert (code, "not uploaded" in out) == (1, False), err
    assert payloads(url) == undisturbed
    assert verified(url)["repeated"] == 0


def test_two_machines_fill_one_cache(s3_url: str, start: Start, undisturbed: dict[str, bytes | None]) -> None:
    url = f"{s3_url}/cache"
    both = [start(url, machine=machine) for machine in ("one", "two")]
    assert [ended(build)[0] for build in both] == [1, 1]
    assert payloads(url) == undisturbed
    assert verified(url)["entries"] == len(undisturbed)
    receipts = open_cache(url).find().receipts()
    assert len(receipts) == 2
    assert sum(receipt["added"] for receipt in receipts) >= len(undisturbed)


def test_another_process_trains_from_it(s3_url: str, start: Start, tmp_path: Path, many: Path) -> None:
    url, digests = f"{s3_url}/cache", set()
    assert [ended(start(place))[0] for place in (url, tmp_path / "disk")] == [1, 1]
    good = tmp_path / "good"
    good.mkdir()
    for file in many.iterdir():
        if "broken" not in file.name:
            (good / file.name).hardlink_to(file)
    (tmp_path / "train.py").write_text(TRAIN)
    for place, room in ((tmp_path / "disk", "1G"), (url, "1G"), (url, "6K")):
        environment = {"SRCACHE_HOME": str(tmp_path / f"other-{room}"), "SRCACHE_CACHE_BYTES": room}
        words = [sys.executable, str(tmp_path / "train.py"), str(good), str(place)]
        digests.add(subprocess.run(words, env={**os.environ, **environment}, check=True, capture_output=True).stdout)
    assert len(digests) == 1


def test_a_build_that_is_cut_off_says_what_is_not_uploaded_and_goes_on_later(
    s3_server: S3Server, s3_url: str, start: Start, undisturbed: dict[str, bytes | None]
) -> None:
    url, gate = f"{s3_url}/cache", Gate(s3_server.port)
    gate.open()
    through = {"AWS_ENDPOINT_URL": gate.url}
    build = start(url, **through)
    wait_for(url, 2, build)
    gate.close()
    code, _, err = ended(build)
    assert code == 4
    assert "not uploaded yet, and safe in" in err
    assert "The same command on this machine goes on from there" in err
    assert "Traceback" not in err
    code, _, err = ended(start(url, **through))
    assert (code, "could not be listed" in err) == (4, True)
    gate.open()
    assert ended(start(url, **through))[0] == 1
    gate.close()
    assert payloads(url) == undisturbed
