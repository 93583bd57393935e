"""Sample data sets without a download, cut from the images inside scikit-image's wheel (extra `samples`).

`textures`: eight photos, one class each, as grey 64-pixel patches. A photo's train and test patches come from two
regions with a gap of one patch between them, so that no pixel is in both. Each patch is turned or mirrored, its
contrast is evened out, and brightness and contrast are then jittered: what is left to learn from is the texture. Test
patches of a class overlap each other. The set is meant to be hard at low resolution: in the
quickstart a small network gets 52–53 % of the test patches right after shrinking by 4, 75–84 % if they are then
enlarged, and 88–95 % at full size (three seeds).

`faces`: the 100 faces and 100 other cut-outs of `skimage.data.lfw_subset`, 25×25 pixels. A smoke test, not a benchmark.

The wheel's files are found without importing scikit-image and checked against their keys: the same seed gives the same
pixels on every machine, or an error. All arithmetic on pixels is in integers or one float operation at a time.
"""

import io
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srcache.errors import ConfigError, MachineError, MissingExtraError
from srcache.files import disk_errors, write_atomic
from srcache.files.documents import parse_json
from srcache.files.folders import files_below
from srcache.images import Pixels, decode, encode
from srcache.keys import image_key

PATCH = 64
"""Width and height of a texture patch, and of the gap between a photo's two regions, in pixels."""

SAMPLE_SPLITS = ("train", "test")
"""The parts of a sample data set; a validation set is taken from train."""

_COUNTS = {"train": 120, "test": 60}
_TRAIN_SHARE = 0.6
_GRID = 8
_CONTRAST, _GAINS, _SHIFT = 40.0, (0.6, 1.4), 40.0
_FLATTEST = 8.0
_FACES_TRAIN = 70
_MARKER = "samples.json"

Grey = NDArray[np.uint8]
"""Grey, uint8, (height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo in the wheel: its file's name and key, and its size in pixels."""

    file: str
    key: str
    width: int
    height: int


PHOTOS = {
    "brick": Photo(file="brick.png", key="334372c5f06132043ca194a782aafdf5", width=512, height=512),
    "cat": Photo(file="chelsea.png", key="e7b11021471b48d503c20c4b3877bb5d", width=451, height=300),
    "coins": Photo(file="coins.png", key="4dcba5652a95d5275dade321e47370a9", width=384, height=303),
    "garage": Photo(file="motorcycle_left.png", key="df62afde6d9bcc5d0595f814f800851f", width=741, height=500),
    "grass": Photo(file="grass.png", key="2adb97df83a358b278c69f1d91cb0271", width=512, height=512),
    "gravel": Photo(file="gravel.png", key="6d472799b339393ea6949c7065dc5bda", width=512, height=512),
    "moon": Photo(file="moon.png", key="da2ada0d71c994f9e50030423029c46b", width=512, height=512),
    "tissue": Photo(file="ihc.png", key="64853ebbdec2d10ad10e5fab8618b68b", width=512, height=512),
}
"""The classes of `textures` and the photos that they are cut from."""

