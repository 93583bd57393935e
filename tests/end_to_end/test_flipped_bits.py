"""One bit of a stored image is flipped: whoever reads it says so, and nobody passes it on, from either kind of store.

The readers that are listed here are all that there are. A function of srcache that comes to read payloads gets a line.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import torch
from images import picture
from PIL import Image
from service_client import running
from srcache_cli.main import run
from srcache_plugins.hf_datasets import SRTransform
from srcache_plugins.timm import SRReader
from srcache_plugins.webdataset import AddSR
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from srcache import SRLoader
from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.transform import SRAugment
from srcache.errors import ChecksumError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import decode
from srcache.keys import entry_name, file_key
from srcache.recipe.reading import load_recipe
from srcache.server.gallery.gallery import GallerySettings, OpenGallery
from srcache.stores import Store
from srcache.study.arms.arms import arm_dataset

IMAGES, SIDE = 4, 8
FOLDERS = ("lr", "hr", "more")
STORES = {"lmdb": {}, "pixels in lmdb": {"codec": "ppm"}, "shards": {"store": "shards"}}
TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


class Case(NamedTuple):
    """A folder with `lr`, `hr`, `more` and `cache`, in which the image `file`, stored as `entry`, has a flipped bit."""

    kind: str
    home: Path
    file: Path
    entry: str

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def files(self) -> list[Path]:
        return sorted((self.home / "lr").rglob("*.png"))

    def data(self, **given: Any) -> SRAugmentedDataset:
        return SRAugmentedDataset(self.home / "lr", self.cache, policy="sr", **given)

    def store(self) -> Store:
        return open_cache(self.cache).find().store()


def flip(cache: Path, entry: str, where: float, bit: int = 1) -> None:
    """Flip a bit of an entry's payload, so far from its start (0) to its end (1), in every copy that the file has."""
    folder = open_cache(cache).find()
    with closing(folder.store()) as store:
        payload = store.get(entry) or b""
    files = [folder.store_path / "data.mdb", *folder.store_path.glob("*.tar")]
    (file,) = [path for path in files if path.exists() and payload in path.read_bytes()]
    place, flipped = round(where * (len(payload) - 1)), bytearray(payload)
    flipped[place] ^= bit
    file.write_bytes(file.read_bytes().replace(payload, flipped))


def made(home: Path, kind: str) -> Path:
    """The folder of a case, in which nothing is flipped yet."""
    for number in range(2 * IMAGES):
        for name, factor in (("lr", 1), ("hr", 2)) if number < IMAGES else (("more", 1),):
            path = home / name / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(factor * SIDE, factor * SIDE, number)).save(path)
    (home / "bicubic.yaml").write_text("engine: resample\nscale: 2\n")
    for name in ("more", "lr"):
        settings = FillSettings(device="cpu", **STORES[kind])
        fill(scan(home / name), load_recipe(home / "bicubic.yaml"), home / "cache", settings)
    return home


