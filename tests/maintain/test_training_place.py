"""Training shards in a folder and below a URL are the same, and webdataset with fsspec alone trains from a URL."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import caches
import pytest

from srcache.errors import CacheError
from srcache.files.objects import ObjectFolder, object_folder
from srcache.maintain.export_shards import JoinSettings, export_join
from srcache.maintain.training_place import training_place

pytestmark = pytest.mark.medium


@pytest.fixture
def home(built: Path) -> Path:
    return built


def settings(home: Path) -> JoinSettings:
    return JoinSettings(recipe="bicubic", lr=home / "photos", shard_bytes=20_000)


def read_back(url: str) -> dict[str, bytes]:
    objects = object_folder(url)
    return {name: objects.read(name) for name in objects.listing()}


def test_an_export_below_a_url_is_that_into_a_folder(home: Path, objects_url: str, tmp_path: Path) -> None:
    local = export_join(home / "cache", tmp_path / "out", settings(home))
    remote = export_join(home / "cache", objects_url, settings(home))
    assert remote.path == objects_url
    assert (remote.content, remote.bytes) == (local.content, local.bytes)
    found = read_back(objects_url)
    assert sorted(found) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert all(found[name] == (tmp_path / "out" / name).read_bytes() for name in found if name != "README.md")
    assert f'fsspec.open_files("{objects_url}/*.tar")' in found["README.md"].decode()


def test_an_export_that_was_stopped_is_begun_anew(
    home: Path, objects_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = ObjectFolder.put

    def stop(self: ObjectFolder, name: str, data: bytes | Path, *, replace: bool = False) -> str:
        if name == "README.md":
            raise KeyboardInterrupt
        return put(self, name, data, replace=replace)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFolder, "put", stop)
        with pytest.raises(KeyboardInterrupt):
            export_join(home / "cache", objects_url, settings(home))
    assert ".unfinished" in read_back(objects_url)
    assert "dataset.json" not in read_back(objects_url)
    export_join(home / "cache", objects_url, settings(home))
    found = read_back(objects_url)
    assert ".unfinished" not in found
    shards = [shard["file"] for shard in json.loads(found["dataset.json"])["shards"]]
    assert sorted(name for name in found if name.endswith(".tar")) == shards


def test_a_place_that_holds_something_is_refused(home: Path, objects_url: str) -> None:
    object_folder(objects_url).put("notes.txt", b"mine")
    with pytest.raises(CacheError, match="is not empty"):
        export_join(home / "cache", objects_url, settings(home))
    object_folder(objects_url).put(".unfinished", b"")
    with pytest.raises(CacheError, match=r"holds an export that was stopped, and beside it notes\.txt"):
        export_join(home / "cache", objects_url, settings(home))
    assert set(read_back(objects_url)) == {"notes.txt", ".unfinished"}


def test_a_place_in_the_cache_is_refused(tmp_path: Path, objects_url: str) -> None:
    photos = caches.make_photos(tmp_path / "photos")
    caches.build(photos, objects_url)  # type: ignore[arg-type]
    with pytest.raises(CacheError, match="lies in the cache"):
        export_join(objects_url, f"{objects_url}/out", JoinSettings(lr=photos))
    assert export_join(objects_url, tmp_path / "out", JoinSettings(lr=photos)).content.samples > 0


def test_a_shard_needs_no_room_here_once_it_is_uploaded(
    objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRCACHE_HOME", str(tmp_path / "home"))
    left = tmp_path / "home/exports/shard-left"
    left.mkdir(parents=True)
    (left / "x.tar").write_bytes(b"1")
    os.utime(left, (1, 1))
    place = training_place(objects_url)
    with place.file("x.tar") as file:
        file.write(b"1" * 1000)
        assert place.names() == []
    assert place.names() == ["x.tar"]
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_the_readme_below_a_url_trains_with_webdataset_alone(home: Path, s3_url: str, tmp_path: Path) -> None:
    report = export_join(home / "cache", f"{s3_url}/train", settings(home))
    text = object_folder(f"{s3_url}/train").read("README.md").decode()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "srcache" not in code
    body = code.replace("    break\n", "    seen += 1\n").replace("for image", "seen = 0\nfor image", 1)
    (tmp_path / "train.py").write_text(f"{body}print(seen)\n")
    words = [sys.executable, "-W", "ignore", str(tmp_path / "train.py")]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == str(report.content.samples), done.stderr
