"""webdataset's own pipelines and loaders, with the stage that adds SR images: over real tar files, in workers too."""

import io
import json
import pickle
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from epoch_variants import KINDS, STAGES
from fake_service import fake_service
from PIL import Image
from srcache_plugins.webdataset import AddSR
from training_sets import NOISY

from srcache.dataset.augmented import SRAugmentedDataset
from srcache.errors import CatalogError, ConfigError, MissError, PolicyError
from srcache.images import Pixels, decode, encode
from srcache.service.remote import RemoteService

pytestmark = pytest.mark.medium


@pytest.fixture
def wds() -> Iterator[Any]:
    """webdataset, whose own advice is not what is tested here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="webdataset|torch")
        yield pytest.importorskip("webdataset")


@pytest.fixture
def shards(folder: Path) -> str:
    """The folder's images in two tar files: their own bytes as .png, the class as .cls, something as .json."""
    files = sorted(folder.rglob("*.png"))
    for shard in range(2):
        with tarfile.open(folder.parent / f"{shard}.tar", "w") as tar:
            for path in files[shard::2]:
                fields = {"png": path.read_bytes(), "cls": str("ab".index(path.parent.name)).encode()}
                for suffix, data in {**fields, "json": json.dumps({"of": path.name}).encode()}.items():
                    member = tarfile.TarInfo(f"{path.parent.name}{path.stem}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return str(folder.parent / "{0..1}.tar")


def cache_of(folder: Path) -> Path:
    return folder.parent / "cache"


def stream(wds: Any, shards: str) -> Any:
    return wds.WebDataset(shards, shardshuffle=False)


def served(folder: Path, policy: str) -> dict[str, np.ndarray]:
    """What the data set over the files serves, by the key that a sample of the image has."""
    data = SRAugmentedDataset(folder, cache_of(folder), policy=policy)
    return {data.name(index).replace("/", "").removesuffix(".png"): np.asarray(data[index][0]) for index in range(8)}


@pytest.mark.parametrize("to", ["sr.ppm", "sr.png"])
def test_a_field_is_added_that_webdataset_decodes(wds: Any, shards: str, folder: Path, to: str) -> None:
    stage = AddSR(cache_of(folder), to=to)
    samples = list(stream(wds, shards).compose(stage).decode("pil"))
    expected = served(folder, "sr")
    assert {sample["__key__"] for sample in samples} == set(expected)
    for sample in samples:
        assert np.array_equal(np.asarray(sample[to]), expected[sample["__key__"]])
        assert sample["png"].size == (16, 16)
        assert (sample["cls"], sample["json"]["of"]) == (
            "ab".index(sample["__key__"][0]),
            f"{sample['__key__'][1]}.png",
        )
    assert stage.counts["sr"] == 8


def test_a_field_of_png_may_stand_in_a_tar_file(wds: Any, shards: str, folder: Path) -> None:
    out = folder.parent / "joined.tar"
    with wds.TarWriter(str(out)) as writer:
        for sample in stream(wds, shards).compose(AddSR(cache_of(folder), to="sr.png")):
            writer.write(sample)
    with tarfile.open(out) as tar:
        assert sorted({name.partition(".")[2] for name in tar.getnames()}) == ["cls", "json", "png", "sr.png"]
        assert Image.open(tar.extractfile("a0.sr.png")).format == "PNG"


@pytest.mark.parametrize("form", ["pil", "rgb8"])
def test_samples_that_are_decoded_already_get_the_same(wds: Any, shards: str, folder: Path, form: str) -> None:
    expected = served(folder, "sr")
    for sample in stream(wds, shards).decode(form).compose(AddSR(cache_of(folder))):
        assert type(sample["sr.ppm"]) is (Image.Image if form == "pil" else np.ndarray)
        assert np.array_equal(np.asarray(sample["sr.ppm"]), expected[sample["__key__"]])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_policy_puts_the_variant_of_the_epoch_in_the_images_place(
    wds: Any, shards: str, folder: Path, workers: int, method: str
) -> None:
    stage = AddSR(cache_of(folder), policy=STAGES, to=None)
    pipeline = stream(wds, shards).compose(stage).decode("torchrgb8").to_tuple("png", "cls").batched(2)
    given = {"num_workers": workers, "multiprocessing_context": method if workers else None}
    loader = wds.WebLoader(pipeline, batch_size=None, persistent_workers=bool(workers), **given)
    for epoch in range(3):
        stage.set_epoch(epoch)
        batches = list(loader)
        assert {KINDS[images.shape[-1]] for images, _ in batches} == {["lr", "sr", "hr"][epoch]}
        assert sum(len(labels) for _, labels in batches) == 8
        assert all(images.dtype == torch.uint8 for images, _ in batches)
    assert {kind: stage.counts[kind] for kind in ("lr", "sr", "hr")} == {"lr": 8, "sr": 8, "hr": 8}


def test_variants_are_those_of_the_data_set_over_the_files(wds: Any, shards: str, folder: Path) -> None:
    policy = "lr=0.3,sr=0.4,hr=0.3"
    expected = served(folder, policy)
    samples = stream(wds, shards).compose(AddSR(cache_of(folder), policy=policy, to=None)).decode("rgb8")
    assert all(np.array_equal(sample["png"], expected[sample["__key__"]]) for sample in samples)


def foreign(number: int) -> dict[str, Any]:
    """A sample that no cache knows."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "PNG")
    return {"__key__": f"x{number}", "__url__": "x.tar", "png": file.getvalue(), "cls": b"1"}


def test_a_miss_is_said_dropped_kept_or_replaced_and_counted(wds: Any, shards: str, folder: Path) -> None:
    known = list(stream(wds, shards))[:2]
    samples = [known[0], foreign(1), foreign(2), known[1]]
    with pytest.raises(MissError, match=r"of x1 of x\.tar"):
        list(AddSR(cache_of(folder))(samples))
    stages = {on_miss: AddSR(cache_of(folder), on_miss=on_miss) for on_miss in ("drop", "keep", "lr", "hr")}
    given = {on_miss: list(stage(samples)) for on_miss, stage in stages.items()}
    assert [sample["__key__"] for sample in given["drop"]] == [known[0]["__key__"], known[1]["__key__"]]
    assert ["sr.ppm" in sample for sample in given["keep"]] == [True, False, False, True]
    assert given["keep"][1] == samples[1]
    assert [Image.open(io.BytesIO(sample["sr.ppm"])).size for sample in given["lr"]] == [
        (32, 32),
        (4, 4),
        (4, 4),
        (32, 32),
    ]
    assert [stages[name].counts["skipped"] for name in ("drop", "keep", "lr")] == [2, 2, 0]
    assert stages["lr"].counts["missed_to_lr"] == stages["hr"].counts["missed_to_hr"] == 2
    assert "sr.ppm" not in samples[0], "what came in is not changed"


def test_mistakes_are_said_in_words(wds: Any, shards: str, folder: Path) -> None:
    cache = cache_of(folder)
    with pytest.raises(ConfigError, match=r"to= must end in \.ppm or \.png, or be None, but is 'sr'"):
        AddSR(cache, to="sr")
    with pytest.raises(
        ConfigError,
        match=r"on_miss must be one of raise, lr, hr, drop, keep, or .* but is 'engine'",
    ):
        AddSR(cache, on_miss="engine")
    with pytest.raises(PolicyError, match="names sample 4"):
        AddSR(cache, policy="sr#4")
    with pytest.raises(CatalogError, match=r"of .*0\.tar has no image in tif, but the fields png, cls, json; .*image="):
        list(AddSR(cache, image="tif")(list(stream(wds, shards))))
    with pytest.raises(CatalogError, match=r"field png of sample .* is a Tensor of torch\.float32.*before decode"):
        list(AddSR(cache)(list(stream(wds, shards).decode("torchrgb"))))


def test_a_stage_can_be_sent_to_other_processes(folder: Path) -> None:
    stage = AddSR(cache_of(folder), policy="0: lr; 1: sr")
    stage.set_epoch(1)
    twin = pickle.loads(pickle.dumps(stage))
    (sample,) = twin([{"png": (folder / "a" / "0.png").read_bytes()}])
    assert Image.open(io.BytesIO(sample["sr.ppm"])).size == (32, 32)


def test_a_service_makes_what_is_missing(tmp_path: Path, make_image: Callable[..., Pixels]) -> None:
    data = encode(make_image(8, 12, 1), "png")
    with fake_service(NOISY) as service:
        stage = AddSR(tmp_path / "cache", on_miss=service.url)
        (sample,) = stage([{"__key__": "one", "png": data}])
        assert decode(sample["sr.ppm"]).shape == (16, 24, 3)
        assert stage.counts["fetched"] == 1
    remote = RemoteService("http://127.0.0.1:9", fallback="lr")
    stage = AddSR(tmp_path / "cache", on_miss=remote)
    other = encode(make_image(8, 12, 2), "png")
    kept = list(stage([{"__key__": "one", "png": data}, {"__key__": "two", "png": other}]))
    assert [decode(sample["sr.ppm"]).shape for sample in kept] == [(16, 24, 3), (8, 12, 3)]
    assert stage.counts["missed_to_lr"] == 1
