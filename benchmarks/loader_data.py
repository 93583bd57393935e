"""The images that loaders are measured with: crops of real photos, the same ones in every format.

Photos are those of `plugins/compact/photos.csv` (about 4 megapixels each) where SRCACHE_PHOTOS names a folder for their
Debian packages, else the colour photos inside scikit-image, of which most are small. Crops differ in place, size and
orientation; each is reduced to the wanted side (Lanczos) and turned into JPEG once. Whatever holds JPEG images (folder,
tars, Arrow, beton, caches) holds those bytes, so that loaders differ in nothing but how they read. SR entries of a
cache are stored under the keys of the JPEG folder's files; what SR of them would look like is of no interest here.

A format is written into a folder of another name and renamed at the end, so a killed run leaves nothing half done.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.entries import made_entry
from srcache.cache.manifest import create_cache
from srcache.catalog.scanning import scan
from srcache.images import Pixels, encode, resize
from srcache.keys import image_key
from srcache.recipe.reading import resolve
from srcache.stores import Entry

CLASSES = 10
QUALITY = 95
"""Of JPEG, 4:2:0."""
SMALLER = 4
"""How many times smaller LR images are than SR."""
SHARDS = 8
"""Tars that WebDataset's images are in."""
_GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderData:
    """A folder with the same images in many formats.

    Attributes:
        root: the folder.
        side: height and width of every image.
        count: how many there are.
    """

    root: Path
    side: int
    count: int

    def label(self, number: int) -> int:
        """The class of an image."""
        return number % CLASSES

    def file(self, kind: str, number: int) -> Path:
        """An image's file in the folder of a kind (`jpg`, `lr`, `png` or `npy`), as ImageFolder wants it."""
        suffix = "jpg" if kind == "lr" else kind
        return self.root / kind / f"class{self.label(number)}" / f"{number:06d}.{suffix}"

    def files(self, kind: str) -> list[Path]:
        """The files of a kind, by number."""
        return [self.file(kind, number) for number in range(self.count)]

    def pixels(self) -> NDArray[np.uint8]:
        """All images (count, side, side, 3), mapped from the file."""
        found: NDArray[np.uint8] = np.load(self.root / "raw.npy", mmap_mode="r")
        return found

    def mean(self) -> float:
        """The mean of all images' middle pixels, green, by which a loader shows that it has read them all."""
        middle = self.side // 2
        return float(self.pixels()[:, middle, middle, 1].mean())

    def write_once(self, name: str, write: Callable[[Path], None]) -> Path:
        """A file or folder of the data, made if it is not there."""
        path, new = self.root / name, self.root / f"new-{name}"
        if not path.exists():
            shutil.rmtree(new, ignore_errors=True)
            new.unlink(missing_ok=True)
            print(f"     writing {path}", flush=True)
            write(new)
            new.rename(path)
        return path


def open_data(work: Path, side: int, count: int) -> LoaderData:
    """The folder for images of a size, with the crops and their JPEG files made."""
    data = LoaderData(root=work / f"{side}x{count}", side=side, count=count)
    data.root.mkdir(parents=True, exist_ok=True)
    data.write_once("raw.npy", lambda path: _write_crops(data, path))
    data.write_once("jpg", lambda path: _write_files(data, path, "jpg"))
    return data


