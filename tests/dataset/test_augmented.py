"""SRAugmentedDataset in one process: a drop-in, the right pixels for every variant, and every refusal in words."""

import copy
import math
import multiprocessing
import os
import pickle
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets as hugging_face
import numpy as np
import pytest
import torch
from engines import Faulty, Noise, Shapes
from PIL import Image
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import transforms as T  # noqa: N812
from torchvision.datasets import ImageFolder

from srcache import keys
from srcache.cache.manifest import create_cache, open_cache
from srcache.catalog import hashing as memo
from srcache.catalog import scanning as catalog
from srcache.catalog.scanning import from_dataset, scan
from srcache.dataset import items as items_room
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.policy import Policy, Variant
from srcache.dataset.scores import LabelScore, begin_scores, open_score_filter, write_scores
from srcache.engine.registry import open_engine
from srcache.errors import (
    CacheError,
    CatalogError,
    ConfigError,
    DamagedError,
    DeviceError,
    EngineError,
    ImageError,
    MissError,
    PolicyError,
    RecipeError,
)
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels, decode, encode, resize
from srcache.keys import entry_name, file_key
from srcache.recipe.degradation import Degradation
from srcache.recipe.reading import load_recipe, resolve
from srcache.recipe.recipe import Recipe
from srcache.stores import Entry

PLAIN = load_recipe("bicubic")
SHRUNK = resolve(
    {"name": "shrunk", "engine": "resample", "scale": 2, "degradation": "bicubic/2", "options": {"filter": "lanczos"}}
)
NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})
BROKEN = resolve({"name": "broken", "engine": "test-faulty", "scale": 2})
IN_BATCHES = resolve({"name": "batches", "engine": "test-shapes", "scale": 2})


def built(folder: Any, recipe: Recipe, samples: int = 1) -> Path:
    """A cache beside a folder of images, filled."""
    cache = Path(folder).parent / "cache"
    fill(scan(folder), recipe, cache, FillSettings(samples=samples))
    return cache


def empty(folder: Path, recipe: Recipe) -> Path:
    """A cache that holds a recipe, but no image yet."""
    cache = create_cache(folder.parent / "cache")
    cache.add(recipe).store(writable=True).close()
    return cache.path


def stored(cache: Path, recipe: Recipe) -> dict[str, bytes]:
    store = open_cache(cache).find(recipe).store()
    return {name: store.get(name) or b"" for name in store.names()}


def array(item: Any) -> Pixels:
    """The pixels of an item, or of its image."""
    return np.asarray(item[0] if isinstance(item, tuple) else item)


def same(left: Any, right: Any) -> bool:
    return array(left).shape == array(right).shape and bool((array(left) == array(right)).all())


def files_of(folder: Path) -> list[Path]:
    return [row.path for row in scan(folder).rows if row.path]


# --- a drop-in: one changed line ---


TO_TENSOR = T.Compose([T.Resize((16, 16)), T.ToTensor()])


def test_an_image_folder_keeps_labels_order_length_and_its_transform(photos: Path) -> None:
    base = ImageFolder(photos, transform=TO_TENSOR)
    data = SRAugmentedDataset(base, built(photos, PLAIN), policy="lr")
    assert len(data) == len(base) == 12
    for index in range(len(base)):
        assert torch.equal(data[index][0], base[index][0])
        assert data[index][1] == base[index][1]
    assert (data.classes, data.class_to_idx) == (tuple(base.classes), base.class_to_idx)
    assert data.targets == base.targets
    images, labels = next(iter(DataLoader(data, batch_size=12)))
    assert images.shape == (12, 3, 16, 16)
    assert labels.tolist() == base.targets


def test_the_users_data_set_is_left_as_it_was(photos: Path) -> None:
    base = ImageFolder(photos, transform=TO_TENSOR, target_transform=str)
    before, items = copy.copy(base.__dict__), [base[index] for index in range(3)]
    data = SRAugmentedDataset(base, built(photos, PLAIN), policy="sr")
    labels = [label for _, label in data]
    assert base.__dict__ == before
    assert all(torch.equal(base[index][0], image) for index, (image, _) in enumerate(items))
    assert labels == [label for _, label in base]
    assert data.classes is None
    assert data.class_to_idx == {}


def test_parts_of_an_image_folder(photos: Path) -> None:
    base, cache = ImageFolder(photos, transform=TO_TENSOR), built(photos, PLAIN)
    for part in (Subset(base, [7, 0, 7]), *random_split(base, [5, 7], torch.Generator().manual_seed(3))):
        data = SRAugmentedDataset(part, cache, policy="lr")
        assert len(data) == len(part)
        assert all(torch.equal(data[i][0], part[i][0]) and data[i][1] == part[i][1] for i in range(len(part)))
        assert data.targets == [base.targets[index] for index in part.indices]
        assert SRAugmentedDataset(part, cache, policy="sr")[0][0].shape == (3, 16, 16)
    whole = SRAugmentedDataset(base, cache, policy="lr=0.5,sr=0.5")
    taken = Subset(whole, [3, 1])
    assert torch.equal(next(iter(DataLoader(taken, batch_size=2)))[0][1], whole[1][0])


