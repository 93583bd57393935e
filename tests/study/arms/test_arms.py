"""Arms: the same images in the same order whichever variant is asked for; what an arm lacks is named."""

import pickle
import shutil

import numpy as np
import pytest
from fills import recipe_of
from PIL import Image
from train_study import arm

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, CatalogError, ConfigError, ImageError, MissError, PolicyError
from srcache.fill import FillSettings, fill
from srcache.images import decode, resize
from srcache.study.arms.arms import arm_dataset, arm_from_folder, split_share


def file(home, kind, name):
    return decode((home / kind / "train" / name).read_bytes())


def test_every_arm_has_the_same_names_keys_labels_and_order(home):
    arms = [arm(home, name) for name in ("lr", "hr", "sr", "bicubic", "lr=0.5,sr=0.5")]
    assert {data.names for data in arms} == {tuple(row.name for row in scan(home / "lr/train").rows)}
    assert {data.keys for data in arms} == {tuple(row.key for row in scan(home / "lr/train").rows)}
    assert {data.labels for data in arms} == {("across",) * 9 + ("down",) * 9}
    assert {data.classes for data in arms} == {("across", "down")}
    assert [len(data) for data in arms] == [18] * 5
    assert arms[0].balance == {"across": 9, "down": 9}


def test_images_are_what_the_arm_says(home):
    name = "down/down 3.png"
    at = arm(home, "lr").names.index(name)
    low, high = file(home, "lr", name), file(home, "hr", name)
    assert np.array_equal(arm(home, "lr")[at], low)
    assert np.array_equal(arm(home, "hr")[at], high)
    assert np.array_equal(arm(home, "bicubic")[at], resize(low, (32, 32), "bicubic"))
    store = open_cache(home / "cache").find("lanczos").store()
    stored = decode(store.get(f"{arm(home, 'lr').keys[at]}-000"))
    assert np.array_equal(arm(home, "sr", recipe="lanczos")[at], stored)
    assert not np.array_equal(arm(home, "sr", recipe="bicubic")[at], stored)


def test_the_hr_arm_alone_and_lr_made_from_hr(home):
    alone = arm_dataset("hr", hr=home / "hr/train")
    assert np.array_equal(alone[0], arm(home, "hr")[0])
    assert [name.rpartition(".")[0] for name in alone.names] == [
        name.rpartition(".")[0] for name in arm(home, "hr").names
    ]


def test_a_recipe_that_makes_lr_from_hr_has_hr_as_its_base(home, tmp_path):
    recipe = tmp_path / "down.yaml"
    recipe.write_text("engine: resample\nscale: 2\nsize: source\ndegradation: bicubic/3\n")
    low, control = (arm_dataset(name, hr=home / "hr/train", recipe=recipe) for name in ("lr", "bicubic"))
    assert low[0].shape == (11, 11, 3)
    assert np.array_equal(control[0], resize(low[0], (32, 32), "bicubic")), "the recipe's rule of sizes"
    assert np.array_equal(arm_from_folder("lr", home / "hr/train", recipe=recipe)[0], low[0])
    with pytest.raises(CatalogError, match="recipe down makes LR from HR; leave lr out"):
        arm_dataset("lr", lr=home / "lr/train", recipe=recipe)
    with pytest.raises(CatalogError, match="leave hr out"):
        arm_from_folder("lr", home / "hr/train", hr=home / "hr/train", recipe=recipe)


def test_mixtures_change_with_the_epoch_and_the_seed(home):
    def kinds(data, epoch):
        data.set_epoch(epoch)
        return [data[index].shape[0] for index in range(len(data))]

    mixed = arm(home, "lr=0.5,hr=0.5")
    first = kinds(mixed, 0)
    assert set(first) == {16, 32}
    assert kinds(mixed, 1) != first
    assert kinds(mixed, 0) == first
    assert kinds(arm(home, "lr=0.5,hr=0.5", seed=1), 0) != first


def test_what_images_depend_on_is_in_the_inputs(home, tmp_path):
    inputs = {name: arm(home, name).inputs for name in ("lr", "hr", "sr", "bicubic")}
    assert len({str(one) for one in inputs.values()}) == 4
    assert inputs["lr"] == {"arm": "lr", "images": scan(home / "lr/train").digest}
    assert inputs["hr"]["hr"] == scan(home / "hr/train").digest
    assert inputs["sr"]["recipe"] == open_cache(home / "cache").find("bicubic").recipe.fingerprint
    assert arm(home, "sr", recipe="lanczos").inputs != inputs["sr"]
    shutil.copytree(home / "lr/train", tmp_path / "copy")
    assert arm_dataset("lr", lr=tmp_path / "copy").inputs == inputs["lr"], "by content, not by place"
    Image.new("RGB", (16, 16)).save(tmp_path / "copy/down/down 0.png")
    assert arm_dataset("lr", lr=tmp_path / "copy").inputs != inputs["lr"]


