"""survey: every file is the one that the cache was built from, and members of one kind have one suffix."""

import io
from pathlib import Path

import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache.cache.receipts import KeptRow
from srcache.errors import CacheError, CatalogError, ImageError
from srcache.images import decode, plain_suffix
from srcache.keys import file_key
from srcache.maintain.training_sources import Sample, require_roles, source_bytes, survey
from srcache.recipe.degradation import Degradation
from srcache.recipe.recipe import Recipe

PLAIN = Recipe(name="plain", engine="resample", scale=2)
DEGRADING = Recipe(name="degrading", engine="resample", scale=2, degradation=Degradation(factor=2))


def _image(path: Path, seed: int = 0, turned: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture(9, 7, seed))
    exif = image.getexif()
    if turned:
        exif[0x0112] = 6
    image.save(path, exif=exif)
    return path


def _samples(root: Path, *names: str) -> list[Sample]:
    return [Sample(row=KeptRow(file_key(root / name), name, "")) for name in names]


def _survey(samples, recipe=PLAIN, lr=None, hr=None):
    return survey(samples, recipe, lr, hr, lambda done, total: None)


def test_the_suffix_is_that_of_all_files(tmp_path):
    for number in range(3):
        _image(tmp_path / f"jpg/{number}.jpg", number)
        _image(tmp_path / f"webp/{number}.webp", number)
        _image(tmp_path / f"mixed/{number}.{('jpg', 'png', 'png')[number]}", number)
        _image(tmp_path / f"bmp/{number}.bmp", number)
        _image(tmp_path / f"turned/{number}.jpg", number, turned=number == 2)
    for folder, suffix in (("jpg", ".jpg"), ("webp", ".webp"), ("mixed", ".png"), ("bmp", ".png"), ("turned", ".png")):
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        found = _survey(_samples(tmp_path / folder, *names), lr=tmp_path / folder)
        assert found.suffixes == {"lr": suffix}, folder
        assert [sample.source for sample in found.samples] == [tmp_path / folder / name for name in names]
        assert found.failures == ()


def test_hr_is_paired_by_name_or_is_the_source(tmp_path):
    for number in range(2):
        _image(tmp_path / f"lr/{number}.png", number)
        _image(tmp_path / f"hr/{number}.jpg", number)
    samples = _samples(tmp_path / "lr", "0.png", "1.png")
    both = _survey(samples, lr=tmp_path / "lr", hr=tmp_path / "hr")
    assert both.suffixes == {"lr": ".png", "hr": ".jpg"}
    assert [sample.hr for sample in both.samples] == [tmp_path / "hr/0.jpg", tmp_path / "hr/1.jpg"]
    alone = _survey(samples, hr=tmp_path / "hr")
    assert (alone.suffixes, alone.samples[0].source) == ({"hr": ".jpg"}, None)
    made = _survey(_samples(tmp_path / "hr", "0.jpg", "1.jpg"), DEGRADING, hr=tmp_path / "hr")
    assert made.suffixes == {"lr": ".png", "hr": ".jpg"}
    assert (made.samples[0].source, made.samples[0].hr) == (tmp_path / "hr/0.jpg", None)
    assert _survey(samples).suffixes == {}


def test_what_cannot_be_used_is_listed_with_its_reason(tmp_path):
    names = ("good.png", "gone.png", "other.png", "alone.png")
    for number, name in enumerate(names):
        _image(tmp_path / "lr" / name, number)
        _image(tmp_path / "hr" / name, number)
    samples = _samples(tmp_path / "lr", *names)
    (tmp_path / "lr/gone.png").unlink()
    _image(tmp_path / "lr/other.png", 77)
    (tmp_path / "hr/alone.png").unlink()
    found = _survey(samples, lr=tmp_path / "lr", hr=tmp_path / "hr")
    assert [sample.row.name for sample in found.samples] == ["good.png"]
    assert [(failed.source, failed.reason) for failed in found.failures] == [
        ("gone.png", "missing"),
        ("other.png", "changed"),
        ("alone.png", "no_hr"),
    ]


def test_a_folder_without_any_is_refused(tmp_path):
    _image(tmp_path / "lr/a.png")
    samples = _samples(tmp_path / "lr", "a.png")
    _image(tmp_path / "wrong/a.png", 5)
    with pytest.raises(CatalogError, match=r"from .*wrong \(changed 1; the first: .* has another key"):
        _survey(samples, lr=tmp_path / "wrong")
    _image(tmp_path / "hr/a.png")
    _image(tmp_path / "hr/a.jpg")
    with pytest.raises(CatalogError, match="more than one HR image"):
        _survey(samples, hr=tmp_path / "hr")


def test_a_broken_hr_image_is_listed(tmp_path):
    for name in ("a.png", "b.png"):
        _image(tmp_path / "lr" / name, 3)
        _image(tmp_path / "hr" / name)
    (tmp_path / "hr/b.png").write_bytes(b"\xff\xd8\xff and no more")
    found = _survey(_samples(tmp_path / "lr", "a.png", "b.png"), hr=tmp_path / "hr")
    assert [(failed.source, failed.reason) for failed in found.failures] == [("b.png", "unreadable")]


def test_roles_are_checked(tmp_path):
    require_roles(PLAIN, tmp_path, tmp_path)
    require_roles(DEGRADING, None, tmp_path)
    with pytest.raises(CacheError, match="which therefore are HR; name their folder with --hr"):
        require_roles(DEGRADING, tmp_path, None)
    with pytest.raises(CacheError, match=r"expected a folder of images, but .* is none"):
        require_roles(PLAIN, _image(tmp_path / "a.png"), None)


def test_bytes_of_another_key_are_no_source(tmp_path):
    file = _image(tmp_path / "a.png")
    sample = Sample(row=KeptRow(file_key(file), "a.png", ""), source=file)
    assert source_bytes(sample) == file.read_bytes()
    _image(file, 4)
    with pytest.raises(ImageError, match="has another key") as caught:
        source_bytes(sample)
    assert caught.value.reason == "changed"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16"])
def test_a_plain_file_is_one_that_pillow_decodes_alike(kind, mode):
    image = Image.fromarray(picture(9, 7)).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image, np.uint16) * 250)
    out = io.BytesIO()
    try:
        image.save(out, kind)
    except (OSError, ValueError):
        pytest.skip(f"{kind} has no {mode}")
    suffix = plain_suffix(out.getvalue())
    assert suffix in (None, {"jpeg": ".jpg"}.get(kind, f".{kind}"))
    plainly = np.asarray(Image.open(out).convert("RGB"))
    assert suffix is None or np.array_equal(plainly, decode(out.getvalue()))
    assert suffix is not None or mode in ("RGBA", "I;16", "P")
