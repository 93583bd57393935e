"""Data sets for the Hugging Face Hub: read back by `datasets`; the same bytes each time; begun anew after a stop."""

import json
import shutil
import warnings
from pathlib import Path

import caches
import numpy as np
import pytest

from srcache.catalog.scanning import scan
from srcache.errors import BusyError, CacheError, MissingExtraError
from srcache.files.claims import held
from srcache.images import decode
from srcache.maintain import export_parquet as module
from srcache.maintain.export_parquet import export_parquet
from srcache.maintain.training_plan import JoinSettings

pytestmark = pytest.mark.medium


@pytest.fixture
def hf():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="datasets|torch|fsspec|multiprocess|pyarrow")
        found = pytest.importorskip("datasets")
        found.disable_progress_bars()
        yield found


def export(cache: Path, out: Path, **settings):
    return export_parquet(cache, out, JoinSettings(**{"recipe": "noisy", "seed": None, **settings}))


@pytest.fixture
def written(hf, built, cache, tmp_path) -> Path:
    """An export of both samples of `noisy` and of LR, in several files."""
    report = export(cache, tmp_path / "out", lr=built / "photos", shard_bytes=10_000)
    assert len(report.content.shards) > 1
    return tmp_path / "out"


@pytest.mark.parametrize("how", ["folder", "files", "stream"])
def test_datasets_reads_it_back(hf, built, cache, written, tmp_path, how):
    words = {"split": "train", "cache_dir": str(tmp_path / "hf"), "streaming": how == "stream"}
    if how == "files":
        found = hf.load_dataset("parquet", data_files=str(written / "*.parquet"), **words)
    else:
        found = hf.load_dataset(str(written), **words)
    assert list(found.features) == ["name", "key", "lr", "sr000", "sr001", "label"]
    assert found.features["label"] == hf.ClassLabel(names=["Möwen & Co", "wörter"])
    rows = {row.name: row for row in scan(built / "photos").rows}
    stored, seen = caches.pixels(cache, "noisy"), []
    for row in found:
        seen.append(row["name"])
        assert row["key"] == rows[row["name"]].key
        assert found.features["label"].int2str(row["label"]) == row["name"].partition("/")[0]
        assert np.array_equal(np.asarray(row["lr"]), decode((built / "photos" / row["name"]).read_bytes()))
        for sample in range(2):
            assert np.asarray(row[f"sr{sample:03d}"]).tobytes() == stored[f"{row['key']}-{sample:03d}"]
    assert seen == [name for name in rows if name != "wörter/leer.png"]


def test_files_keep_to_their_size_and_are_counted(written):
    about = json.loads((written / "dataset.json").read_text(encoding="utf-8"))
    assert sum(shard["samples"] for shard in about["shards"]) == about["samples"] == 6
    for shard in about["shards"]:
        assert (written / shard["file"]).stat().st_size == shard["bytes"]
        assert shard["samples"] == 1 or shard["bytes"] < 10_000 + 5_000, "the footer is beside the images"


def test_the_same_export_is_the_same_bytes_also_after_a_stop(built, cache, written, tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    monkeypatch.setattr(module, "finish", stop)
    with pytest.raises(StopError):
        export(cache, tmp_path / "two", lr=built / "photos")
    (tmp_path / "two/.train-00001.parquet.0a1b2c3d").touch()
    (tmp_path / "two/.srcache-export").mkdir()  # as a kill leaves them
    monkeypatch.undo()
    export(cache, tmp_path / "two", lr=built / "photos", shard_bytes=10_000)
    assert caches.tree(tmp_path / "two") == caches.tree(written)
    assert sorted(path.name for path in (tmp_path / "two").iterdir())[:2] == ["README.md", "dataset.json"]


def test_a_place_that_holds_something_or_is_worked_on_is_refused(hf, built, cache, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(CacheError, match="is not empty"):
        export(cache, tmp_path / "full")
    with held(tmp_path / "busy", "export", "exported into"), pytest.raises(BusyError, match="exported into"):
        export(cache, tmp_path / "busy")
    with pytest.raises(CacheError, match="lies in the cache"):
        export(cache, cache / "out")


def test_groups_of_rows_bound_what_is_in_memory(hf, cache, tmp_path, monkeypatch):
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr(module, "_GROUP_ROWS", 4)
    export(cache, tmp_path / "out")
    with ParquetFile(tmp_path / "out/train-00000.parquet") as file:
        groups = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
    assert groups == [4, 2]


def test_below_a_url_and_of_shards(hf, built, cache, tmp_path):
    shutil.rmtree(cache)
    caches.build(built / "photos", cache, store="shards")
    url = f"memory://hub-{tmp_path.name}/set"
    report = export_parquet(cache, url, JoinSettings(seed=None))
    import fsspec

    found = fsspec.filesystem("memory").ls(url.removeprefix("memory:/"), detail=False)
    assert sorted(name.rpartition("/")[2] for name in found) == ["README.md", "dataset.json", "train-00000.parquet"]
    assert report.content.samples == 6
    with pytest.raises(CacheError, match="is not empty"):
        export_parquet(cache, url, JoinSettings(seed=None))


def test_without_the_package_it_is_said_before_anything_is_done(cache, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="srcache export --format hf"):
        export(cache, tmp_path / "out")
    assert not (tmp_path / "out").exists()