def test_the_number_of_samples_is_among_the_inputs_where_one_of_them_is_drawn(home, tmp_path):
    """A cache that got more of them since serves others, and a training on it is another one."""
    catalog, noisy = scan(home / "lr/test"), recipe_of("test-noise")

    def inputs(name):
        return arm_dataset(name, lr=catalog, cache=tmp_path / "cache").inputs

    fill(catalog, noisy, tmp_path / "cache", FillSettings(device="cpu"))
    names = ("sr", "lr=1,sr=1", "patch(lr,sr)", "sr#0", "lr=1,sr#0=1")
    before = [inputs(name) for name in names]
    fill(catalog, noisy, tmp_path / "cache", FillSettings(device="cpu", samples=2))
    changed = [inputs(name) != one for name, one in zip(names, before, strict=True)]
    assert changed == [True, True, True, False, False]
    assert all("samples" not in one for one in before)


def test_a_subset_has_the_same_images_as_the_arm(home):
    mixed = arm(home, "lr=0.5,hr=0.5")
    part = mixed.subset([5, 2])
    mixed.set_epoch(3)
    assert np.array_equal(part[0], mixed[5])
    assert (part.names, part.keys) == (
        (mixed.names[5], mixed.names[2]),
        (mixed.keys[5], mixed.keys[2]),
    )
    assert part.inputs != mixed.inputs
    assert len(part.subset([1])) == 1
    assert np.array_equal(part.subset([1])[0], mixed[2])


def test_a_share_for_validation_is_the_same_for_every_arm(home):
    for seed in (0, 1):
        train, validation = split_share(arm(home, "lr"), 0.3, seed)
        assert validation.balance == {"across": 3, "down": 3}
        assert sorted([*train.names, *validation.names]) == sorted(arm(home, "lr").names)
        assert split_share(arm(home, "sr"), 0.3, seed)[1].names == validation.names
    assert split_share(arm(home, "lr"), 0.3, 0)[1].names != validation.names


def test_equal_images_stay_on_one_side(home, tmp_path):
    shutil.copytree(home / "lr/train", tmp_path / "doubles")
    for number in range(9):
        shutil.copy(tmp_path / f"doubles/down/down {number}.png", tmp_path / f"doubles/down/double {number}.png")
    train, validation = split_share(arm_dataset("lr", lr=tmp_path / "doubles"), 0.5)
    assert set(train.keys) & set(validation.keys) == set()


@pytest.mark.parametrize("name", ["lr", "hr", "sr", "bicubic"])
def test_arms_go_through_processes(home, name):
    data = arm(home, name)
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again[4], data[4])


def test_what_is_missing_is_named(home, tmp_path):
    low = home / "lr/train"
    with pytest.raises(ConfigError, match="arm lr needs lr: a folder of images"):
        arm_dataset("lr", hr=home / "hr/train")
    with pytest.raises(ConfigError, match="arm hr needs hr"):
        arm_dataset("hr")
    with pytest.raises(ConfigError, match="arm hr needs hr"):
        arm_dataset("hr", lr=low)
    with pytest.raises(PolicyError, match="needs HR images beside the LR ones, but none were given"):
        arm_dataset("lr=0.5,hr=0.5", lr=low, cache=home / "cache", recipe="bicubic")
    with pytest.raises(ConfigError, match="arm sr needs a cache"):
        arm_dataset("sr", lr=low, recipe="bicubic")
    with pytest.raises(ConfigError, match="arm bicubic needs to know how large SR images are"):
        arm_dataset("bicubic", lr=low)
    with pytest.raises(ConfigError, match=r"holds 2 recipes .* say which"):
        arm_dataset("sr", lr=low, cache=home / "cache")
    with pytest.raises(CacheError, match="holds no recipe 'compact'"):
        arm_dataset("sr", lr=low, cache=home / "cache", recipe="compact")
    with pytest.raises(PolicyError, match="made of hr, lr and sr"):
        arm_dataset("gan", lr=low, cache=home / "cache", recipe="bicubic")
    assert len(arm_dataset("lr", lr=low, cache=home / "cache")) == 18, "LR needs no recipe"
    (tmp_path / "low").mkdir()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "low/new.png")
    with pytest.raises(MissError, match="the cache has no SR image"):
        arm_dataset("sr", lr=tmp_path / "low", cache=home / "cache", recipe="bicubic")[0]


def test_shares_that_cannot_be_are_refused(home, tmp_path):
    for share in (0, 1, -0.5, 2):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            split_share(arm(home, "lr"), share)
    with pytest.raises(CatalogError, match="leaves one side empty"):
        split_share(arm(home, "lr"), 0.01)
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "flat/a.png")
    with pytest.raises(CatalogError, match="expected images with classes"):
        split_share(arm_dataset("lr", lr=tmp_path / "flat"), 0.5)


def test_a_broken_image_is_named_when_it_is_read(home, tmp_path):
    shutil.copytree(home / "lr/test", tmp_path / "lr")
    (tmp_path / "lr/down/down 0.png").write_bytes(b"no image")
    data = arm_dataset("lr", lr=tmp_path / "lr")
    with pytest.raises(ImageError, match=r"down/down 0\.png: "):
        data[data.names.index("down/down 0.png")]
