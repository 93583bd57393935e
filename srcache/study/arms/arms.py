"""Arms: what a classifier is trained on or asked about, as images with names, keys and labels.

    lr        the LR images
    hr        the HR images
    sr        their SR variants, from a cache
    bicubic   the control: LR enlarged to the size of SR by Pillow's bicubic filter, which adds nothing
    POLICY    any mixture, such as lr=0.5,sr=0.5 or patch(lr,sr) (see `dataset.policy`)

Another engine's SR, as a control against SeeSR, is the arm `sr` of another recipe in the cache. All arms of one data
set have the same length, labels and order, and one name and key for the same image.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srcache.cache.failures import FailedEntry, not_catalogued
from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.items import Items, open_items
from srcache.dataset.policy import Policy, Variant
from srcache.errors import CatalogError, ConfigError, PolicyError
from srcache.images import AS_EVER, Pixels, resize
from srcache.keys import ImageKey, image_key
from srcache.recipe.reading import load_recipe
from srcache.recipe.recipe import Recipe
from srcache.study.prepare.stratify import assign, exact_shares
from srcache.wording import counted

ARMS = ("lr", "hr", "sr", "bicubic")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ArmDataset:
    """The images of one arm: `arm[index]` is one, uint8 (height, width, 3). Opened by `arm_dataset`; safe to fork.

    Attributes:
        arm: lr, hr, sr, bicubic or a policy's text.
        classes: names of the classes, in order; of a folder or a CSV file those that have images. Empty without labels.
        names: of each image, relative to its root, POSIX, with suffix.
        keys: of each image of the base.
        labels: the class of each image, or None.
        inputs: digests of all that the images depend on, as JSON values.
        places: where each image is in the base, which `read` knows by that number.
        read: gives the image at a place of the base.
        on_epoch: called with an epoch that begins; None where no variant is chosen by it.
        unclassed: why a CSV file that has labels, or something like them, has no classes.
        root: the folder that names are relative to, if there is one.
        left_out: files of the base that could not be catalogued, and therefore are no images of the arm.
        read_all: reads an image at a place of the base in every variant that it has in these epochs; None where it has
            one only.
    """

    arm: str
    classes: tuple[str, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    inputs: Mapping[str, Any]
    places: tuple[int, ...]
    read: Callable[[int], Pixels]
    on_epoch: Callable[[int], None] | None = None
    unclassed: str = ""
    root: Path | None = None
    left_out: tuple[FailedEntry, ...] = ()
    read_all: Callable[[int, Iterable[int]], None] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Pixels:
        return self.read(self.places[index])

    def __repr__(self) -> str:
        return f"ArmDataset({self})"

    def __str__(self) -> str:
        why = f"; {self.unclassed}" if self.unclassed else ""
        return f"{counted(len(self), 'image')} of the arm {self.arm}, in {counted(len(self.classes), 'class')}{why}"

    @property
    def balance(self) -> dict[str, int]:
        """Images per class."""
        counts = Counter(self.labels)
        return {name: counts[name] for name in self.classes}

    def check(self, index: int, epochs: Iterable[int]) -> None:
        """Read one of the images, in every variant that it has in these epochs.

        Raises:
            ImageError, MissError: it cannot be read.
        """
        if self.read_all is not None:
            self.read_all(self.places[index], epochs)
        else:
            self.read(self.places[index])

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew, where a policy does; from 0."""
        if self.on_epoch is not None:
            self.on_epoch(epoch)

    def subset(self, indices: Sequence[int]) -> "ArmDataset":
        """Some of the images, in this order; the same variants as before."""
        places = tuple(self.places[index] for index in indices)
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            keys=tuple(self.keys[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
            inputs={**self.inputs, "subset": image_key(str(list(places)).encode())},
            places=places,
        )


def arm_dataset(
    arm: str,
    *,
    lr: Any = None,
    hr: Any = None,
    cache: str | Path | Cache | None = None,
    recipe: str | Path | Recipe | None = None,
    seed: int = 0,
) -> ArmDataset:
    """The images of an arm. What could not be catalogued is in its `left_out`, and not among them.

    Args:
        arm: lr, hr, sr, bicubic or a policy's text.
        lr: LR images: a folder, a CSV file, a Catalog or a map-style data set. Left out where the recipe makes LR
            from HR.
        hr: HR images; beside `lr` they are paired by relative name without suffix, alone they are the base.
        cache: where SR images lie; for `sr` and for policies.
        recipe: which of them: in the cache by name, fingerprint or Recipe; without a cache (`bicubic` needs to know how
            large SR is) a shipped recipe's name, or a YAML file.
        seed: of the random choices of a policy.

    Raises:
        ConfigError: what the arm needs was not given, or is not there.
        CatalogError: there are no images, or HR images are missing.
    """
    known, folder = _recipe(cache, recipe, arm not in ("lr", "hr"))
    degradation = known.degradation if known else None
    if lr is not None and degradation is not None:
        raise CatalogError(f"recipe {known.name if known else ''} makes LR from HR; leave lr out, and give hr")
    needed = "lr" if arm != "hr" and degradation is None else "hr"
    if (lr if needed == "lr" else hr) is None:
        raise ConfigError(f"arm {arm} needs {needed}: a folder of images")
    base = lr if lr is not None else hr
    catalog = open_catalog(base)
    pairs = hr if lr is not None else None
    inputs: dict[str, Any] = {"arm": arm, "images": catalog.digest}
    if known is not None and arm not in ("lr", "hr"):
        inputs["recipe"] = known.fingerprint
    if known is not None and known.colors != AS_EVER:
        inputs["colors"] = [known.color_profile, known.background]
    if pairs is not None and (arm not in ARMS or arm == "hr"):
        inputs["hr"] = open_catalog(pairs).digest
    if arm in ("lr", "hr", "bicubic"):
        return _dataset(arm, catalog, inputs, _reader(arm, catalog, pairs, known))
    return _from_cache(arm, catalog, pairs, folder, inputs | {"policy_seed": seed})


def arm_from_folder(
    arm: str,
    base: Any,
    *,
    hr: Any = None,
    cache: str | Path | Cache | None = None,
    recipe: str | Path | Recipe | None = None,
    seed: int = 0,
) -> ArmDataset:
    """An arm of images that are what the recipe starts from, whichever that is; see `arm_dataset`.

    Args:
        arm, cache, recipe, seed: see `arm_dataset`.
        base: LR images; HR where the recipe makes LR from HR, and for the arm `hr` without `hr`.
        hr: HR images beside LR ones.
    """
    known, _ = _recipe(cache, recipe, arm not in ("lr", "hr"))
    if (known is not None and known.degradation is not None) or (arm == "hr" and hr is None):
        if hr is not None:
            raise CatalogError("the recipe makes LR from the base, which therefore is HR; leave hr out")
        return arm_dataset(arm, hr=base, cache=cache, recipe=recipe, seed=seed)
    return arm_dataset(arm, lr=base, hr=hr, cache=cache, recipe=recipe, seed=seed)


def split_share(data: ArmDataset, share: float, seed: int = 0) -> tuple[ArmDataset, ArmDataset]:
    """Training and validation images from one set: this share of every class, to the nearest, is for validation.

    Which images those are depends on the seed and the keys alone, so it is the same for every arm; equal images stay
    together.

    Raises:
        ConfigError: no share between 0 and 1.
        CatalogError: an image without a class, or nothing left on one side.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share for validation must lie between 0 and 1, but is {share}")
    if None in data.labels:
        raise CatalogError(f"expected images with classes, to take a share of each, but got {data}")
    images = [(ImageKey(key), str(label)) for key, label in zip(data.keys, data.labels, strict=True)]
    where = assign(images, exact_shares((1 - share, share, 0)), seed)
    sides = [[i for i, key in enumerate(data.keys) if where[ImageKey(key)] == name] for name in ("train", "validation")]
    if not all(sides):
        raise CatalogError(f"a share of {share} of {len(data)} images leaves one side empty")
    return data.subset(sides[0]), data.subset(sides[1])


def _from_cache(
    arm: str, catalog: Catalog, pairs: Any, folder: "tuple[Cache, RecipeFolder] | None", inputs: dict[str, Any]
) -> ArmDataset:
    """An arm of which SRAugmentedDataset chooses and reads the images."""
    policy = Policy.parse(arm, inputs["policy_seed"])
    if folder is None:
        raise ConfigError(f"arm {arm} needs a cache with SR images (`srcache build`), but none was given")
    if "hr" in policy.kinds and pairs is None and folder[1].recipe.degradation is None:
        raise PolicyError(f"arm {arm} needs HR images beside the LR ones, but none were given")
    data = SRAugmentedDataset(
        catalog, folder[0], folder[1].recipe, policy, hr=pairs if "hr" in policy.kinds else None, size="mixed"
    )
    if data.measurements is not None:
        inputs["measurements"] = data.measurements
    if policy.draws_samples and (samples := data.reader.chooser.samples) > 1:
        inputs["samples"] = samples
    images = _dataset(arm, catalog, inputs, partial(_read_variant, data))
    return replace(images, on_epoch=data.set_epoch, read_all=partial(_read_variants, data))


def _dataset(
    arm: str,
    catalog: Catalog,
    inputs: Mapping[str, Any],
    read: Callable[[int], Pixels],
) -> ArmDataset:
    """All images of a catalog as an arm; the classes of a folder or a CSV file are those that it has images of."""
    labels = tuple(row.label for row in catalog.rows)
    if catalog.unclassed and any(labels):
        raise CatalogError(catalog.unclassed)
    found = set(labels) if catalog.source is None else set(catalog.classes)
    return ArmDataset(
        arm=arm,
        classes=tuple(name for name in catalog.classes if name in found),
        names=tuple(row.name for row in catalog.rows),
        keys=tuple(str(row.key) for row in catalog.rows),
        labels=labels,
        inputs=inputs,
        places=tuple(range(len(catalog.rows))),
        read=read,
        unclassed=catalog.unclassed,
        root=catalog.root,
        left_out=not_catalogued(catalog.problems),
    )


def _reader(arm: str, catalog: Catalog, pairs: Any, recipe: Recipe | None) -> Callable[[int], Pixels]:
    """What reads an image of lr, hr or bicubic."""
    degradation, colors = (recipe.degradation, recipe.colors) if recipe else (None, AS_EVER)
    if arm == "hr":
        items = open_items(catalog, pairs, degradation, colors=colors)
        return items.hr if pairs is not None else partial(_read_base, items)
    items = open_items(catalog, None, degradation, colors=colors)
    if arm == "lr":
        return items.lr
    if recipe is None:
        raise ConfigError("arm bicubic needs to know how large SR images are; give a recipe, or a cache")
    return partial(_enlarge, items, recipe)


def _read_variant(data: SRAugmentedDataset, index: int) -> Pixels:
    return np.asarray(data[index][0])


def _read_variants(data: SRAugmentedDataset, index: int, epochs: Iterable[int]) -> None:
    reader, seen = data.reader, set[Variant]()
    for epoch in epochs:
        variant = reader.chooser.pick(reader.items.key(index), epoch)
        if variant not in seen:
            seen.add(variant)
            reader.look(index, variant)
        if not reader.chooser.varies:
            return


def _read_base(items: Items, index: int) -> Pixels:
    return items.decoded(index).rgb


def _enlarge(items: Items, recipe: Recipe, index: int) -> Pixels:
    source = items.decoded(index).rgb
    small = recipe.degradation.apply(source) if recipe.degradation else source
    size = recipe.output_size((small.shape[0], small.shape[1]), (source.shape[0], source.shape[1]))
    return resize(small, size, "bicubic")


def _recipe(
    cache: str | Path | Cache | None, recipe: str | Path | Recipe | None, required: bool
) -> "tuple[Recipe | None, tuple[Cache, RecipeFolder] | None]":
    """The recipe that is meant, and its place in the cache, if there is one; none where several would do."""
    if cache is None:
        known = recipe if isinstance(recipe, Recipe) or recipe is None else load_recipe(recipe)
        return known, None
    opened = cache if isinstance(cache, Cache) else open_cache(cache)
    if recipe is None and not required and len(opened.folders()) != 1:
        return None, None
    if not isinstance(recipe, Recipe) and recipe is not None:
        recipe = load_recipe(recipe) if Path(recipe).suffix in (".yaml", ".yml") else str(recipe)
    folder = opened.find(recipe)
    return folder.recipe, (opened, folder)