def originals() -> list[Pixels]:
    """The photos that crops are cut from; packages are fetched if SRCACHE_PHOTOS is set and they are not there."""
    from benchmarks.bench_compact import card_images
    from benchmarks.train_compact import photos

    folder = os.environ.get("SRCACHE_PHOTOS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [rgb for split in ("train", "held-out") for _, rgb in photos(Path(folder), split)]
    print("     crops of scikit-image's few photos; SRCACHE_PHOTOS=FOLDER fetches larger ones from Debian", flush=True)
    found = [rgb for *_, rgb in card_images(None)]
    if not found:
        raise SystemExit("no photos: pip install scikit-image, or set SRCACHE_PHOTOS to a folder on a Debian system")
    return found


def crops(side: int, count: int) -> Iterator[Pixels]:
    """Crops of the photos in turn, by number: always the same, and all different."""
    sources, seen = originals(), set[str]()
    for number in range(count):
        rng = np.random.default_rng((side, number))
        crop = _crop(sources[number % len(sources)], side, rng)
        while (key := image_key(crop.tobytes())) in seen:
            crop = _crop(sources[number % len(sources)], side, rng)
        seen.add(key)
        yield crop


def _crop(rgb: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    longest = min(rgb.shape[:2])
    window = int(rng.uniform(min(side, 0.7 * longest), min(2.5 * side, longest)))
    top, left = (int(rng.integers(size - window + 1)) for size in rgb.shape[:2])
    cut = rgb[top : top + window, left : left + window]
    return resize(np.ascontiguousarray(cut[:, ::-1] if rng.integers(2) else cut), (side, side), "lanczos")


def write_png(data: LoaderData) -> None:
    """A folder of PNG files as Pillow writes them (level 6)."""
    data.write_once("png", lambda path: _write_files(data, path, "png"))


def write_npy(data: LoaderData) -> None:
    """A folder of files that NumPy reads."""
    data.write_once("npy", lambda path: _write_files(data, path, "npy"))


def write_tars(data: LoaderData) -> None:
    """WebDataset's own best writing: tars with `.jpg` and `.cls`, in random order."""
    order = np.random.default_rng(0).permutation(data.count)

    def write(path: Path) -> None:
        path.mkdir()
        for shard, numbers in enumerate(np.array_split(order, min(SHARDS, data.count))):
            with tarfile.open(path / f"{shard:06d}.tar", "w") as tar:
                for number in map(int, numbers):
                    _add(tar, f"{number:06d}.cls", str(data.label(number)).encode())
                    _add(tar, f"{number:06d}.jpg", data.file("jpg", number).read_bytes())

    data.write_once("tars", write)


def write_arrow(data: LoaderData) -> None:
    """A data set of Hugging Face's library, the images' bytes in Arrow files."""
    import datasets

    def write(path: Path) -> None:
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        images = [{"bytes": file.read_bytes(), "path": None} for file in data.files("jpg")]
        labels = [data.label(number) for number in range(data.count)]
        datasets.Dataset.from_dict({"image": images, "label": labels}, features).save_to_disk(path)

    data.write_once("arrow", write)


def write_lr(data: LoaderData) -> Path:
    """A cache of QOI images under the keys of a folder of LR images, JPEG, with a quarter of their side."""
    data.write_once("lr", lambda path: _write_files(data, path, "lr"))
    return write_cache(data, "qoi", base="lr")


def write_cache(data: LoaderData, codec: str, kind: str = "lmdb", base: str = "jpg") -> Path:
    """A cache whose SR entries are the images, as `jpg` (the folder's bytes) or a codec of `srcache.images`.

    Args:
        base: the folder whose files' keys they have.
    """
    recipe = resolve(
        {"name": "bench", "engine": "resample", **({"codec": f"jpeg:{QUALITY}"} if codec == "jpg" else {})}
    )

    def write(path: Path) -> None:
        cache, catalog = create_cache(path, kind), scan(data.root / base)
        cache.keep_catalog(catalog.digest, catalog.to_csv())
        folder = cache.add(recipe)
        store = folder.store(writable=True)
        for first in range(0, data.count, _GROUP):
            numbers = range(first, min(first + _GROUP, data.count))
            with ThreadPoolExecutor(2) as pool:
                store.put_many(pool.map(lambda number: _entry(data, codec, base, number), numbers))
        if len(store) != data.count:
            raise RuntimeError(f"expected {data.count} different images, but got {len(store)}")
        store.close()

    return data.write_once(f"{kind}-{codec}" if base == "jpg" else f"{kind}-{codec}-{base}", write)


def _entry(data: LoaderData, codec: str, base: str, number: int) -> Entry:
    source = data.file(base, number).read_bytes()
    payload = source if codec == "jpg" else encode(data.pixels()[number], codec)
    return made_entry(image_key(source), payload, data.side)


def _write_crops(data: LoaderData, path: Path) -> None:
    with path.open("wb") as file:
        shape = (data.count, data.side, data.side, 3)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for crop in crops(data.side, data.count):
            file.write(crop.tobytes())


def _write_files(data: LoaderData, root: Path, kind: str) -> None:
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
    pixels = data.pixels()

    def write(number: int) -> None:
        path = root / data.file(kind, number).relative_to(data.root / kind)
        path.write_bytes(_file_bytes(pixels[number], kind))

    _each(write, range(data.count))


def _file_bytes(rgb: Pixels, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "npy":
        np.save(out, rgb)
    elif kind == "png":
        Image.fromarray(rgb).save(out, "PNG")
    else:
        shown = resize(rgb, (len(rgb) // SMALLER, len(rgb) // SMALLER), "bicubic") if kind == "lr" else rgb
        Image.fromarray(shown).save(out, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return out.getvalue()


def _each(act: Callable[[int], None], numbers: Iterable[int]) -> None:
    """Do it for all of them in two threads; the codecs let go of Python's lock."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(act, numbers):
            pass


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
