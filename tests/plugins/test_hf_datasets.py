"""Hugging Face data sets in and out: real ones of `datasets`, offline, with their own shuffling, workers and files."""

import errno
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from epoch_variants import KINDS, STAGES, to_tensor
from fake_service import fake_service
from PIL import Image
from srcache_plugins.hf_datasets import SRTransform, from_hf, to_hf
from torch.utils.data import DataLoader
from training_sets import NOISY

from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, ConfigError, DiskFullError, ImageError, MissError, MissingExtraError
from srcache.fill.run import fill
from srcache.recipe.reading import resolve

pytestmark = pytest.mark.medium


@pytest.fixture
def hf() -> Iterator[Any]:
    """`datasets`, whose progress bars and deprecations are not what is tested here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="datasets|torch|fsspec|multiprocess|pyarrow")
        found = pytest.importorskip("datasets")
        found.disable_progress_bars()
        yield found


def cache_of(folder: Path) -> Path:
    return folder.parent / "cache"


def opened(folder: Path, policy: str, **given: Any) -> SRAugmentedDataset:
    return SRAugmentedDataset(folder, cache_of(folder), policy=policy, **given)


def equal(image: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


def rows_of(hf: Any, folder: Path, decode: bool = True) -> Any:
    """The folder's files as a data set of Hugging Face, with their bytes inside."""
    paths = [path for label in "ab" for path in sorted((folder / label).iterdir())]
    image = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    label = ["ab".index(path.parent.name) for path in paths]
    features = hf.Features({"image": hf.Image(decode=decode), "label": hf.ClassLabel(names=["a", "b"])})
    return hf.Dataset.from_dict({"image": image, "label": label}, features=features)


# --- out ---


def test_a_cache_becomes_a_data_set_with_a_column_for_each_variant(hf: Any, folder: Path, tmp_path: Path) -> None:
    made = to_hf(folder, cache_of(folder), folder=tmp_path / "arrow")
    assert made.column_names == ["name", "lr", "sr000", "hr", "label"]
    assert made.features["label"].names == ["a", "b"]
    data = {"lr": opened(folder, "lr"), "sr000": opened(folder, "sr"), "hr": opened(folder, "hr")}
    for index, row in enumerate(made):
        assert row["name"] == data["lr"].name(index)
        assert row["label"] == data["lr"][index][1]
        assert all(equal(row[column], data[column][index][0]) for column in data)
    assert (tmp_path / "arrow").is_dir()
    plain = made.cast_column("lr", hf.Image(decode=False))[0]["lr"]
    assert (plain["bytes"][:4], plain["path"]) == (b"\x89PNG", "a_0.png")


def test_a_data_set_becomes_one_as_it_serves_its_epoch(hf: Any, folder: Path) -> None:
    data = opened(folder, "lr=0.5,sr=0.5")
    made = []
    for epoch in range(2):
        data.set_epoch(epoch)
        made.append(to_hf(data))
        assert made[epoch].column_names == ["name", "image", "label"]
        assert all(equal(row["image"], data[index][0]) for index, row in enumerate(made[epoch]))
    assert any(a["image"].size != b["image"].size for a, b in zip(*made, strict=True)), "the second is not the first"


def test_what_came_out_is_saved_and_read_by_other_programs(hf: Any, folder: Path, tmp_path: Path) -> None:
    made = to_hf(folder, cache_of(folder))
    made.save_to_disk(tmp_path / "saved")
    again = hf.load_from_disk(str(tmp_path / "saved"))
    made.to_parquet(tmp_path / "all.parquet")
    assert all(equal(row["sr000"], again[index]["sr000"]) for index, row in enumerate(made))


@pytest.mark.parametrize(
    ("labels", "kind"), [([1, 2] * 4, "int64"), ([0.5, 2] * 4, "float64"), (["x", "y"] * 4, "string")]
)
def test_labels_keep_their_type(hf: Any, folder: Path, labels: list[Any], kind: str) -> None:
    paths = [path for label in "ab" for path in sorted((folder / label).iterdir())]
    base = [(Image.open(path).convert("RGB"), label) for path, label in zip(paths, labels, strict=True)]
    made = to_hf(SRAugmentedDataset(base, cache_of(folder), policy="sr"))
    assert made.features["label"].dtype == kind
    assert made["label"][:] == labels


