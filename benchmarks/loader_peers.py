"""Every loader that is measured, opened the way its own documents say, all to the same work.

Each gives batches of 64 images as uint8 tensors (N, 3, H, W) with their labels, every image once per epoch, shuffled
where the format can, with as many workers (processes or threads, as the loader has them). None makes floats or changes
pixels, and each keeps what it may from epoch to epoch: worker processes, compiled code.

`memmap` is no loader: it copies rows of a mapped file into one batch that is used again and again, which is as fast as
anything that reads can be.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.loader_data import (
    SHARDS,
    LoaderData,
    write_arrow,
    write_cache,
    write_lr,
    write_npy,
    write_png,
    write_tars,
)
from benchmarks.record import fresh

BATCH, WORKERS = 64, 2

Batches = Iterable[tuple[Tensor, Any]]
Opener = Callable[[LoaderData, int], Callable[[], Batches]]
"""From the images and a number of workers to what gives an epoch's batches at each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A loader with a payload that it reads.

    Attributes:
        name: what it is called on the command line.
        title: in tables.
        payload: which images may be compared: `jpeg` (the same bytes), `lossless`, `raw`, or `mixture` (QOI of SR, and
            JPEG of LR).
        write: makes its files, once.
        open: opens them with that many workers.
        missing: what it needs and this machine lacks, in words; empty if nothing.
    """

    name: str
    title: str
    payload: str
    write: Callable[[LoaderData], object]
    open: Opener
    missing: Callable[[], str]


def _needs(statement: str) -> Callable[[], str]:
    """What goes wrong if a process runs a statement that loads what a peer needs; nothing is loaded here."""

    def missing() -> str:
        if not statement:
            return ""
        try:
            fresh(statement)
        except RuntimeError as error:
            return str(error).splitlines()[-1]
        return ""

    return cache(missing)


def _loader(data: Dataset[Any], workers: int) -> DataLoader[Any]:
    return DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)


def _again(batches: Batches) -> Callable[[], Batches]:
    return lambda: batches


def _each_epoch(served: Any, batches: Batches) -> Callable[[], Batches]:
    """The same batches' loader, with the next epoch's choices at each call."""
    epochs = count()

    def epoch() -> Batches:
        served.set_epoch(next(epochs))
        return batches

    return epoch


def _image_folder(kind: str) -> Opener:
    def open_folder(data: LoaderData, workers: int) -> Callable[[], Batches]:
        from torchvision.datasets import ImageFolder
        from torchvision.transforms.v2 import PILToTensor

        return _again(_loader(ImageFolder(str(data.root / kind), PILToTensor()), workers))

    return open_folder


def _webdataset(folder: str, member: str) -> Opener:
    """Shards in random order and a buffer of 1,000 samples, batches made by the workers."""

    def open_tars(data: LoaderData, workers: int) -> Callable[[], Batches]:
        import webdataset

        tars = sorted(map(str, (data.root / folder).glob("*.tar")))
        samples = webdataset.WebDataset(tars, shardshuffle=len(tars), empty_check=False).shuffle(1000)
        batches = samples.decode("torchrgb8").to_tuple(member, "cls").batched(BATCH)
        return _again(webdataset.WebLoader(batches, batch_size=None, num_workers=workers, persistent_workers=True))

    return open_tars


def _arrow(data: LoaderData, workers: int) -> Callable[[], Batches]:
    import datasets

    rows = datasets.load_from_disk(str(data.root / "arrow")).with_format("torch")
    loader = _loader(rows, workers)
    return lambda: ((batch["image"], batch["label"]) for batch in loader)


def _dataset(folder: str) -> Opener:
    def open_dataset(data: LoaderData, workers: int) -> Callable[[], Batches]:
        from torchvision.transforms.v2 import PILToTensor

        from srcache import SRAugmentedDataset

        served = SRAugmentedDataset(data.root / "jpg", data.root / folder, policy="sr", transform=PILToTensor())
        return _again(_loader(served, workers))

    return open_dataset


def _srloader(folder: str) -> Opener:
    def open_loader(data: LoaderData, workers: int) -> Callable[[], Batches]:
        import srcache

        served = srcache.SRAugmentedDataset(data.root / "jpg", data.root / folder, policy="sr")
        return _again(srcache.SRLoader(served, batch_size=BATCH, shuffle=True, num_workers=workers))

    return open_loader


def _mixture(policy: str) -> Opener:
    """SRLoader over LR images and their SR, by a policy that serves images of SR's size."""

    def open_loader(data: LoaderData, workers: int) -> Callable[[], Batches]:
        import srcache

        served = srcache.SRAugmentedDataset(data.root / "lr", data.root / "lmdb-qoi-lr", policy=policy)
        return _each_epoch(served, srcache.SRLoader(served, batch_size=BATCH, shuffle=True, num_workers=workers))

    return open_loader


