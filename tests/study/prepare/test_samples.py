"""Sample data: the same pixels everywhere, no pixel in both train and test, nobody's folder overwritten."""

import json
import subprocess
import sys
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcache.errors import ConfigError, DiskFullError, MachineError, MissingExtraError
from srcache.images import decode
from srcache.study.prepare import samples
from srcache.study.prepare.samples import PATCH, PHOTOS, Patch, make_faces, make_textures, texture_patches

pytestmark = pytest.mark.medium

Rectangle = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_textures(tmp_path_factory.mktemp("samples") / "textures").folder


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("samples") / "faces").folder


def pixel_digest(folder: Path) -> str:
    digest = blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.png"), key=lambda path: path.as_posix()):
        rgb = decode(path.read_bytes())
        digest.update(f"{path.relative_to(folder).as_posix()} {rgb.shape}\n".encode() + rgb.tobytes())
    return digest.hexdigest()


def hull(patches: list[Patch]) -> Rectangle:
    """The smallest rectangle around patches: left, top, right, bottom (exclusive)."""
    lefts, tops = [patch.left for patch in patches], [patch.top for patch in patches]
    return min(lefts), min(tops), max(lefts) + PATCH, max(tops) + PATCH


def test_textures_are_frozen(textures: Path) -> None:
    assert pixel_digest(textures) == "3547291869dc18907f2b288dbbecbc3c", "published accuracies depend on these pixels"


def test_faces_are_frozen(faces: Path) -> None:
    assert pixel_digest(faces) == "87056fc70d24d4e2d3472709917a8620", "published accuracies depend on these pixels"


def test_textures_are_grey_squares_of_eight_balanced_classes(textures: Path) -> None:
    files = sorted(textures.rglob("*.png"))
    counts = Counter(path.relative_to(textures).parts[:2] for path in files)
    assert counts == {(split, label): n for split, n in (("train", 120), ("test", 60)) for label in PHOTOS}
    images = np.stack([decode(path.read_bytes()) for path in files[::7]])
    assert images.shape[1:] == (PATCH, PATCH, 3)
    assert (images == images[..., :1]).all()


def test_no_two_files_are_the_same_image(textures: Path) -> None:
    files = list(textures.rglob("*.png"))
    assert len({path.read_bytes() for path in files}) == len(files)


@given(st.integers(0, 2**32))
def test_no_pixel_is_in_both_train_and_test(seed: int) -> None:
    patches = texture_patches(seed)
    for label, photo in PHOTOS.items():
        own = [patch for patch in patches if patch.label == label]
        train, test = (hull([patch for patch in own if patch.split == split]) for split in ("train", "test"))
        across = max(test[0] - train[2], train[0] - test[2])
        down = max(test[1] - train[3], train[1] - test[3])
        assert max(across, down) >= PATCH
        assert all(0 <= patch.left <= photo.width - PATCH for patch in own)
        assert all(0 <= patch.top <= photo.height - PATCH for patch in own)
        assert len({(patch.split, patch.left, patch.top) for patch in own}) == len(own)


def test_a_patch_is_its_corner_turned_and_toned() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
    plain = dict(label="brick", split="train", number=0, left=40, top=16)
    patch = Patch(**plain, turns=1, mirrored=True, gain=0.5, shift=10.0)  # type: ignore[arg-type]
    raw = photo[16:80, 40:104].astype(float)
    expected = (raw - raw.mean()) / raw.std() * 40 * 0.5 + 128 + 10
    assert np.abs(patch.cut(photo) - np.rot90(expected, 1)[:, ::-1]).max() <= 0.5 + 1e-9


def test_a_flat_patch_is_not_blown_up() -> None:
    photo = np.full((64, 64), 77, np.uint8)
    patch = Patch(label="moon", split="test", number=0, left=0, top=0, turns=0, mirrored=False, gain=1.4, shift=-40.0)
    assert (patch.cut(photo) == 88).all()