def test_images_without_labels_have_no_column_for_them(hf: Any, folder: Path) -> None:
    base = rows_of(hf, folder).remove_columns("label")
    assert to_hf(base, cache_of(folder)).column_names == ["name", "lr", "sr000", "hr"]


def test_hr_images_of_their_own_are_a_column(hf: Any, folder: Path, tmp_path: Path) -> None:
    plain = resolve({"name": "p", "engine": "resample", "scale": 2})
    fill(scan(folder), plain, tmp_path / "plain")
    assert to_hf(folder, tmp_path / "plain").column_names == ["name", "lr", "sr000", "label"]
    made = to_hf(folder, tmp_path / "plain", hr=folder)
    assert made.column_names == ["name", "lr", "sr000", "hr", "label"]
    assert equal(made[3]["hr"], made[3]["lr"])


def test_mistakes_on_the_way_out_are_said_in_words(hf: Any, folder: Path) -> None:
    with pytest.raises(ConfigError, match="give cache="):
        to_hf(folder)
    with pytest.raises(CatalogError, match="its transform makes a Tensor; leave it out"):
        to_hf(opened(folder, "sr", transform=to_tensor))
    Image.new("RGB", (16, 16)).save(folder / "b" / "new.png")
    with pytest.raises(MissError, match=r"b/new\.png"):
        to_hf(folder, cache_of(folder))
    (folder / "b" / "broken.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"^b/broken\.png: the file has no bytes$"):
        to_hf(folder, cache_of(folder))


def test_a_full_disk_is_said_in_words(hf: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(hf.arrow_writer.ArrowWriter, "write", full)
        with pytest.raises(DiskFullError, match=r"arrow could not be written \(No space left on device\)"):
            to_hf(folder, cache_of(folder), folder=tmp_path / "arrow")
    assert len(to_hf(folder, cache_of(folder), folder=tmp_path / "arrow")) == 8, "what was left is no obstacle"


def test_without_datasets_the_command_that_installs_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        MissingExtraError, match=r"needs datasets, .* run, in a clone of srcache: pip install '\.\[datasets\]'"
    ):
        to_hf(folder, cache_of(folder))


# --- in ---


def test_one_image_and_one_label_are_served_as_they_are(hf: Any, folder: Path) -> None:
    data, files = from_hf(rows_of(hf, folder), cache_of(folder), policy="sr"), opened(folder, "sr")
    assert data.classes == ("a", "b")
    assert all(equal(data[index][0], files[index][0]) and data[index][1] == files[index][1] for index in range(8))


def test_columns_are_chosen_by_name(hf: Any, folder: Path) -> None:
    base = rows_of(hf, folder)
    thumb = hf.concatenate_datasets([base, base.select_columns("image").rename_column("image", "thumb")], axis=1)
    shapes = thumb.add_column("shape", [index % 3 for index in range(8)])
    data = from_hf(shapes, cache_of(folder), image="image", label="shape", policy="sr")
    assert [data[index][1] for index in range(8)] == [index % 3 for index in range(8)]
    assert data[0][0].size == (32, 32)
    assert [data[index][1] for index in range(2)] != [base[index]["label"] for index in range(2)]
    with pytest.raises(CatalogError, match="no column photo, kind; it has image, label, thumb, shape"):
        from_hf(shapes, cache_of(folder), image="photo", label="kind")
    with pytest.raises(CatalogError, match="one Image column, but 2"):
        from_hf(shapes, cache_of(folder))
    with pytest.raises(CatalogError, match="expected one split"):
        from_hf(hf.DatasetDict({"train": base}), cache_of(folder), image="image")


def test_what_came_out_is_found_by_its_pixels(hf: Any, folder: Path) -> None:
    made, files = to_hf(folder, cache_of(folder)), opened(folder, "sr")
    served = made.with_transform(SRTransform(cache_of(folder), policy="sr", image="hr"))
    assert all(equal(served[index]["hr"], files[index][0]) for index in range(8))
    data = from_hf(made, cache_of(folder), image="hr", policy="sr")
    with pytest.raises(MissError, match=r"srcache\.fill\.fill"):
        data[0]


# --- as it is read ---


@pytest.mark.parametrize("decode", [True, False])
def test_a_data_set_is_served_by_the_epoch_as_it_is_read(hf: Any, folder: Path, decode: bool) -> None:
    served = SRTransform(cache_of(folder), policy="lr=0.3,sr=0.4,hr=0.3")
    dataset, data = rows_of(hf, folder, decode).with_transform(served), opened(folder, "lr=0.3,sr=0.4,hr=0.3")
    for epoch in range(3):
        served.set_epoch(epoch)
        data.set_epoch(epoch)
        assert served.epoch == epoch
        assert all(equal(dataset[index]["image"], data[index][0]) for index in range(8))
        assert dataset[:3]["label"] == [0, 0, 0]
    assert sum(served.counts[kind] for kind in ("lr", "sr", "hr")) == 3 * (8 + 3)


def test_files_that_are_not_inside_are_read(hf: Any, folder: Path) -> None:
    paths = [str(path) for path in sorted((folder / "a").iterdir())]
    rows = hf.Dataset.from_dict({"photo": paths}).cast_column("photo", hf.Image(decode=False))
    served = rows.with_transform(SRTransform(cache_of(folder), policy="sr", image="photo", transform=np.asarray))
    assert served[0]["photo"].shape == (32, 32, 3)
    (folder / "a" / "0.png").unlink()
    with pytest.raises(ImageError, match=r"a/0\.png: the file cannot be read"):
        served[0]


@pytest.mark.parametrize("method", [None, "fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_shuffled_data_sets_and_workers_follow_the_epoch(hf: Any, folder: Path, method: str | None) -> None:
    served = SRTransform(cache_of(folder), policy=STAGES, transform=to_tensor)
    dataset = (
        rows_of(hf, folder).with_transform(served).shuffle(seed=1).rename_column("label", "labels").select(range(6))
    )
    given = {"num_workers": 2, "multiprocessing_context": method, "persistent_workers": True} if method else {}
    loader = DataLoader(dataset, batch_size=2, **given)
    for epoch, kind in enumerate(["lr", "sr", "hr"]):
        served.set_epoch(epoch)
        batches = list(loader)
        assert {KINDS[batch["image"].shape[-1]] for batch in batches} == {kind}
        assert {batch["image"].dtype for batch in batches} == {torch.float32}
        assert served.counts[kind] == 6


def test_mistakes_of_a_transform_are_said_in_words(hf: Any, folder: Path) -> None:
    cache = cache_of(folder)
    with pytest.raises(ConfigError, match="'skip': a data set keeps its length"):
        SRTransform(cache, on_miss="skip")
    with pytest.raises(CatalogError, match="no column photo, but image, label; name it by image="):
        rows_of(hf, folder).with_transform(SRTransform(cache, image="photo"))[0]
    with pytest.raises(CatalogError, match="expected images in column label, but a row has int"):
        rows_of(hf, folder).with_transform(SRTransform(cache, image="label"))[0]
    other = hf.Dataset.from_dict({"image": [Image.new("RGB", (16, 16))]}, features=hf.Features({"image": hf.Image()}))
    with pytest.raises(MissError, match="knows no image with the pixels of an image in column image"):
        other.with_transform(SRTransform(cache, policy="sr"))[0]
    kept = SRTransform(cache, policy="sr", on_miss="lr")
    assert other.with_transform(kept)[0]["image"].size == (8, 8)
    assert kept.counts["missed_to_lr"] == 1


@pytest.mark.parametrize("decode", [True, False])
def test_a_service_makes_what_is_missing(hf: Any, folder: Path, tmp_path: Path, decode: bool) -> None:
    with fake_service(NOISY) as service:
        served = SRTransform(tmp_path / "new", policy="sr", on_miss=service.url)
        rows = rows_of(hf, folder).cast_column("image", hf.Image(decode=decode)).with_transform(served)
        first = [row["image"].size for row in rows]
        assert [row["image"].size for row in rows] == first
    assert served.counts["fetched"] == len(rows)
    assert served.counts["sr"] == 2 * len(rows)


def test_a_transform_can_be_sent_to_other_processes(hf: Any, folder: Path) -> None:
    served = SRTransform(cache_of(folder), policy=STAGES)
    served.set_epoch(2)
    twin = pickle.loads(pickle.dumps(rows_of(hf, folder).with_transform(served)))
    assert twin[0]["image"].size == (16, 16)
