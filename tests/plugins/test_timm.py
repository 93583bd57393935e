"""timm's own loaders, over its ImageDataset with srcache's reader and over the data set itself, on the processor."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from epoch_variants import STAGES, open_staged
from PIL import Image
from srcache_plugins.timm import SRReader

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, MissError

pytestmark = pytest.mark.medium


@pytest.fixture
def timm_data() -> Iterator[Any]:
    """timm.data, whose own deprecations are not what is tested here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="timm|torch")
        yield pytest.importorskip("timm.data")


def opened(folder: Path, policy: str = STAGES, **given: Any) -> SRAugmentedDataset:
    return SRAugmentedDataset(folder, folder.parent / "cache", policy=policy, **given)


def loader(timm_data: Any, dataset: Any, size: int, **given: Any) -> Any:
    """A loader that changes no pixel of images of this size, but for normalisation to [0, 1]."""
    settings = {"is_training": True, "no_aug": True, "mean": (0, 0, 0), "std": (1, 1, 1), "num_workers": 0}
    with_prefetcher = {"use_prefetcher": True, "device": torch.device("cpu")}
    return timm_data.create_loader(
        dataset, input_size=(3, size, size), batch_size=2, **{**settings, **with_prefetcher, **given}
    )


@pytest.mark.parametrize("prefetcher", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_dataset_trains_from_the_cache_by_epoch(
    timm_data: Any, folder: Path, prefetcher: bool, workers: int
) -> None:
    reader = SRReader(opened(folder))
    dataset = timm_data.ImageDataset(str(folder), reader=reader)
    batches = loader(timm_data, dataset, 32, num_workers=workers, use_prefetcher=prefetcher)
    for epoch, kind in enumerate(["lr", "sr", "hr"]):
        before = reader.counts[kind]
        reader.set_epoch(epoch)
        labels = [label for images, targets in batches for label in targets.tolist()]
        assert sorted(labels) == [0] * 4 + [1] * 4
        assert reader.counts[kind] == before + 8
    assert reader.counts["lr"] == reader.counts["sr"] == 8


@pytest.mark.parametrize("prefetcher", [False, True])
def test_a_loader_over_the_data_set_itself_sets_its_transform(timm_data: Any, folder: Path, prefetcher: bool) -> None:
    data = opened(folder, "sr")
    assert data.transform is None
    batches = loader(timm_data, data, 32, use_prefetcher=prefetcher, is_training=False, crop_pct=1)
    assert data.transform is not None
    images = torch.cat([images for images, _ in batches])
    expected = np.stack([np.asarray(opened(folder, "sr")[index][0]) for index in range(8)])
    assert torch.equal((images * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(expected))


def test_workers_of_a_loader_that_persist_follow_the_epoch(timm_data: Any, folder: Path) -> None:
    data = opened(folder)
    batches = loader(timm_data, data, 16, num_workers=2, use_prefetcher=False)
    for epoch in range(3):
        data.set_epoch(epoch)
        assert len(list(batches)) == 4
    assert {kind: data.counts[kind] for kind in ("lr", "sr", "hr")} == {"lr": 8, "sr": 8, "hr": 8}


def test_augmentations_in_several_views_take_the_data_set(timm_data: Any, folder: Path) -> None:
    views = timm_data.AugMixDataset(opened(folder, "sr"), num_splits=2)
    batches = loader(timm_data, views, 32, num_aug_splits=2, no_aug=False, auto_augment="augmix-m3-w3")
    images, targets = next(iter(batches))
    assert images.shape == (4, 3, 32, 32)
    assert len(targets) == 4


def test_what_timm_reads_is_what_the_data_set_serves(timm_data: Any, folder: Path) -> None:
    for policy, side in (("lr", 8), ("sr", 32), ("hr", 16)):
        data = opened(folder, policy)
        dataset = timm_data.ImageDataset(str(folder), reader=SRReader(opened(folder, policy)))
        for index in range(len(data)):
            assert np.array_equal(np.asarray(dataset[index][0]), np.asarray(data[index][0]))
            assert dataset[index][1] == data[index][1]
        assert dataset[0][0].size == (side, side)
    sized = timm_data.ImageDataset(str(folder), reader=SRReader(opened(folder, "lr", size=(20, 12))))
    assert sized[0][0].size == (12, 20)


def test_an_image_of_one_pixel_and_its_bytes_are_read_whole(timm_data: Any, folder: Path) -> None:
    Image.new("RGB", (1, 3), (10, 13, 35)).save(folder / "a" / "0.png")  # 10 and 13: what ends a header's line
    reader = SRReader(SRAugmentedDataset(folder, folder.parent / "cache", policy="hr", size="mixed"))
    image = Image.open(reader[0][0])
    assert (image.size, image.getpixel((0, 0))) == ((1, 3), (10, 13, 35))
    raw = timm_data.ImageDataset(str(folder), reader=reader, load_bytes=True)[0][0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(raw))), np.asarray(image))


def test_names_labels_and_classes_are_the_readers_own(timm_data: Any, folder: Path) -> None:
    reader = SRReader(opened(folder))
    dataset = timm_data.ImageDataset(str(folder), reader=reader)
    own = timm_data.ImageDataset(str(folder))
    assert dataset.filenames() == own.filenames()
    assert dataset.filename(1, basename=True) == own.filename(1, basename=True)
    assert reader.class_to_idx == own.reader.class_to_idx
    assert [dataset[index][1] for index in range(8)] == [own[index][1] for index in range(8)]
    with pytest.raises(CatalogError, match="absolute=False"):
        dataset.filename(0, absolute=True)


def test_a_missing_image_is_an_error_and_not_skipped(timm_data: Any, folder: Path) -> None:
    Image.new("RGB", (16, 16)).save(folder / "a" / "new.png")
    dataset = timm_data.ImageDataset(str(folder), reader=SRReader(opened(folder, "sr")))
    with pytest.raises(MissError, match=r"a/new\.png"):
        [dataset[index] for index in range(len(dataset))]


def test_what_timm_could_not_transform_is_refused(folder: Path) -> None:
    with pytest.raises(CatalogError, match="has a transform already"):
        SRReader(open_staged(folder))
    with pytest.raises(CatalogError, match="expected an SRAugmentedDataset, but got str"):
        SRReader(str(folder))  # type: ignore[arg-type]
