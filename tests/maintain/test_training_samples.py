"""SampleMaker: files are copied only where every program sees the same pixels; failures are the sample's own."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache.cache.failures import FailedEntry
from srcache.cache.receipts import KeptRow
from srcache.images import decode, encode
from srcache.keys import entry_name, image_key
from srcache.maintain.training_samples import SampleMaker
from srcache.maintain.training_sources import Sample
from srcache.recipe.recipe import Recipe
from srcache.stores import Entry, with_checksums
from srcache.stores.memory import MemoryStore

RECIPE = Recipe(name="plain", engine="resample", scale=2)
SR = picture(18, 14, 3)


def _saved(path: Path, kind: str = "png", turned: bool = False, mode: str = "RGB") -> Path:
    image = Image.fromarray(picture(9, 7)).convert(mode)
    exif = image.getexif()
    if turned:
        exif[0x0112] = 6
    image.save(path, kind, exif=exif)
    return path


def _sample(path: Path, **fields) -> Sample:
    return Sample(row=KeptRow(image_key(path.read_bytes()), "a/b.png", "a"), number=4, **fields)


def _maker(sample: Sample, suffixes=None, record=None, payload=None) -> SampleMaker:
    name, store = entry_name(sample.row.key, 0), MemoryStore()
    payload = encode(SR, "qoi") if payload is None else payload
    known = {"key": sample.row.key, "sample": 0, "lr": [9, 7], "size": [18, 14], **(record or {})}
    store.put_many([Entry(name, payload, with_checksums(known, payload))])
    return SampleMaker(recipe=RECIPE, store=store, images=1, suffixes=suffixes or {}, labelled=True)


@pytest.mark.parametrize(
    ("kind", "mode", "turned", "suffix", "copied"),
    [
        ("png", "RGB", False, ".png", True),
        ("png", "L", False, ".png", True),
        ("png", "RGBA", False, ".png", True),
        ("jpeg", "RGB", False, ".jpg", True),
        ("jpeg", "RGB", False, ".png", False),
        ("jpeg", "RGB", True, ".png", False),
        ("bmp", "RGB", False, ".png", False),
    ],
)
def test_a_file_is_copied_or_becomes_png(tmp_path, kind, mode, turned, suffix, copied):
    path = _saved(tmp_path / "a", kind, turned, mode)
    sample = _sample(path, source=path)
    members = dict(_maker(sample, {"lr": suffix}).members(sample))
    data = members[f"lr{suffix}"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), decode(path.read_bytes()))
    assert (data == path.read_bytes()) == copied


def test_a_stored_image_is_a_png_for_everybody(tmp_path):
    sample = _sample(_saved(tmp_path / "a"))
    members = dict(_maker(sample).members(sample))
    assert list(members) == ["sr000.png", "cls", "json"]
    assert members["cls"] == b"4"
    opened = Image.open(io.BytesIO(members["sr000.png"]))
    assert opened.format == "PNG"
    assert np.array_equal(np.asarray(opened), SR)


def test_a_lossy_image_keeps_its_bytes(tmp_path):
    payload = encode(SR, "jpeg:90")
    sample = _sample(_saved(tmp_path / "a"))
    assert dict(_maker(sample, payload=payload).members(sample))["sr000.jpg"] == payload


def test_notes_of_any_kind_are_text(tmp_path):
    sample = _sample(_saved(tmp_path / "a"))
    for notes in ({"score": 1}, {"score": 0.5, "tags": ["ä"]}, None):
        about = json.loads(dict(_maker(sample, record={"notes": notes}).members(sample))["json"])
        assert json.loads(about["notes"]) == [notes or {}]


def test_a_record_of_an_early_version_has_no_sizes(tmp_path):
    sample = _sample(_saved(tmp_path / "a"))
    about = json.loads(dict(_maker(sample, record={"lr": None, "size": None}).members(sample))["json"])
    assert (about["lr_height"], about["sr_width"]) == (0, 0)


def test_names_are_those_of_the_members(tmp_path):
    path = _saved(tmp_path / "a")
    sample = _sample(path, source=path, hr=path)
    maker = _maker(sample, {"lr": ".png", "hr": ".png"})
    assert maker.names() == tuple(name for name, _ in maker.members(sample))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b"another"), "changed"),
    ],
)
def test_a_source_that_goes_while_it_is_exported_fails_alone(tmp_path, damage, reason):
    path = _saved(tmp_path / "a")
    sample = _sample(path, source=path)
    maker = _maker(sample, {"lr": ".png"})
    damage(path)
    failed = maker.members(sample)
    assert isinstance(failed, FailedEntry)
    assert (failed.source, failed.reason) == ("a/b.png", reason)


def test_an_hr_image_that_becomes_another_kind_of_file_fails_alone(tmp_path):
    path = _saved(tmp_path / "a", "png")
    sample = _sample(path, hr=path)
    failed = _maker(sample, {"hr": ".jpg"}).members(sample)
    assert isinstance(failed, FailedEntry)
    assert failed.reason == "changed"


def test_a_damaged_stored_image_fails_alone(tmp_path):
    sample = _sample(_saved(tmp_path / "a"))
    maker = _maker(sample, record={"sample": 1})
    failed = maker.members(sample)
    assert isinstance(failed, FailedEntry)
    assert (failed.reason, "run `srcache repair`" in failed.detail) == ("damaged", True)