@pytest.fixture(scope="module", params=STORES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    home = made(tmp_path_factory.mktemp("flipped"), request.param)
    file = home / "lr/a/2.png"
    entry = entry_name(file_key(file), 0)
    flip(home / "cache", entry, 0.6)
    return Case(request.param, home, file, entry)


def in_view(case: Case, many: bool) -> None:
    with closing(case.store()) as store, store.view() as view:
        view.get_many(list(store.names())) if many else view.get(case.entry)


def in_loader(case: Case, workers: int) -> None:
    batches: Any = iter(DataLoader(case.data(transform=TENSOR), batch_size=2, num_workers=workers))
    try:
        list(batches)
    finally:
        with pytest.MonkeyPatch.context() as patch:  # torch waits five seconds for what was left in the middle
            patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
            if workers:
                batches._shutdown_workers()


def pictures(case: Case) -> Iterator[Image.Image]:
    return (Image.fromarray(decode(path.read_bytes())) for path in case.files)


def samples(case: Case) -> list[dict[str, Any]]:
    return [{"__key__": path.stem, "png": path.read_bytes()} for path in case.files]


def in_arm(case: Case) -> None:
    data = arm_dataset("sr", lr=case.home / "lr", cache=case.cache, recipe="bicubic")
    [data[index] for index in range(IMAGES)]


def in_gallery(case: Case) -> None:
    with OpenGallery(GallerySettings(cache=case.cache)) as opened:
        (damaged,) = [item for at in range(2 * IMAGES) if (item := opened.gallery.item(at))["state"]]
        assert (damaged["entry"], damaged["state"]) == (case.entry, "damaged")
        for row in opened.gallery.index.rows:
            opened.gallery.pictures.pixels(row, "sr")


READERS: dict[str, Callable[[Case], object]] = {
    "a store": lambda case: case.store().get(case.entry),
    "a view of a store": lambda case: in_view(case, many=False),
    "a view of many": lambda case: in_view(case, many=True),
    "the data set": lambda case: case.data()[1],
    "the data set's batches": lambda case: case.data().__getitems__(range(IMAGES)),
    "the data set that may make images": lambda case: case.data(on_miss="engine")[1],
    "the data set that may serve LR": lambda case: case.data(on_miss="lr")[1],
    "a DataLoader": lambda case: in_loader(case, 0),
    "a DataLoader's worker": lambda case: in_loader(case, 1),
    "SRLoader": lambda case: list(SRLoader(case.data(transform=TENSOR), batch_size=2)),
    "SRLoader's threads": lambda case: list(SRLoader(case.data(transform=TENSOR), batch_size=2, num_workers=1)),
    "SRAugment": lambda case: [SRAugment(case.cache, policy="sr")(image) for image in pictures(case)],
    "a Hugging Face data set": lambda case: SRTransform(case.cache, policy="sr")({"image": [*pictures(case)]}),
    "webdataset": lambda case: list(AddSR(case.cache)(samples(case))),
    "timm": lambda case: [SRReader(case.data())[index] for index in range(IMAGES)],
    "an arm of a study": in_arm,
    "a gallery": lambda case: in_gallery(case),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_names_the_cache_the_entry_and_what_to_do(case: Case, reader: str) -> None:
    if reader == "the data set that may make images" and case.kind == "shards":
        pytest.skip("a cache of shards takes no images from a training")
    with pytest.raises(ChecksumError) as caught:
        READERS[reader](case)
    said = str(caught.value)
    assert f"{case.entry} in {case.cache}/" in said
    assert "run `srcache repair`, which drops it, and `srcache build`, which makes it again" in said


COMMANDS = {
    "export": "export {cache} {out}",
    "export names": "export {cache} {out} --names",
    "export shards": "export {cache} {out} --format shards",
    "export lmdb": "export {cache} {out} --format lmdb",
    "export join": "export {cache} {out} --join --lr {lr}",
    "export hf": "export {cache} {out} --format hf --lr {lr}",
    "merge": "merge {cache} --into {out}",
    "safety": "safety {cache} --lr {lr}",
    "eval images": "eval images --reference {hr} --test {cache} --out {out}",
    "eval images compare": "eval images --reference {hr} --compare {cache} {cache} --out {out}",
    "train": "train --lr {lr} --validation {more} --arm sr --cache {cache} --out {out} --set epochs=1 --set size=16"
    " --set network=small:2 --set device=cpu",
}


@pytest.mark.medium
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_the_exit_code_of_damage(
    case: Case, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if case.kind == "pixels in lmdb" or (
        case.kind == "shards" and command in ("train", "eval images", "eval images compare")
    ):
        pytest.skip("what they read is compared by the same lines")
    cache, out = Path(shutil.copytree(case.cache, tmp_path / "cache")), tmp_path / "out"
    words = COMMANDS[command].format(cache=cache, out=out, **{name: case.home / name for name in FOLDERS})
    assert run(words.split()) == 3
    said = capfd.readouterr().err
    assert case.entry in said or str(case.file.relative_to(case.home / "lr")) in said
    assert "repair" in said or str(cache) in said
    with closing(case.store()) as store:
        whole = {name: store.get(name) for name in store.names() if name != case.entry}
    if (out / "srcache.json").exists():
        with closing(open_cache(out).find().store()) as store:
            assert set(store.names()) == set(whole)


def test_a_build_finds_everything_there_and_a_service_refuses_the_image(case: Case) -> None:
    """A build looks at names; what it would make is made after `repair` has dropped what is damaged."""
    recipe = str(case.home / "bicubic.yaml")
    assert fill(scan(case.home / "lr"), load_recipe(recipe), case.cache).stored == IMAGES
    with running(case.cache, [recipe]) as service:
        answers = {path: service.client.get(f"/v1/sr/{file_key(path)}") for path in case.files}
        posted = service.ask(case.file.read_bytes())
    damaged = [answers.pop(case.file), posted]
    assert {answer.status_code for answer in answers.values()} == {httpx.codes.OK}
    assert [(one.status_code, one.json()["error"]["reason"]) for one in damaged] == [(503, "damaged")] * 2


@pytest.mark.parametrize("kind", STORES)
def test_no_flip_of_a_payload_is_served(kind: str, tmp_path: Path) -> None:
    home, rng = made(tmp_path / "home", kind), random.Random(kind)
    names = [entry_name(file_key(path), 0) for path in sorted((home / "lr").rglob("*.png"))]
    places = [0.0, 1.0, *(rng.random() for _ in range(2))]
    for number, (where, name) in enumerate(product(places, names[:2])):
        cache = Path(shutil.copytree(home / "cache", tmp_path / f"cache {number}"))
        flip(cache, name, where, 1 << rng.randrange(8))
        data = SRAugmentedDataset(home / "lr", cache, policy="sr")
        wrong = list[str]()
        for index in range(IMAGES):
            try:
                data[index]
            except ChecksumError as error:
                wrong.append(str(error))
        assert len(wrong) == 1
        assert name in wrong[0]
        shutil.rmtree(cache)


def test_pixels_that_lie_in_the_file_are_compared_when_each_process_first_reads_them(tmp_path: Path) -> None:
    """What happens to the file later is found by the next process, or by `verify`."""
    home = made(tmp_path, "pixels in lmdb")
    data = SRAugmentedDataset(home / "lr", home / "cache", policy="sr")
    first = np.asarray(data[0][0])
    flip(home / "cache", entry_name(file_key(home / "lr/a/0.png"), 0), 0.5)
    assert np.asarray(data[0][0]).shape == first.shape
    with pytest.raises(ChecksumError):
        SRAugmentedDataset(home / "lr", home / "cache", policy="sr")[0]
