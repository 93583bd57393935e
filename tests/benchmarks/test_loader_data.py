"""The images that loaders are measured with: all different, the same in every format, and whole or not there."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import loader_data
from benchmarks.loader_data import LoaderData, crops, write_cache, write_npy, write_png, write_tars
from srcache import SRAugmentedDataset
from srcache.maintain.verify import verify


def test_crops_are_all_different_and_the_same_each_time(loader_photos):
    found = list(crops(24, 40))
    assert {crop.shape for crop in found} == {(24, 24, 3)}
    assert len({crop.tobytes() for crop in found}) == 40
    np.testing.assert_array_equal(found, list(crops(24, 40)))
    np.testing.assert_array_equal(found[:3], list(crops(24, 3)))


def test_files_hold_the_crops(tiny_loader_data):
    data = tiny_loader_data
    write_png(data)
    write_npy(data)
    for number in range(data.count):
        pixels = data.pixels()[number]
        np.testing.assert_array_equal(np.asarray(Image.open(data.file("png", number))), pixels)
        np.testing.assert_array_equal(np.load(data.file("npy", number)), pixels)
        jpeg = np.asarray(Image.open(data.file("jpg", number)))
        assert 0 < np.abs(jpeg.astype(int) - pixels).mean() < 12
    assert data.mean() == pytest.approx(data.pixels()[:, 16, 16, 1].mean())


def test_tars_hold_the_bytes_of_the_folder_with_their_labels(tiny_loader_data):
    data = tiny_loader_data
    write_tars(data)
    members = {}
    for path in (data.root / "tars").glob("*.tar"):
        with tarfile.open(path) as tar:
            members |= {member.name: tar.extractfile(member).read() for member in tar}
    assert members == {
        f"{number:06d}.{suffix}": content
        for number in range(data.count)
        for suffix, content in (("jpg", data.file("jpg", number).read_bytes()), ("cls", b"%d" % data.label(number)))
    }


@pytest.mark.medium
@pytest.mark.parametrize(("codec", "kind"), [("jpg", "lmdb"), ("jpg", "shards"), ("qoi", "lmdb"), ("ppm", "lmdb")])
def test_a_cache_is_sound_and_serves_the_images(tiny_loader_data, codec, kind):
    data = tiny_loader_data
    cache = write_cache(data, codec, kind)
    assert verify(cache).ok
    served = SRAugmentedDataset(data.root / "jpg", cache, policy="sr")
    by_label = [number for label in range(loader_data.CLASSES) for number in range(label, data.count, 10)]
    for index, number in enumerate(by_label):
        image, label = served[index]
        assert label == data.label(number)
        expected = Image.open(data.file("jpg", number)) if codec == "jpg" else data.pixels()[number]
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_what_was_not_finished_is_not_there_and_is_written_anew(tmp_path):
    data = LoaderData(root=tmp_path, side=8, count=1)

    def stop(path):
        (path / "inner").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.write_once("cache", stop)
    assert not (tmp_path / "cache").exists()
    data.write_once("cache", lambda path: path.write_text("whole"))
    data.write_once("cache", lambda path: pytest.fail("it is there already"))
    assert (tmp_path / "cache").read_text() == "whole"


def test_photos_are_those_of_the_packages_if_a_folder_is_named(tmp_path, make_image, monkeypatch):
    from benchmarks import train_compact

    asked = []
    monkeypatch.setattr(
        train_compact, "photos", lambda work, split: asked.append((work, split)) or [("a", make_image(8, 8))]
    )
    monkeypatch.setenv("SRCACHE_PHOTOS", str(tmp_path / "new"))
    assert len(loader_data.originals()) == 2
    assert asked == [(tmp_path / "new", "train"), (tmp_path / "new", "held-out")]
    monkeypatch.setenv("SRCACHE_PHOTOS", "")
    assert len(loader_data.originals()) == 5