def _cropped(policy: str) -> Opener:
    """The same images in a DataLoader, each cropped at random, enlarged and flipped, as trainings of classifiers do."""

    def open_loader(data: LoaderData, workers: int) -> Callable[[], Batches]:
        from torchvision.transforms import v2

        from srcache import SRAugmentedDataset

        crop = v2.Compose([v2.RandomResizedCrop(data.side), v2.RandomHorizontalFlip(), v2.PILToTensor()])
        served = SRAugmentedDataset(data.root / "lr", data.root / "lmdb-qoi-lr", policy=policy, transform=crop)
        return _each_epoch(served, _loader(served, workers))

    return open_loader


def _ffcv(kind: str) -> Opener:
    def open_beton(data: LoaderData, workers: int) -> Callable[[], Batches]:
        from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import ToTensor, ToTorchImage

        return _again(
            Loader(
                str(data.root / f"{kind}.beton"),
                batch_size=BATCH,
                num_workers=workers,
                os_cache=True,
                order=OrderOption.RANDOM,
                drop_last=False,
                pipelines={
                    "image": [SimpleRGBImageDecoder(), ToTensor(), ToTorchImage()],
                    "label": [IntDecoder(), ToTensor()],
                },
            )
        )

    return open_beton


def write_beton(data: LoaderData, kind: str) -> None:
    """FFCV's file: `jpg` with the very bytes of the folder's files, `raw` with pixels."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES
    from ffcv.writer import DatasetWriter

    field = RGBImageField(write_mode=kind)

    def store(destination: Any, image: Any, malloc: Any) -> None:
        destination["mode"], destination["height"], destination["width"] = IMAGE_MODES[kind], data.side, data.side
        destination["data_ptr"], storage = malloc(image.size)
        storage[:] = image.reshape(-1)

    field.encode = store

    def write(path: Path) -> None:
        fields = {"image": field, "label": IntField()}
        DatasetWriter(str(path), fields, num_workers=WORKERS).from_indexed_dataset(_BetonSource(data, kind))

    data.write_once(f"{kind}.beton", write)


class _BetonSource:
    """What FFCV's writer asks for its samples: the bytes to store, and the label."""

    def __init__(self, data: LoaderData, kind: str) -> None:
        self._data, self._kind = data, kind

    def __len__(self) -> int:
        return self._data.count

    def __getitem__(self, number: int) -> tuple[Any, int]:
        label = self._data.label(int(number))
        if self._kind == "raw":
            return self._data.pixels()[number], label
        return np.frombuffer(self._data.file("jpg", int(number)).read_bytes(), np.uint8), label


def _spdl(kind: str) -> Opener:
    """A pipeline of threads, each of which makes a batch at a time, as in SPDL's own image example."""

    def open_pipeline(data: LoaderData, workers: int) -> Callable[[], Batches]:
        import spdl.io
        from spdl.pipeline import PipelineBuilder

        files, size = [str(file) for file in data.files(kind)], data.side
        filters = spdl.io.get_video_filter_desc(pix_fmt="rgb24")

        def decode(numbers: list[int]) -> tuple[Tensor, Tensor]:
            labels = torch.tensor([data.label(number) for number in numbers])
            if kind == "npy":
                arrays = [spdl.io.load_npy(Path(files[number]).read_bytes()) for number in numbers]
                return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2), labels
            images = [files[number] for number in numbers]
            buffer = spdl.io.load_image_batch(images, width=size, height=size, filter_desc=filters)
            return spdl.io.to_torch(buffer).permute(0, 3, 1, 2), labels

        def epoch() -> Iterator[tuple[Tensor, Tensor]]:
            builder = PipelineBuilder().add_source(torch.randperm(data.count).tolist()).aggregate(BATCH)
            pipeline = builder.pipe(decode, concurrency=workers).add_sink(workers).build(num_threads=workers)
            with pipeline.auto_stop():
                yield from pipeline.get_iterator()

        return epoch

    return open_pipeline