@pytest.mark.parametrize("kind", ["folder", "text", "catalog", "csv", "hugging face", "data set's catalog"])
def test_every_kind_of_base_serves_the_same_pictures(photos: Path, kind: str) -> None:
    reference = ImageFolder(photos)
    if kind == "csv":
        lines = [f"{path.relative_to(photos).as_posix()},{path.parent.name}" for path in files_of(photos)]
        (photos / "list.csv").write_text("\n".join(["path,label", *lines]))
    bases: dict[str, Callable[[], Any]] = {
        "folder": lambda: photos,
        "text": lambda: str(photos),
        "catalog": lambda: scan(photos),
        "csv": lambda: photos / "list.csv",
        "hugging face": lambda: on_hugging_face(reference),
        "data set's catalog": lambda: from_dataset(reference),
    }
    cache = built(photos, PLAIN)
    data = SRAugmentedDataset(bases[kind](), cache, policy="lr")
    assert data.targets == reference.targets
    assert all(same(data[index], reference[index]) for index in range(12))
    assert [label for _, label in data] == reference.targets
    assert data.classes == ("bark", "gravel", "moss")
    super_resolved = SRAugmentedDataset(bases[kind](), cache, policy="sr")
    files = files_of(photos)
    for index in range(12):
        assert same(super_resolved[index], decode(stored(cache, PLAIN)[entry_name(file_key(files[index]), 0)]))


def on_hugging_face(reference: ImageFolder, embedded: bool = False) -> hugging_face.Dataset:
    names = hugging_face.ClassLabel(names=list(reference.classes))
    features = hugging_face.Features({"picture": hugging_face.Image(), "label": names})
    images = [{"path": None, "bytes": Path(path).read_bytes()} if embedded else path for path, _ in reference.samples]
    return hugging_face.Dataset.from_dict({"picture": images, "label": reference.targets}, features=features)


def test_hugging_face_pictures_that_lie_in_the_table_are_found_by_their_files_names(photos: Path) -> None:
    reference = ImageFolder(photos)
    table = on_hugging_face(reference, embedded=True)
    data = SRAugmentedDataset(table, built(photos, PLAIN), policy="sr", transform=np.asarray)
    files = SRAugmentedDataset(photos, photos.parent / "cache", policy="sr", transform=np.asarray)
    assert all(same(data[index], files[index]) for index in range(12))
    mixed = [SRAugmentedDataset(base, photos.parent / "cache", policy="lr=1,sr=1") for base in (table, photos)]
    assert [mixed[0].variant(index) for index in range(12)] == [mixed[1].variant(index) for index in range(12)]


def test_a_flat_folder_has_the_label_minus_one(photos: Path) -> None:
    data = SRAugmentedDataset(photos / "moss", built(photos, PLAIN), policy="sr")
    assert data.targets == [-1, -1, -1, -1]
    assert data[2][1] == -1
    assert data.classes is None


def save_odd(folder: Path, make_image: Callable[..., Pixels]) -> list[Path]:
    """Files where Pillow's plain conversion is not what srcache sees: turned, transparent, 16 bit; and a palette."""
    folder.mkdir()
    turned, exif = Image.fromarray(make_image(24, 32, 1)), Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.png", exif=exif)
    clear = np.dstack([make_image(24, 24, 2), np.arange(576).reshape(24, 24) % 256]).astype(np.uint8)
    Image.fromarray(clear, "RGBA").save(folder / "clear.png")
    Image.fromarray(make_image(24, 24, 3)[..., 0].astype(np.uint16) * 250).save(folder / "deep.png")
    Image.fromarray(make_image(24, 24, 4)).quantize(16).save(folder / "palette.png")
    Image.fromarray(make_image(24, 24, 5)).save(folder / "plain.jpg")
    return sorted(folder.iterdir())


def opened(file: Path) -> Image.Image:
    """As Pillow opens a file: as stored, with what EXIF says beside it."""
    with Image.open(file) as image:
        image.load()
        return image.copy()


WAYS: Mapping[str, Callable[[Path], Image.Image]] = {
    "as srcache decodes": lambda file: Image.fromarray(decode(file.read_bytes())),
    "as Pillow opens": opened,
    "as Pillow converts": lambda file: opened(file).convert("RGB"),
    "as Pillow converts, pixels only": lambda file: Image.fromarray(np.asarray(opened(file).convert("RGB"))),
}


@pytest.mark.parametrize("way", WAYS)
def test_pictures_in_memory_are_found_in_a_cache_that_was_built_from_files(
    tmp_path: Path, make_image: Callable[..., Pixels], way: str
) -> None:
    files = save_odd(tmp_path / "odd", make_image)
    cache = built(tmp_path / "odd", PLAIN)
    pictures = [WAYS[way](file) for file in files]
    data = SRAugmentedDataset([(picture, index % 2) for index, picture in enumerate(pictures)], cache, policy="sr")
    assert data.targets == [0, 1, 0, 1, 0]
    for index, file in enumerate(files):
        assert same(data[index], decode(stored(cache, PLAIN)[entry_name(file_key(file), 0)]))
    served = SRAugmentedDataset([(picture, 0) for picture in pictures], cache, policy="lr")
    odd = [file.stem for index, file in enumerate(files) if not same(served[index], decode(file.read_bytes()))]
    differing = {
        "as Pillow converts": ["clear", "deep"],
        "as Pillow converts, pixels only": ["clear", "deep", "turned"],
    }
    assert odd == differing.get(way, [])


