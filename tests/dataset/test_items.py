"""A training set's items: keys, labels and names without hashing, packed so that workers share them."""

import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from srcache.catalog.rows import Catalog, Row
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset.items import NO_LABEL, _PackedTexts, open_items, require_complete
from srcache.errors import CatalogError, ImageError, PolicyError
from srcache.images import Pixels, decode
from srcache.keys import ImageKey, file_key, image_key, pixel_key
from srcache.recipe.degradation import Degradation


def invented(count: int, labels: tuple[str | None, ...] = ("a", "b")) -> Catalog:
    """A catalog of files that do not exist."""
    rows = []
    for index in range(count):
        name = f"{labels[index % len(labels)]}/some/where/image-{index:07d}.png"
        rows.append(Row(image_key(name.encode()), name, labels[index % len(labels)], Path("/nowhere") / name))
    return Catalog(rows=tuple(rows), classes=tuple(label for label in labels if label), root=Path("/nowhere"))


# --- packing ---


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12)))
def test_packed_texts_are_the_texts(texts: list[str]) -> None:
    packed = _PackedTexts(texts)
    assert [packed[index] for index in range(len(texts))] == texts


def test_packed_paths_may_be_any_bytes() -> None:
    odd = os.fsdecode(b"/data/\xff\xfe/\xc3\xa4.png")
    assert _PackedTexts(["", odd, ""])[1] == odd


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=20))
def test_packed_keys_are_the_keys(drawn: list[bytes]) -> None:
    rows = tuple(Row(ImageKey(key.hex()), f"{index}.png", None, Path("x")) for index, key in enumerate(drawn))
    items = open_items(Catalog(rows=rows), None, None)
    assert len(items) == len(drawn)
    known = [index for index, key in enumerate(drawn) if key != bytes(16)]
    assert [items.key(index) for index in known] == [drawn[index].hex() for index in known]


def reachable(thing: Any) -> int:
    """How many objects one refers to, itself included; each has a reference count that a worker would touch."""
    seen, todo = {id(thing)}, [thing]
    while todo:
        for inner in gc.get_referents(todo.pop()):
            if id(inner) not in seen and not isinstance(inner, type | ModuleType):
                seen.add(id(inner))
                todo.append(inner)
    return len(seen)


@pytest.mark.medium
def test_a_large_set_is_a_few_buffers() -> None:
    items, few = open_items(invented(20_000), None, None), open_items(invented(20), None, None)
    assert reachable(items) == reachable(few) < 100
    packed = pickle.dumps(items)
    assert len(packed) < 20_000 * 120
    twin = pickle.loads(packed)
    for index in (0, 1, 19_999):
        name = invented(20_000).rows[index].name
        assert (twin.key(index), twin.name(index)) == (image_key(name.encode()), name)
        assert twin.label(index) == index % 2


# --- labels and names ---


def test_labels_are_numbers_of_classes_in_the_catalogs_order() -> None:
    labelled = invented(4, ("b", "a", "c"))
    assert [open_items(labelled, None, None).label(index) for index in range(4)] == [0, 1, 2, 0]
    assert open_items(labelled, None, None).classes == ("b", "a", "c")
    bare = open_items(invented(3, (None,)), None, None)
    assert [bare.label(index) for index in range(3)] == [NO_LABEL] * 3
    assert bare.classes is None


def test_a_label_without_a_class_is_refused() -> None:
    rows = invented(3).rows
    with pytest.raises(CatalogError, match=r"classes are a, but it has labels b"):
        open_items(Catalog(rows=rows, classes=("a",)), None, None)


def test_a_data_sets_own_labels_and_names_are_kept(photos: Path) -> None:
    base = ImageFolder(photos, target_transform=lambda target: {"class": target})
    items = open_items(base, None, None)
    assert items.label(5) == {"class": 1}
    assert items.name(5) == "gravel/gravel1.png"
    assert items.key(5) == file_key(photos / "gravel" / "gravel1.png")
    catalog = open_items(from_dataset(base), None, None)
    assert [catalog.label(index) for index in range(12)] == [items.label(index) for index in range(12)]
    memory = open_items([(Image.new("L", (3, 2), 7), "seven")], None, None)
    assert (memory.label(0), memory.name(0), memory.classes) == ("seven", "item 0", None)
    assert memory.key(0) == pixel_key(np.full((2, 3, 3), 7, np.uint8))


def test_images_in_memory_are_hashed_once_and_not_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def counted(rgb: Pixels) -> ImageKey:
        hashed.append(rgb.shape)
        return pixel_key(rgb)

    monkeypatch.setattr("srcache.dataset.items.pixel_key", counted)
    items = open_items([(Image.new("RGB", (4, 4 + index)), 0) for index in range(3)], None, None)
    assert hashed == []
    assert items.key(1) == items.key(1) == pixel_key(np.zeros((5, 4, 3), np.uint8))
    assert hashed == [(5, 4, 3)]


def test_an_image_in_memory_that_cannot_be_used_is_named() -> None:
    items = open_items([(Image.new("RGB", (2, 2)), 0), (Image.new("F", (2, 2)), 0)], None, None)
    with pytest.raises(ImageError, match="item 1: floating-point") as caught:
        items.key(1)
    assert caught.value.reason == "unsupported"