def _memmap(data: LoaderData, workers: int) -> Callable[[], Batches]:
    rows = data.pixels()
    batch = np.empty((BATCH, *rows.shape[1:]), np.uint8)

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
        for numbers in torch.randperm(data.count).split(BATCH):
            found = batch[: len(numbers)]
            np.take(rows, numbers.numpy(), axis=0, out=found, mode="clip")
            yield torch.from_numpy(found).permute(0, 3, 1, 2), numbers % 10

    return epoch


def _write_joined(data: LoaderData) -> None:
    """The cache of JPEG images through `srcache export --join`, in about as many tars as webdataset's own."""
    source, size = write_cache(data, "jpg"), sum(path.stat().st_size for path in data.files("jpg"))

    def write(path: Path) -> None:
        words = ["export", str(source), str(path), "--join", "--shard-bytes", str(size // SHARDS)]
        subprocess.run([sys.executable, "-m", "srcache_cli.main", *words], check=True, stdout=subprocess.DEVNULL)

    data.write_once("joined", write)


def _peer(name: str, title: str, payload: str, write: Any, opened: Any, needs: str = "") -> Peer:
    return Peer(name=name, title=title, payload=payload, write=write, open=opened, missing=_needs(needs))


def _cached(codec: str, kind: str = "lmdb") -> Callable[[LoaderData], object]:
    return lambda data: write_cache(data, codec, kind)


_CROPPED = "SRAugmentedDataset in a DataLoader that crops and flips"
_FFCV = "import ffcv.loader, ffcv.writer"
_SPDL = "import spdl.io, spdl.pipeline; spdl.io.demux_config()"
PEERS = {
    peer.name: peer
    for peer in (
        _peer("imagefolder-jpeg", "ImageFolder", "jpeg", lambda data: None, _image_folder("jpg")),
        _peer("webdataset", "webdataset", "jpeg", write_tars, _webdataset("tars", "jpg"), "import webdataset"),
        _peer("hf", "HF datasets", "jpeg", write_arrow, _arrow, "import datasets"),
        _peer("dataset-jpeg", "SRAugmentedDataset in a DataLoader", "jpeg", _cached("jpg"), _dataset("lmdb-jpg")),
        _peer("ffcv-jpeg", "FFCV", "jpeg", lambda data: write_beton(data, "jpg"), _ffcv("jpg"), _FFCV),
        _peer("spdl-jpeg", "SPDL", "jpeg", lambda data: None, _spdl("jpg"), _SPDL),
        _peer("srloader-jpeg", "SRLoader", "jpeg", _cached("jpg"), _srloader("lmdb-jpg")),
        _peer("srloader-shards", "SRLoader, shards", "jpeg", _cached("jpg", "shards"), _srloader("shards-jpg")),
        Peer(
            name="webdataset-joined",
            title="webdataset, tars by `srcache export --join`",
            payload="jpeg",
            write=_write_joined,
            open=_webdataset("joined", "sr000.jpg"),
            missing=_needs("import webdataset"),
        ),
        _peer("imagefolder-png", "ImageFolder", "lossless", write_png, _image_folder("png")),
        _peer("dataset-qoi", "SRAugmentedDataset in a DataLoader", "lossless", _cached("qoi"), _dataset("lmdb-qoi")),
        _peer("srloader-qoi", "SRLoader", "lossless", _cached("qoi"), _srloader("lmdb-qoi")),
        _peer("dataset-ppm", "SRAugmentedDataset in a DataLoader", "raw", _cached("ppm"), _dataset("lmdb-ppm")),
        _peer("ffcv-raw", "FFCV", "raw", lambda data: write_beton(data, "raw"), _ffcv("raw"), _FFCV),
        _peer("spdl-raw", "SPDL, .npy files", "raw", write_npy, _spdl("npy"), _SPDL),
        _peer("srloader-ppm", "SRLoader", "raw", _cached("ppm"), _srloader("lmdb-ppm")),
        *(
            _peer(f"{kind}-{name}", f"{title}, {policy}", "mixture", write_lr, opened(policy))
            for kind, title, opened in (("srloader", "SRLoader", _mixture), ("dataset", _CROPPED, _cropped))
            for name, policy in {"sr": "sr", "patch": "patch(lr,sr)", "blend": "blend(lr,sr)"}.items()
        ),
        _peer("memmap", "np.memmap into one batch: the limit", "raw", lambda data: None, _memmap),
    )
}
"""Every loader, by name."""