def test_the_variant_of_a_picture_in_memory_does_not_hang_on_what_the_cache_holds(photos: Path) -> None:
    base = [(Image.open(file).convert("RGB"), 0) for file in files_of(photos)]
    data = SRAugmentedDataset(base, empty(photos, PLAIN), policy="lr=1,sr=1", on_miss="lr")
    before = [data.variant(index) for index in range(12)]
    assert {variant.kind for variant in before} == {"lr", "sr"}
    built(photos, PLAIN)
    assert [data.variant(index) for index in range(12)] == before
    place = next(index for index, variant in enumerate(before) if variant.kind == "sr")
    assert data[place][0].size == tuple(4 * side for side in base[place][0].size)


def test_nothing_is_hashed_once_it_is_open(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = built(photos, PLAIN)
    bases = [ImageFolder(photos), photos, scan(photos), Subset(ImageFolder(photos), [0, 1])]
    opened = [SRAugmentedDataset(base, cache, policy="lr=0.5,sr=0.5") for base in bases]

    def refuse(*_: Any) -> None:
        raise AssertionError("something was hashed")

    for room in (keys, catalog, memo, items_room):
        for name in ("file_key", "image_key", "pixel_key"):
            if hasattr(room, name):
                monkeypatch.setattr(room, name, refuse)
    for data in opened:
        for epoch in range(2):
            data.set_epoch(epoch)
            assert len([data[index] for index in range(len(data))]) == len(data)
        assert data.counts["lr"] > 0 < data.counts["sr"]


# --- the right pixels ---


def test_sr_is_what_the_store_holds(photos: Path) -> None:
    cache = built(photos, PLAIN)
    data, entries = SRAugmentedDataset(photos, cache, policy="sr"), stored(cache, PLAIN)
    for index, file in enumerate(files_of(photos)):
        assert same(data[index], decode(entries[entry_name(file_key(file), 0)]))
        assert data[index][0].mode == "RGB"


def test_with_a_degradation_the_base_is_hr_and_lr_is_made_of_it(photos: Path) -> None:
    cache, files = built(photos, SHRUNK), files_of(photos)
    served = {kind: SRAugmentedDataset(photos, cache, policy=kind) for kind in ("hr", "lr", "sr")}
    for index, file in enumerate(files):
        original = decode(file.read_bytes())
        assert same(served["hr"][index], original)
        assert same(served["lr"][index], Degradation(factor=2, filter="bicubic").apply(original))
        assert array(served["sr"][index]).shape == original.shape


def test_hr_is_paired_by_name_without_suffix_and_never_by_order(
    photos: Path, make_image: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = built(photos, PLAIN)
    large = {file: make_image(96, 128, 50 + place) for place, file in enumerate(files_of(photos))}
    for file, pixels in reversed(large.items()):
        (photos.parent / "hr" / file.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photos.parent / "hr" / file.parent.name / f"{file.stem}.bmp")
    Image.fromarray(make_image(8, 8)).save(photos.parent / "hr" / "moss" / "another.png")
    with monkeypatch.context() as patched:
        patched.setattr(memo, "file_key", lambda path: file_key(path) if "hr" not in path.parts else 1 / 0)
        opened = SRAugmentedDataset(photos, cache, policy="hr", hr=photos.parent / "hr")
    bases = (scan(photos.parent / "hr"), ImageFolder(photos.parent / "hr"), Subset(ImageFolder(photos), range(12)))
    others = [SRAugmentedDataset(photos, cache, policy="hr", hr=bases[0])]
    others.append(SRAugmentedDataset(photos, cache, policy="hr", hr=bases[1]))
    others.append(SRAugmentedDataset(bases[2], cache, policy="hr", hr=str(photos.parent / "hr")))
    for data in (opened, *others):
        assert all(same(data[index], pixels) for index, pixels in enumerate(large.values()))


def test_hr_images_that_are_missing_or_twice_there_are_listed(photos: Path) -> None:
    cache, files = built(photos, PLAIN), files_of(photos)
    large = photos.parent / "hr"
    for file in files[2:]:
        (large / file.parent.name).mkdir(parents=True, exist_ok=True)
        (large / file.parent.name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CatalogError, match=r"2 of 12 images have no HR image .*: bark/bark0.png, bark/bark1.png"):
        SRAugmentedDataset(photos, cache, policy="hr", hr=large)
    for file in files[:2]:
        (large / file.parent.name / file.name).write_bytes(file.read_bytes())
    (large / "bark" / "bark0.bmp").write_bytes(files[0].read_bytes())
    with pytest.raises(CatalogError, match=r"bark/bark0.bmp and bark/bark0.png; leave one"):
        SRAugmentedDataset(photos, cache, policy="hr", hr=large)


@pytest.mark.parametrize(("size", "shape"), [(20, (20, 20)), ((12, 30), (12, 30)), ([12, 30], (12, 30))])
def test_size_brings_every_variant_to_one_size(photos: Path, size: Any, shape: tuple[int, int]) -> None:
    cache = built(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="hr=1,lr=1,sr=1", size=size, transform=T.ToTensor())
    images, _ = next(iter(DataLoader(data, batch_size=12)))
    assert images.shape == (12, 3, *shape)
    assert all(data.counts[kind] for kind in ("hr", "lr", "sr"))
    for index in range(12):
        kind = data.variant(index).kind
        native = SRAugmentedDataset(photos, cache, policy=kind)[index]
        assert torch.equal(images[index], T.ToTensor()(Image.fromarray(resize(array(native), shape, "bicubic"))))


def test_a_batch_of_several_sizes_is_refused_in_words_unless_it_is_wanted(photos: Path) -> None:
    cache = built(photos, PLAIN)

    def batch(**options: Any) -> Any:
        data = SRAugmentedDataset(photos / "bark", cache, policy="sr", **options)
        return data.__getitems__([0, 1])

    with pytest.raises(CatalogError, match=r"a batch of sr images has the sizes 128×96, 96×128, .*give size="):
        batch()
    with pytest.raises(CatalogError, match="3×128×96, 3×96×128"):
        batch(transform=T.ToTensor())
    assert [image.size for image, _ in batch(size="mixed")] == [(128, 96), (96, 128)]
    assert [image.shape for image, _ in batch(transform=TO_TENSOR)] == [(3, 16, 16), (3, 16, 16)]
    assert [image for image, _ in batch(transform=lambda image: {"wide": image.width})] == [{"wide": 128}, {"wide": 96}]


def test_samples_are_served_as_the_policy_says(photos: Path) -> None:
    cache = built(photos, NOISY, samples=3)
    entries, key = stored(cache, NOISY), file_key(files_of(photos)[4])
    assert len(entries) == 36
    one = SRAugmentedDataset(photos, cache, policy="sr#1")
    assert same(one[4], decode(entries[entry_name(key, 1)]))
    some = SRAugmentedDataset(photos, cache, policy="sr")
    seen = set()
    for epoch in range(12):
        some.set_epoch(epoch)
        variant = some.variant(4)
        assert same(some[4], decode(entries[entry_name(key, variant.sample or 0)]))
        seen.add(variant.sample)
    assert seen == {0, 1, 2}
    with pytest.raises(PolicyError, match=r"names sample 3.* 3 per image.*--samples 4"):
        SRAugmentedDataset(photos, cache, policy="lr=1,sr#3=1")


def test_frequencies_follow_the_weights_over_epochs_and_the_seed_decides(photos: Path) -> None:
    cache = built(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="lr=1,sr=2,hr=1", seed=5)
    again = SRAugmentedDataset(photos, cache, policy=Policy.parse("lr=1,sr=2,hr=1", seed=5))
    other = SRAugmentedDataset(photos, cache, policy="lr=1,sr=2,hr=1", seed=6)
    served: Counter[Variant] = Counter()
    different = 0
    for epoch in range(200):
        for one in (data, again, other):
            one.set_epoch(epoch)
        row = [data.variant(index) for index in range(12)]
        assert row == [again.variant(index) for index in range(12)]
        different += row != [other.variant(index) for index in range(12)]
        served.update(row)
    assert different > 190
    for variant, share in ((Variant("lr"), 0.25), (Variant("sr", 0), 0.5), (Variant("hr"), 0.25)):
        assert abs(served[variant] - 2400 * share) < 4 * math.sqrt(2400 * share * (1 - share))


def test_a_schedule_follows_the_epoch(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="0: lr; 2: sr")
    kinds = []
    for epoch in range(4):
        data.set_epoch(epoch)
        assert data.epoch == epoch
        kinds.append({data.variant(index).kind for index in range(12)})
        assert data[0][0].width == (32 if epoch < 2 else 128)
    assert kinds == [{"lr"}, {"lr"}, {"sr"}, {"sr"}]


# --- a sequence like any other ---


def test_indices_are_those_of_a_sequence(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, PLAIN), policy="sr")
    assert same(data[-1], data[11])
    assert same(data[np.int64(3)], data[torch.tensor(3)])
    assert len(list(data)) == 12
    for wrong in (12, -13):
        with pytest.raises(IndexError, match=f"below 12, but got {wrong}"):
            data[wrong]
    with pytest.raises(TypeError):
        data[1.5]  # type: ignore[index]
    assert "12 images, bicubic-448c49d273210155" in repr(data)


@pytest.mark.parametrize("on_miss", ["engine", open_engine("resample", PLAIN.setup("cpu"))], ids=["named", "open"])
def test_a_copy_serves_the_same_and_counts_for_itself(photos: Path, on_miss: Any) -> None:
    data = SRAugmentedDataset(ImageFolder(photos), built(photos, PLAIN), policy="lr=0.5,sr=0.5", on_miss=on_miss)
    data.set_epoch(7)
    data[0]
    for twin in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert twin.epoch == 7
        data.set_epoch(7)
        pairs = [(twin[index], data[index]) for index in range(12)]
        assert all(same(left, right) and left[1] == right[1] for left, right in pairs)
        assert sum(twin.counts.values()) == 1 + 12
        twin.set_epoch(8)
        assert data.epoch == 7


def test_a_transform_may_be_any_callable_but_only_one(photos: Path) -> None:
    cache = built(photos, PLAIN)
    nothing = torch.nn.Sequential()
    assert len(nothing) == 0
    assert isinstance(SRAugmentedDataset(photos, cache, policy="lr", transform=nothing)[0][0], Image.Image)
    with pytest.raises(CatalogError, match="has a transform already"):
        SRAugmentedDataset(ImageFolder(photos, transform=TO_TENSOR), cache, transform=TO_TENSOR)


# --- counting, and forgotten epochs ---


def epochs(data: SRAugmentedDataset, number: float) -> list[str]:
    """Serve so many epochs' worth of items; the warnings that came."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place in range(int(number * len(data))):
            data[place % len(data)]
    return [str(warning.message) for warning in caught]


@pytest.fixture
def many(tmp_path: Path, make_image: Callable[..., Pixels]) -> Path:
    (tmp_path / "many").mkdir()
    for seed in range(64):
        Image.fromarray(make_image(8, 8, seed)).save(tmp_path / "many" / f"{seed:02d}.png")
    return tmp_path / "many"


@pytest.mark.parametrize("policy", ["lr=0.5,sr=0.5", "0: lr; 5: sr"])
def test_a_forgotten_epoch_is_told_once_after_one_and_a_half(many: Path, policy: str) -> None:
    data = SRAugmentedDataset(many, built(many, PLAIN), policy=policy)
    assert epochs(data, 1.4) == []
    (told,) = epochs(data, 0.5)
    assert "set_epoch(epoch)" in told
    assert epochs(data, 5) == []


def test_nothing_is_told_where_the_epoch_is_set_or_does_not_matter(many: Path) -> None:
    cache = built(many, PLAIN)
    data = SRAugmentedDataset(many, cache, policy="lr=0.5,sr=0.5")
    for epoch in range(4):
        data.set_epoch(epoch)
        assert epochs(data, 1.4) == []
    for constant in ("sr", "lr", "sr#0"):
        assert epochs(SRAugmentedDataset(many, cache, policy=constant), 4) == []


def test_counts_say_what_was_served(photos: Path) -> None:
    data = SRAugmentedDataset(photos, built(photos, SHRUNK), policy="hr=1,lr=1,sr=1")
    kinds = Counter(data.variant(index).kind for index in range(12))
    list(data)
    assert data.counts == {
        **{kind: kinds[kind] for kind in ("hr", "lr", "sr")},
        **dict.fromkeys(("missed_to_lr", "missed_to_hr", "computed"), 0),
    }


# --- what the cache lacks ---


def test_a_miss_says_which_image_and_what_to_do(photos: Path) -> None:
    cache = built(photos, NOISY, samples=2)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / "bark" / "new.png")
    data = SRAugmentedDataset(photos, cache, policy="sr")
    with pytest.raises(MissError, match=r"of bark/new.png by recipe noisy-.*`srcache build --samples 2`.*on_miss="):
        data[4]
    assert data[3][0].mode == "RGB"
    memory = SRAugmentedDataset([(Image.new("RGB", (4, 4)), 0)], cache, policy="sr")
    with pytest.raises(MissError, match="of item 0 by recipe"):
        memory[0]


@pytest.mark.parametrize("instead", ["lr", "hr"])
def test_a_miss_falls_back_and_is_counted(photos: Path, instead: str) -> None:
    cache = empty(photos, SHRUNK)
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss=instead)
    expected = SRAugmentedDataset(photos, cache, policy=instead)
    assert all(same(data[index], expected[index]) for index in range(12))
    assert data.counts[instead] == data.counts[f"missed_to_{instead}"] == 12
    assert data.counts["sr"] == 0


@pytest.mark.parametrize("recipe", [NOISY, IN_BATCHES, SHRUNK], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("opened", [False, True], ids=["by name", "open"])
def test_an_engine_makes_what_fill_would_have_stored(photos: Path, recipe: Recipe, opened: bool) -> None:
    cache = empty(photos, recipe)
    engine: Any = open_engine(recipe.engine, recipe.setup("cpu")) if opened else "engine"
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss=engine, size="mixed")
    first = data.__getitems__(range(7))
    data[11], data[11], data[0]
    assert data.counts == {"hr": 0, "lr": 0, "sr": 10, "missed_to_lr": 0, "missed_to_hr": 0, "computed": 8}
    made = stored(cache, recipe)
    (photos.parent / "elsewhere").mkdir()
    fill(scan(photos), recipe, photos.parent / "elsewhere")
    reference = stored(photos.parent / "elsewhere", recipe)
    assert len(made) == 8
    assert all(reference[name] == payload for name, payload in made.items())
    for index, item in enumerate(first):
        assert same(item, decode(reference[entry_name(file_key(files_of(photos)[index]), 0)]))
    assert fill(scan(photos), recipe, cache).added == 4


def test_the_gaps_of_a_batch_go_to_the_engine_together(photos: Path) -> None:
    for number, file in enumerate(files_of(photos)):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8) ^ np.arange(8, dtype=np.uint8)[:, None]).save(file)
    shapes: list[tuple[int, ...]] = []

    class Watched(Shapes):
        def upscale(self, images: Any, seeds: Sequence[int]) -> Any:
            shapes.append(tuple(images.shape))
            return super().upscale(images, seeds)

    engine = Watched(IN_BATCHES.setup("cpu"))
    data = SRAugmentedDataset(photos, empty(photos, IN_BATCHES), policy="sr", on_miss=engine)
    data.__getitems__([0, 5, 0, 2, 7, 9, 1, 3, 11])
    assert shapes == [(4, 3, 8, 8), (4, 3, 8, 8)]
    assert data.counts["computed"] == 8


def test_a_picture_in_memory_is_made_under_its_files_name_where_that_is_known(photos: Path) -> None:
    cache, file = built(photos, NOISY), files_of(photos)[0]
    base = [(Image.open(file).convert("RGB"), 0), (Image.new("RGB", (6, 6), (9, 99, 199)), 1)]
    base[1][0].putpixel((0, 0), (0, 0, 0))
    fill(scan(photos / "moss"), NOISY, cache, FillSettings(samples=2))
    data = SRAugmentedDataset(base, cache, policy="sr#1", on_miss="engine", size="mixed")
    before = set(stored(cache, NOISY))
    data.__getitems__([0, 1])
    new = set(stored(cache, NOISY)) - before
    assert entry_name(file_key(file), 1) in new
    assert len(new) == data.counts["computed"] == 2


def test_an_engine_that_fails_says_why_and_for_which_image(photos: Path, make_image: Callable[..., Pixels]) -> None:
    Image.fromarray(make_image(24, 24, 1, mark="raises")).save(photos / "bark" / "bark1.png")
    Image.fromarray(make_image(24, 24, 2, mark="nan")).save(photos / "moss" / "moss0.png")
    cache = empty(photos, BROKEN)
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine", size="mixed")
    with pytest.raises(MissError, match=r"1 SR images.*bark/bark1.png \(engine_error: .*the image is marked to raise"):
        data[1]
    with pytest.raises(MissError, match=r"2 SR images.*bark1.png.*moss/moss0.png \(not_finite"):
        data.__getitems__(range(12))
    assert len(stored(cache, BROKEN)) == data.counts["computed"] == 10
    assert data[0][0].mode == "RGB"


def test_a_worker_that_was_forked_from_a_process_with_cuda_does_not_fall_back_on_the_processor_unnoticed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    data = SRAugmentedDataset(photos, empty(photos, NOISY), policy="sr", on_miss="engine", size="mixed")
    assert data[0][1] == 0
    heavy, info = replace(NOISY, weights="abc"), replace(Noise.info, weights="abc")
    create_cache(photos.parent / "cache").add(heavy).store(writable=True).close()
    monkeypatch.setattr(Noise, "info", info)
    data = SRAugmentedDataset(photos, photos.parent / "cache", heavy, policy="sr", on_miss="engine", size="mixed")
    with pytest.raises(DeviceError, match=r"engine test-noise cannot use the GPU in them.*spawn.*srcache build"):
        data[0]


def test_only_the_recipes_own_engine_may_fill_gaps(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = empty(photos, NOISY)
    with pytest.raises(RecipeError, match="made by engine test-noise, but on_miss is test-faulty"):
        SRAugmentedDataset(photos, cache, on_miss=Faulty(BROKEN.setup("cpu")))
    newer: Any = Noise(NOISY.setup("cpu"))
    newer.info = replace(Noise.info, numerics=4)
    with pytest.raises(RecipeError, match=r"version 3 .* but version 4"):
        SRAugmentedDataset(photos, cache, on_miss=newer)
    for wrong in ("http://here", None, Noise.info, 3):
        with pytest.raises(ConfigError, match="on_miss must be one of raise, lr, hr, engine, or an engine"):
            SRAugmentedDataset(photos, cache, on_miss=wrong)
    gone = Recipe(name="gone", engine="no-such-engine")
    create_cache(cache).add(gone).store(writable=True).close()
    with pytest.raises(EngineError, match="no-such-engine"):
        SRAugmentedDataset(photos, cache, gone, on_miss="engine")
    assert len(SRAugmentedDataset(photos, cache, gone, on_miss="lr")) == 12


# --- filters by what was measured ---


def measured(cache: Path, recipe: Recipe, safe: Mapping[tuple[Path, int], float]) -> Path:
    """A side table: (photo, sample) → safe; returns the recipe's folder."""
    home = open_cache(cache).find(recipe).path
    begin_scores(home, {"classifier": None}, {})
    rest = {"back_projection": 30.0, "back_projection_error": 1.0}
    rows = [
        LabelScore(image=file.stem, key=file_key(file), sample=sample, safe=value, **rest)
        for (file, sample), value in safe.items()
    ]
    write_scores(home, rows)
    return home


def with_samples(photos: Path) -> tuple[Path, list[Path]]:
    """A cache of 3 samples; of photo n (n < 10), n % 4 of them are safe, the first ones last; two have no row."""
    cache, files = built(photos, NOISY, samples=3), files_of(photos)
    table = {(file, sample): float(sample >= 3 - n % 4) for n, file in enumerate(files[:10]) for sample in range(3)}
    measured(cache, NOISY, table)
    return cache, files


def test_a_filter_serves_only_what_passes_and_the_rest_by_the_other_terms(photos: Path) -> None:
    cache, files = with_samples(photos)
    entries = stored(cache, NOISY)
    data = SRAugmentedDataset(photos, cache, policy="lr=1,sr[safe>0.9]=3", seed=4, size="mixed")
    plain = SRAugmentedDataset(photos, cache, policy="lr=1,sr=3", seed=4)
    served: list[Counter[Variant]] = [Counter() for _ in files]
    for epoch in range(80):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        for index in range(12):
            variant = data.variant(index)
            served[index][variant] += 1
            if index % 4 == 3 and index < 10:
                assert variant == plain.variant(index), "what passes everything is served as without a filter"
            if epoch < 4:
                key = file_key(files[index])
                name = entry_name(key, variant.sample or 0)
                assert same(data[index], decode(entries[name] if variant.kind == "sr" else files[index].read_bytes()))
    for index, counts in enumerate(served):
        fits = {Variant("sr", sample) for sample in range(3) if index < 10 and sample >= 3 - index % 4}
        assert set(counts) == {Variant("lr")} | fits
    assert data.counts["sr"] + data.counts["lr"] == 48


def test_one_named_sample_is_filtered_by_its_own_row(photos: Path) -> None:
    cache, _ = with_samples(photos)
    data = SRAugmentedDataset(photos, cache, policy="0: lr; 2: lr=1e-9,sr#1[safe>0.9&back_projection>=30]=1")
    data.set_epoch(2)
    kinds = [data.variant(index) for index in range(12)]
    assert kinds == [Variant("sr", 1) if n % 4 >= 2 and n < 10 else Variant("lr") for n in range(12)]


def test_a_policy_that_leaves_nothing_for_some_images_is_refused_at_once(photos: Path) -> None:
    cache, files = with_samples(photos)
    words = (
        r"the policy sr\[safe>0.9\]=1 leaves nothing for 5 of 12 images, 2 of which have no row in .*safety.csv "
        r"\(`srcache safety` measures them\): bark/bark0.png, gravel/gravel0.png, moss/moss0.png, .*; "
        "add a plain term that serves them, such as lr"
    )
    with pytest.raises(PolicyError, match=words):
        SRAugmentedDataset(photos, cache, policy="sr[safe>0.9]")
    with pytest.raises(PolicyError, match="leaves nothing for 5 of 12"):
        SRAugmentedDataset(photos, cache, policy="0: lr; 90: sr[safe>0.9],sr#1[safe>0.95]")
    with pytest.raises(PolicyError, match="leaves nothing for 2 of 12 images, 2 of which have no row"):
        SRAugmentedDataset(photos, cache, policy="sr[safe>=0]")
    measured(cache, NOISY, {(file, 2): 0.95 for file in files})
    data = SRAugmentedDataset(photos, cache, policy="sr[safe>0.9]")
    assert {data.variant(index) for index in range(12)} == {Variant("sr", 2)}
    with pytest.raises(PolicyError, match=r"leaves nothing for 12 of 12 images: bark/bark0.png.* and 2 more"):
        SRAugmentedDataset(photos, cache, policy="sr[safe>0.95]")


def test_filters_need_measurements(photos: Path) -> None:
    cache = built(photos, NOISY)
    with pytest.raises(PolicyError, match=r"by safe>0.9, but nothing was measured .* run `srcache safety` first"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    home = measured(cache, NOISY, {(file, 0): 1 for file in files_of(photos)})
    with pytest.raises(PolicyError, match="measured without a classifier, so it has no agree"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[agree>0.9]")
    (home / "safety.csv").write_text("mine")
    with pytest.raises(DamagedError, match=r"safety.csv is not the table"):
        SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    assert SRAugmentedDataset(photos, cache, policy="lr,sr").measurements is None


def test_the_table_is_read_once(photos: Path) -> None:
    cache, files = with_samples(photos)
    data = SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    before = [data.variant(index) for index in range(12)]
    home = measured(cache, NOISY, {(file, 0): 0 for file in files})
    assert [data.variant(index) for index in range(12)] == before
    for twin in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert [twin.variant(index) for index in range(12)] == before
        assert twin.measurements == data.measurements
    opened = SRAugmentedDataset(photos, cache, policy="lr,sr[safe>0.9]")
    assert {opened.variant(index) for index in range(12)} == {Variant("lr")}
    assert (
        data.measurements != opened.measurements == open_score_filter(home, Policy.parse("sr[safe>1]").filters).digest
    )


def test_pictures_in_memory_are_filtered_by_their_files_rows(photos: Path) -> None:
    cache, files = with_samples(photos)
    pictures = [(Image.open(file).convert("RGB"), 0) for file in files]
    data = SRAugmentedDataset(pictures, cache, policy="lr=1e-9,sr[safe>0.9]=1")
    kinds = [data.variant(index).kind for index in range(12)]
    assert kinds == ["sr" if n % 4 and n < 10 else "lr" for n in range(12)]
    with pytest.raises(PolicyError, match=r"5 of 12 images, 2 of which .*: item 0, item 4, item 8, item 10"):
        SRAugmentedDataset(pictures, cache, policy="sr[safe>0.9]")


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "fork"), (1, "spawn")])
def test_filtered_variants_are_the_same_for_any_workers(photos: Path, workers: int, start: str | None) -> None:
    cache, _ = with_samples(photos)

    def opened() -> SRAugmentedDataset:
        return SRAugmentedDataset(photos, cache, policy="lr=1,sr[safe>0.9]=1", seed=2, size=8, transform=np.array)

    data, alone = opened(), opened()
    persistent: dict[str, Any] = {"multiprocessing_context": start, "persistent_workers": True} if start else {}
    loader = DataLoader(data, batch_size=5, num_workers=workers, **persistent)
    epochs = []
    for epoch in (0, 3):
        data.set_epoch(epoch)
        alone.set_epoch(epoch)
        epochs.append(torch.cat([images for images, _ in loader]).numpy())
        assert same(epochs[-1], np.stack([alone[index][0] for index in range(12)]))
    assert not same(*epochs)