# --- images ---


def test_lr_and_hr_follow_the_degradation(photos: Path) -> None:
    degradation = Degradation(factor=3, filter="box")
    degraded, plain = open_items(photos, None, degradation), open_items(photos, None, None)
    original = decode((photos / "bark" / "bark0.png").read_bytes())
    assert (degraded.lr(0) == degradation.apply(original)).all()
    assert (degraded.hr(0) == original).all()
    assert (plain.lr(0) == original).all()
    degraded.require_hr()
    for refused in (plain.require_hr, lambda: plain.hr(0)):
        with pytest.raises(PolicyError, match="hr="):
            refused()


def test_a_file_that_went_away_is_named(photos: Path) -> None:
    base = photos / "bark"
    items = open_items(base, None, None)
    (base / "bark2.png").unlink()
    with pytest.raises(ImageError, match=r"bark2.png: the file cannot be read \(No such file"):
        items.lr(2)
    loose = open_items(Catalog(rows=(Row(image_key(b""), "a.png", None, None),)), None, None)
    with pytest.raises(ImageError, match=r"a.png: it has no file in this catalog"):
        loose.lr(0)


def test_an_hr_file_that_went_away_is_named(photos: Path, make_image: Callable[..., Pixels]) -> None:
    large = photos.parent / "hr"
    large.mkdir()
    for index in range(4):
        Image.fromarray(make_image(32, 32, index)).save(large / f"moss{index}.webp", lossless=True)
    items = open_items(photos / "moss", large, None)
    assert (items.hr(3) == make_image(32, 32, 3)).all()
    (large / "moss1.webp").write_bytes(b"")
    with pytest.raises(ImageError, match=r"hr/moss1.webp: the file has no bytes"):
        items.hr(1)


def test_a_catalog_from_which_nothing_was_left_out_is_complete(photos: Path) -> None:
    assert require_complete(scan(photos)).rows == scan(photos).rows
    (photos / "bark" / "away.png").symlink_to("nowhere.png")
    (photos / "bark" / "up").symlink_to("..")
    with pytest.raises(CatalogError, match=r"^1 images of the base cannot be used: bark/away.png \(unreadable\); look"):
        require_complete(scan(photos), "look at them")
    (photos / "bark" / "away.png").unlink()
    assert len(require_complete(scan(photos))) == 12, "nothing is lost with a loop"


def test_numbers_of_classes_do_not_depend_on_which_images_there_are(photos: Path) -> None:
    for file in (photos / "gravel").iterdir():
        file.unlink()
    items = open_items(photos, None, None)
    assert (items.classes, items.label(7)) == (("bark", "gravel", "moss"), 2)
    (photos / "gravel").rmdir()
    assert open_items(photos, None, None).label(7) == 1
    named = open_items(photos, None, None, ["bark", "gravel", "moss"])
    assert (named.classes, named.label(7)) == (("bark", "gravel", "moss"), 2)
    with pytest.raises(CatalogError, match="which lack moss"):
        open_items(photos, None, None, ["bark"])
    with pytest.raises(CatalogError, match="a data set numbers its own"):
        open_items(ImageFolder(photos), None, None, ["bark", "moss"])


def test_whole_numbers_in_a_csv_are_the_labels_and_others_are_refused(photos: Path) -> None:
    names = [f"moss/moss{n}.{'jpg' if n == 3 else 'png'}" for n in range(4)]
    (photos / "list.csv").write_text(
        "\n".join(["path,label", *(f"{name},{n}.0" for name, n in zip(names, (11, 2, 0, 2), strict=True))])
    )
    items = open_items(photos / "list.csv", None, None)
    assert [items.label(index) for index in range(4)] == [11, 2, 0, 2]
    assert items.classes is not None
    assert items.classes[2] == "2.0"
    (photos / "list.csv").write_text(f"path,label\n{names[0]},41.5\n{names[1]},-1")
    with pytest.raises(CatalogError, match=r"list.csv: its labels are numbers, among them -1, 41.5; class numbers"):
        open_items(photos / "list.csv", None, None)


def test_a_csv_without_labels_is_told(photos: Path) -> None:
    (photos / "list.csv").write_text("path,species\nmoss/moss0.png,moss\n")
    with pytest.warns(UserWarning, match="no column `label`.* its columns are path, species"):
        assert open_items(photos / "list.csv", None, None).label(0) == NO_LABEL


def test_one_image_beside_the_class_folders_is_told(photos: Path) -> None:
    (photos / "moss/moss0.png").rename(photos / "stray.png")
    with pytest.warns(UserWarning, match=r"stray.png lies beside folders with images \(bark\), so no"):
        items = open_items(photos, None, None)
    assert {items.label(index) for index in range(12)} == {NO_LABEL}


def test_a_hugging_face_data_set_without_labels_has_the_label_of_no_class() -> None:
    hf = pytest.importorskip("datasets")
    images = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(3)]
    base = hf.Dataset.from_dict({"image": images}).cast_column("image", hf.Image())
    items = open_items(base, None, None)
    assert [items.label(index) for index in range(3)] == [NO_LABEL] * 3, "which every collate function takes"
    assert items.classes is None