_FACES = ("lfw_subset.npy", "266ccdd9e57301f80075719e097ea251")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One texture patch: where it is cut from, and what is done to it.

    Attributes:
        label, split, number: class, `train` or `test`, and its place among those.
        left, top: corner in the photo, in pixels.
        turns, mirrored: quarter turns (0–3), then left and right exchanged or not.
        gain, shift: contrast as a multiple of the set's own, and brightness in levels away from 128.
    """

    label: str
    split: str
    number: int
    left: int
    top: int
    turns: int
    mirrored: bool
    gain: float
    shift: float

    @property
    def name(self) -> str:
        """The patch's file, relative to the data set's folder."""
        return f"{self.split}/{self.label}/{self.label}-{self.number:03d}.png"

    def cut(self, photo: Grey) -> Grey:
        """The patch's pixels, uint8 of shape (PATCH, PATCH), from its photo."""
        raw = photo[self.top : self.top + PATCH, self.left : self.left + PATCH]
        turned = np.rot90(raw, self.turns)
        return self._tone(raw)[turned[:, ::-1] if self.mirrored else turned]

    def _tone(self, raw: Grey) -> Grey:
        """The new level for each of the 256 old ones."""
        wide = raw.astype(np.int64)
        total, squares = int(wide.sum()), int((wide * wide).sum())
        mean = total / raw.size
        spread = math.sqrt(raw.size * squares - total * total) / raw.size
        gain = self.gain * _CONTRAST / max(spread, _FLATTEST)
        levels = [round((level - mean) * gain + 128 + self.shift) for level in range(256)]
        return np.array([min(255, max(0, level)) for level in levels], dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReport:
    """A sample data set on disk: `folder`/{train,test}/<class>/*.png.

    Attributes:
        folder: where it lies.
        classes: their names, sorted.
        train, test: how many images each part has.
        made: False if the folder held the finished set already.
    """

    folder: Path
    classes: tuple[str, ...]
    train: int
    test: int
    made: bool


def make_textures(dst: Path, seed: int = 0) -> SampleReport:
    """Write `textures` into `dst`: 8 classes, 120 train and 60 test patches of 64×64 pixels each.

    Raises:
        ConfigError: `dst` holds something else, or a set that was changed since.
        MissingExtraError: scikit-image is not installed.
        MachineError: its images are not the ones that are known here, or `dst` cannot be written.
    """
    return _make_set(Path(dst), f"textures/1 seed {seed}", lambda: _texture_files(seed))


def make_faces(dst: Path, seed: int = 0) -> SampleReport:
    """Write `faces` into `dst`: face and nonface, 70 train and 30 test images of 25×25 pixels each.

    Raises:
        ConfigError, MissingExtraError, MachineError: as `make_textures`.
    """
    return _make_set(Path(dst), f"faces/1 seed {seed}", lambda: _face_files(seed))


def texture_patches(seed: int) -> list[Patch]:
    """Every patch of `textures`, by label, split and number; no two of a label and split have the same corner."""
    return [patch for label in PHOTOS for split in SAMPLE_SPLITS for patch in _patches(label, split, seed)]


def _patches(label: str, split: str, seed: int) -> Iterator[Patch]:
    rng = random.Random(f"{seed}/{label}/{split}")
    corners = [(left, top) for top in _starts(label, split, "height") for left in _starts(label, split, "width")]
    for number, (left, top) in enumerate(rng.sample(corners, _COUNTS[split])):
        yield Patch(
            label=label,
            split=split,
            number=number,
            left=left,
            top=top,
            turns=rng.randrange(4),
            mirrored=bool(rng.randrange(2)),
            gain=rng.uniform(*_GAINS),
            shift=rng.uniform(-_SHIFT, _SHIFT),
        )


def _starts(label: str, split: str, side: str) -> range:
    """Where patches may start along one side; the longer side is the one that is divided between train and test."""
    photo = PHOTOS[label]
    length, divided = getattr(photo, side), "width" if photo.width >= photo.height else "height"
    border = int((length - PATCH) * _TRAIN_SHARE)
    first, last = (0, length) if side != divided else (0, border) if split == "train" else (border + PATCH, length)
    return range(first, last - PATCH + 1, _GRID)


def _texture_files(seed: int) -> Iterator[tuple[str, Pixels]]:
    photos = {label: _grey(decode(_wheel_file(photo.file, photo.key))) for label, photo in PHOTOS.items()}
    return ((patch.name, _rgb(patch.cut(photos[patch.label]))) for patch in texture_patches(seed))


def _face_files(seed: int) -> Iterator[tuple[str, Pixels]]:
    values: NDArray[np.float64] = np.load(io.BytesIO(_wheel_file(*_FACES)), allow_pickle=False)
    images = np.rint(values * 255).astype(np.uint8)
    return ((name, _rgb(images[place])) for name, place in _face_places(seed))


def _face_places(seed: int) -> Iterator[tuple[str, int]]:
    """Each image's file, and its place among the 200."""
    for start, label in ((0, "face"), (100, "nonface")):
        for rank, number in enumerate(random.Random(f"{seed}/{label}").sample(range(100), 100)):
            split = "train" if rank < _FACES_TRAIN else "test"
            yield f"{split}/{label}/{label}-{number:03d}.png", start + number


def _wheel_folder() -> Path:
    """Where scikit-image's images lie; nothing of it is imported."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("scikit-image", "samples", "making sample data")
    return Path(spec.submodule_search_locations[0]) / "data"


def _wheel_file(name: str, key: str) -> bytes:
    """A file of the wheel, byte for byte the one that is known here."""
    folder = _wheel_folder()
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise MachineError(
            f"scikit-image's wheel should hold data/{name}, but it cannot be read ({error.strerror}); "
            "run: pip install --force-reinstall scikit-image"
        ) from error
    if image_key(data) != key:
        raise MachineError(
            f"scikit-image's data/{name} has the key {image_key(data)}, but the samples are cut from {key}; "
            "install a scikit-image that is known to hold it, such as 0.26.0"
        )
    return data


def _grey(rgb: Pixels) -> Grey:
    return np.asarray(Image.fromarray(rgb).convert("L"))


def _rgb(grey: Grey) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _make_set(dst: Path, title: str, files: Callable[[], Iterator[tuple[str, Pixels]]]) -> SampleReport:
    """Write a set once. The marker says at first what the folder is, and in the end that it is complete."""
    with disk_errors(dst):
        if digest := _finished_digest(dst, title):
            _require_unchanged(dst, digest)
            return _report(dst, made=False)
        images = files()
        _mark(dst, title, None)
        for name, rgb in images:
            (dst / name).parent.mkdir(parents=True, exist_ok=True)
            (dst / name).write_bytes(encode(rgb, "png"))
        _mark(dst, title, _digest(dst))
        return _report(dst, made=True)


def _finished_digest(dst: Path, title: str) -> str | None:
    """The digest of a finished set of this title; None if it is yet to be made; an error if the folder is not free."""
    try:
        held = [path.name for path in dst.iterdir()]
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise ConfigError(f"expected a folder for sample data, but {dst} is a file, or lies below one") from error
    if all(name.startswith(f".{_MARKER}.") for name in held):
        return None
    marker = _marker(dst)
    if marker.get("title") != title:
        what = f"holds sample data {marker['title']!r}" if "title" in marker else "is not an empty folder"
        raise ConfigError(f"expected a new or empty folder for sample data {title!r}, but {dst} {what}; choose another")
    digest = marker.get("digest")
    return digest if isinstance(digest, str) else None


def _marker(dst: Path) -> dict[str, object]:
    try:
        plain = parse_json((dst / _MARKER).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _mark(dst: Path, title: str, digest: str | None) -> None:
    plain = {"schema": "srcache.samples/1", "title": title, "digest": digest}
    write_atomic(dst / _MARKER, json.dumps(plain, indent=2) + "\n")


def _require_unchanged(dst: Path, digest: str) -> None:
    if _digest(dst) != digest:
        raise ConfigError(f"the sample data in {dst} was changed since it was made; delete that folder or name another")


def _digest(dst: Path) -> str:
    """BLAKE2b over names and bytes of all files below train and test."""
    digest = blake2b(digest_size=16)
    for path in _image_files(dst):
        digest.update(f"{path.relative_to(dst).as_posix()} {image_key(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def _image_files(dst: Path, splits: tuple[str, ...] = SAMPLE_SPLITS) -> list[Path]:
    found = [path for split in splits for path in files_below(dst / split) if path.is_file()]
    return sorted(found, key=lambda path: path.as_posix())


def _report(dst: Path, *, made: bool) -> SampleReport:
    classes = tuple(sorted(folder.name for folder in (dst / "train").iterdir() if folder.is_dir()))
    train, test = (len(_image_files(dst, (split,))) for split in SAMPLE_SPLITS)
    return SampleReport(folder=dst, classes=classes, train=train, test=test, made=made)