def test_faces_are_the_wheels_images(faces: Path) -> None:
    values = np.load(samples._wheel_folder() / "lfw_subset.npy")
    assert [len(list((faces / "train" / label).iterdir())) for label in ("face", "nonface")] == [70, 70]
    for path in sorted((faces / "test").rglob("*.png")):
        label, number = path.stem.rsplit("-", 1)
        expected = values[int(number) + (100 if label == "nonface" else 0)]
        assert np.abs(decode(path.read_bytes())[..., 0] / 255 - expected).max() <= 0.5 / 255 + 1e-9
    names = [path.name for path in faces.rglob("*.png")]
    assert len(set(names)) == len(names) == 200


def test_a_finished_set_is_reused(textures: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in textures.rglob("*")}
    again = make_textures(textures)
    assert not again.made
    assert (again.train, again.test, again.classes) == (960, 480, tuple(sorted(PHOTOS)))
    assert {path: path.stat().st_mtime_ns for path in textures.rglob("*")} == before


def test_another_seed_gives_other_pixels(faces: Path, tmp_path: Path) -> None:
    other = make_faces(tmp_path / "faces", seed=1)
    assert other.made
    assert pixel_digest(other.folder) != pixel_digest(faces)
    with pytest.raises(ConfigError, match="holds sample data 'faces/1 seed 1'"):
        make_faces(tmp_path / "faces", seed=2)


def test_an_interrupted_set_is_completed(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = samples._face_files

    def cut_short(seed: int):  # type: ignore[no-untyped-def]
        for place, file in enumerate(complete(seed)):
            if place == 50:
                raise KeyboardInterrupt
            yield file

    monkeypatch.setattr(samples, "_face_files", cut_short)
    with pytest.raises(KeyboardInterrupt):
        make_faces(tmp_path / "faces")
    assert len(list((tmp_path / "faces").rglob("*.png"))) == 50
    monkeypatch.undo()
    assert make_faces(tmp_path / "faces").made
    assert pixel_digest(tmp_path / "faces") == pixel_digest(faces)


def test_a_changed_set_is_refused(tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces").folder
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(ConfigError, match="was changed since"):
        make_faces(folder)


@pytest.mark.parametrize("marker", [None, "not JSON", "[]", '{"title": "textures/1 seed 0", "digest": null}'])
def test_a_folder_of_others_is_refused_and_left_alone(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    if marker is not None:
        (tmp_path / "samples.json").write_text(marker)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        make_faces(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_in_the_way_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for dst in (tmp_path / "file", tmp_path / "file" / "faces"):
        with pytest.raises(ConfigError, match="is a file, or lies below one"):
            make_faces(dst)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_crash_left_of_the_marker_is_no_obstacle(tmp_path: Path, faces: Path) -> None:
    (tmp_path / ".samples.json.x7f3k2").write_text('{"sche')
    assert make_faces(tmp_path).made
    assert pixel_digest(tmp_path) == pixel_digest(faces)


def test_a_full_disk_is_reported_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: Path) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError, match="No space left"):
        make_faces(tmp_path / "faces")
    monkeypatch.undo()
    make_faces(tmp_path / "faces")
    assert pixel_digest(tmp_path / "faces") == pixel_digest(faces)


def test_without_scikit_image_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[samples\]'"):
        make_textures(tmp_path / "textures")
    assert not (tmp_path / "textures").exists()


def test_other_images_in_the_wheel_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_wheel_folder", lambda: tmp_path)
    with pytest.raises(MachineError, match=r"should hold data/brick\.png"):
        make_textures(tmp_path / "textures")
    (tmp_path / "brick.png").write_bytes(b"another image")
    with pytest.raises(MachineError, match=r"brick\.png has the key"):
        make_textures(tmp_path / "textures")
    assert not (tmp_path / "textures").exists()


def test_making_samples_neither_connects_nor_imports_scikit_image(tmp_path: Path) -> None:
    code = (
        "import socket, sys; from pathlib import Path; from srcache.study.prepare.samples import make_faces\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"make_faces(Path({str(tmp_path / 'faces')!r}))\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'skimage', 'pooch', 'scipy', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_marker_is_plain_json(faces: Path) -> None:
    marker = json.loads((faces / "samples.json").read_text())
    assert marker["schema"] == "srcache.samples/1"
    assert marker["title"] == "faces/1 seed 0"