# --- refusals ---


def test_a_recipe_is_found_by_name_fingerprint_or_itself(photos: Path) -> None:
    cache = built(photos, PLAIN)
    fill(scan(photos / "bark"), NOISY, cache)
    for wanted in ("bicubic", PLAIN.fingerprint, PLAIN.folder, PLAIN):
        assert "bicubic-" in repr(SRAugmentedDataset(photos, open_cache(cache), wanted))
    with pytest.raises(CacheError, match=r"holds 2 recipes \(bicubic-.*, noisy-.*say which \(recipe=, or --recipe\)"):
        SRAugmentedDataset(photos, cache)
    with pytest.raises(CacheError, match="no recipe 'lanczos'"):
        SRAugmentedDataset(photos, cache, "lanczos")
    with pytest.raises(CacheError, match="no srcache cache"):
        SRAugmentedDataset(photos, photos)


REFUSED: Mapping[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no hr": ({"policy": "hr"}, PolicyError, "give the HR folder as hr="),
    "no hr to fall back on": ({"on_miss": "hr"}, PolicyError, "give the HR folder as hr="),
    "no policy": ({"policy": "sd"}, PolicyError, "hr, lr and sr"),
    "size of no side": ({"size": 0}, ConfigError, "size must be a side"),
    "size of one side": ({"size": (3,)}, ConfigError, "size must be a side"),
    "size of half pixels": ({"size": 2.5}, ConfigError, "size must be a side"),
    "size of truth": ({"size": True}, ConfigError, "size must be a side"),
    "size in words": ({"size": "small"}, ConfigError, "but is 'small'"),
    "hr not there": ({"hr": "nowhere"}, CatalogError, "nowhere does not exist"),
    "hr in memory": ({"hr": [(Image.new("RGB", (2, 2)), 0)]}, CatalogError, "give a folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_the_first_batch(photos: Path, case: str) -> None:
    options, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        SRAugmentedDataset(photos, empty(photos, PLAIN), **options)


def test_bases_that_cannot_be_used_are_refused(photos: Path) -> None:
    cache = empty(photos, PLAIN)
    with pytest.raises(CatalogError, match="an empty one"):
        SRAugmentedDataset([], cache)
    with pytest.raises(CatalogError, match="hr= pairs by file name"):
        SRAugmentedDataset([(Image.new("RGB", (2, 2)), 0)], cache, hr=photos)
    with pytest.raises(CatalogError, match="got object without"):
        SRAugmentedDataset(object(), cache)
    cache = create_cache(photos.parent / "second")
    cache.add(SHRUNK).store(writable=True).close()
    with pytest.raises(CatalogError, match="leave hr= out"):
        SRAugmentedDataset(photos, cache, hr=photos)


def test_a_training_set_never_shrinks_in_silence(photos: Path) -> None:
    cache = built(photos, PLAIN)
    os.symlink("/etc/hostname", photos / "bark" / "away.png")
    (photos / "list.csv").write_text("path\nmoss/moss0.png\nmoss/gone.png\n")
    with pytest.raises(CatalogError, match=r"1 images .* bark/away.png \(outside_root\).*pass a Catalog"):
        SRAugmentedDataset(photos, cache)
    with pytest.raises(CatalogError, match=r"moss/gone.png \(missing\)"):
        SRAugmentedDataset(photos / "list.csv", cache)
    assert len(SRAugmentedDataset(scan(photos), cache)) == 12


def test_a_broken_picture_is_named(photos: Path) -> None:
    cache = empty(photos, PLAIN)
    (photos / "bark" / "bark1.png").write_bytes((photos / "bark" / "bark1.png").read_bytes()[:300])
    for base in (photos, ImageFolder(photos)):
        data = SRAugmentedDataset(base, cache, policy="lr")
        with pytest.raises(ImageError, match=r"bark/bark1.png: the file ends too early") as caught:
            data[1]
        assert caught.value.reason == "truncated"
    with pytest.raises(ImageError, match=r"bark/bark1.png"):
        SRAugmentedDataset(photos, cache, policy="sr", on_miss="engine")[1]


def test_a_damaged_entry_is_told_from_a_missing_one(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, files = empty(photos, PLAIN), files_of(photos)
    store = open_cache(cache).find(PLAIN).store(writable=True)
    good = encode(np.zeros((20, 20, 3), np.uint8), "png")
    store.put_many(
        Entry(entry_name(file_key(file), 0), payload, {})
        for file, payload in zip(files, (good[:40], b"not an image", good), strict=False)
    )
    data = SRAugmentedDataset(photos, cache, policy="sr", on_miss="lr")
    for index in (0, 1):
        with pytest.raises(DamagedError, match=rf"bark/bark{index}.png in .*cannot be decoded.*srcache verify"):
            data[index]
    assert data[2][0].size == (20, 20)
    monkeypatch.setenv("SRCACHE_MAX_PIXELS", "399")
    with pytest.raises(ImageError, match="SRCACHE_MAX_PIXELS raises") as caught:
        data[2]
    assert caught.value.reason == "too_large"


# --- a cache that may only be read ---


def read_as_nobody(folder: Path, cache: Path, sums: Any) -> None:
    os.setgid(65534)
    os.setuid(65534)
    assert not any(os.access(inner, os.W_OK) for inner, _, _ in os.walk(cache))
    data = SRAugmentedDataset(folder, cache, policy="sr")
    sums.put([int(array(item).sum()) for item in data])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_cache_that_may_only_be_read_is_read(photos: Path) -> None:
    expected = [int(array(item).sum()) for item in SRAugmentedDataset(photos, built(photos, PLAIN), policy="sr")]
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(photos, Path(place) / "photos")
        shutil.copytree(photos.parent / "cache", Path(place) / "cache")
        for inner, _, _ in os.walk(place):
            os.chmod(inner, 0o755)
        context = multiprocessing.get_context("fork")
        sums = context.SimpleQueue()
        reader = context.Process(target=read_as_nobody, args=(Path(place) / "photos", Path(place) / "cache", sums))
        reader.start()
        reader.join()
        assert reader.exitcode == 0
        assert sums.get() == expected
