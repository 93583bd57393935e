"""Arms: what a classifier is trained on or asked about, as pictures with names, keys and labels.

    lr        the LR pictures
    hr        the HR pictures
    sr        their SR variants, from a cache
    bicubic   the control: LR enlarged to the size of SR by Pillow's bicubic filter, which adds nothing
    POLICY    any mixture, such as lr=0.5,sr=0.5 (see `policy`)

Another engine's SR, as a control against SeeSR, is the arm `sr` of another recipe in the cache. All arms of one data
set have the same length, labels and order, and one name and key for the same picture.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srcache.cache.manifest import Cache, RecipeFolder, open_cache
from srcache.catalog.rows import Catalog
from srcache.catalog.scanning import open_catalog
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.items import Items, open_items
from srcache.dataset.policy import Policy
from srcache.errors import CatalogError, ConfigError, listed
from srcache.images import Pixels, resize
from srcache.keys import ImageKey, image_key
from srcache.recipe.reading import load_recipe
from srcache.recipe.recipe import Recipe
from srcache.study.prepare.stratify import assign, exact_shares

ARMS = ("lr", "hr", "sr", "bicubic")


class ArmDataset:
    """Pictures of one arm: `arm[index]` is one, uint8 (height, width, 3). Opened by `arm_dataset`; safe to fork.

    Attributes:
        arm: lr, hr, sr, bicubic or a policy's text.
        classes: names of the classes; empty without labels.
        names: of each picture, relative to its root, POSIX, with suffix.
        keys: of each picture of the base.
        labels: the class of each picture, or None.
        inputs: digests of all that the pictures hang on, as JSON values.
    """

    def __init__(self, arm: str, catalog: Catalog, read: Callable[[int], Pixels], inputs: dict[str, Any]) -> None:
        self.arm, self.classes, self.inputs = arm, catalog.classes, inputs
        self.names = tuple(row.name for row in catalog.rows)
        self.keys = tuple(str(row.key) for row in catalog.rows)
        self.labels = tuple(row.label for row in catalog.rows)
        self._read: Callable[[int], Pixels] = read
        self._places: Sequence[int] = range(len(catalog.rows))
        self._tell: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Pixels:
        return self._read(self._places[index])

    def __repr__(self) -> str:
        return f"ArmDataset({self.arm}, {len(self)} images, {len(self.classes)} classes)"

    @property
    def balance(self) -> dict[str, int]:
        """Pictures per class."""
        counts = Counter(self.labels)
        return {name: counts[name] for name in self.classes}

    def set_epoch(self, epoch: int) -> None:
        """Choose variants anew, where a policy does; from 0."""
        if self._tell is not None:
            self._tell(epoch)

    def subset(self, indices: Sequence[int]) -> "ArmDataset":
        """Some of the pictures, in this order; the same variants as before."""
        part = object.__new__(ArmDataset)
        part.__dict__.update(self.__dict__)
        part.names = tuple(self.names[index] for index in indices)
        part.keys = tuple(self.keys[index] for index in indices)
        part.labels = tuple(self.labels[index] for index in indices)
        part._places = [self._places[index] for index in indices]
        part.inputs = {**self.inputs, "subset": image_key(str(list(part._places)).encode())}
        return part


def arm_dataset(
    arm: str,
    *,
    lr: Any = None,
    hr: Any = None,
    cache: str | Path | Cache | None = None,
    recipe: str | Path | Recipe | None = None,
    seed: int = 0,
) -> ArmDataset:
    """The pictures of an arm.

    Args:
        arm: lr, hr, sr, bicubic or a policy's text.
        lr: LR pictures: a folder, a CSV file, a Catalog or a map-style data set. Left out where the recipe makes LR
            from HR.
        hr: HR pictures; beside `lr` they are paired by relative name without suffix, alone they are the base.
        cache: where SR pictures lie; for `sr` and for policies.
        recipe: which of them: in the cache by name, fingerprint or Recipe; without a cache (`bicubic` needs to know how
            large SR is) a shipped recipe's name, or a YAML file.
        seed: of a policy's chance.

    Raises:
        ConfigError: what the arm needs was not given, or is not there.
        CatalogError: pictures that cannot be used, or HR pictures that are missing.
    """
    known, folder = _recipe(cache, recipe, arm not in ("lr", "hr"))
    degradation = known.degradation if known else None
    if lr is not None and degradation is not None:
        raise CatalogError(f"recipe {known.name if known else ''} makes LR from HR; leave lr out, and give hr")
    needed = "lr" if arm != "hr" and degradation is None else "hr"
    if (lr if needed == "lr" else hr) is None:
        raise ConfigError(f"arm {arm} needs {needed}: a folder of pictures")
    base = lr if lr is not None else hr
    catalog = _whole(open_catalog(base))
    pairs = hr if lr is not None else None
    inputs: dict[str, Any] = {"arm": arm, "images": catalog.digest}
    if known is not None and arm not in ("lr", "hr"):
        inputs["recipe"] = known.fingerprint
    if pairs is not None and (arm not in ARMS or arm == "hr"):
        inputs["hr"] = open_catalog(pairs).digest
    if arm in ("lr", "hr", "bicubic"):
        return ArmDataset(arm, catalog, _reader(arm, catalog, pairs, known), inputs)
    return _cached(arm, catalog, pairs, folder, inputs | {"policy_seed": seed})


def arm_from_folder(
    arm: str,
    base: Any,
    *,
    hr: Any = None,
    cache: str | Path | Cache | None = None,
    recipe: str | Path | Recipe | None = None,
    seed: int = 0,
) -> ArmDataset:
    """An arm of pictures that are what the recipe starts from, whichever that is; see `arm_dataset`.

    Args:
        arm, cache, recipe, seed: see `arm_dataset`.
        base: LR pictures; HR where the recipe makes LR from HR, and for the arm `hr` without `hr`.
        hr: HR pictures beside LR ones.
    """
    known, _ = _recipe(cache, recipe, arm not in ("lr", "hr"))
    if (known is not None and known.degradation is not None) or (arm == "hr" and hr is None):
        if hr is not None:
            raise CatalogError("the recipe makes LR from the base, which therefore is HR; leave hr out")
        return arm_dataset(arm, hr=base, cache=cache, recipe=recipe, seed=seed)
    return arm_dataset(arm, lr=base, hr=hr, cache=cache, recipe=recipe, seed=seed)


def split_share(data: ArmDataset, share: float, seed: int = 0) -> tuple[ArmDataset, ArmDataset]:
    """Training and validation pictures from one set: this share of every class, to the nearest, is for validation.

    Which pictures those are hangs on the seed and the keys alone, so it is the same for every arm; equal pictures stay
    together.

    Raises:
        ConfigError: no share between 0 and 1.
        CatalogError: a picture without a class, or nothing left on one side.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share for validation must lie between 0 and 1, but is {share}")
    if None in data.labels:
        raise CatalogError(f"expected pictures with classes, to take a share of each, but got {data!r}")
    pictures = [(ImageKey(key), str(label)) for key, label in zip(data.keys, data.labels, strict=True)]
    where = assign(pictures, exact_shares((1 - share, share, 0)), seed)
    sides = [[i for i, key in enumerate(data.keys) if where[ImageKey(key)] == name] for name in ("train", "validation")]
    if not all(sides):
        raise CatalogError(f"a share of {share} of {len(data)} pictures leaves one side empty")
    return data.subset(sides[0]), data.subset(sides[1])


def _cached(
    arm: str, catalog: Catalog, pairs: Any, folder: "tuple[Cache, RecipeFolder] | None", inputs: dict[str, Any]
) -> ArmDataset:
    """Pictures that SRAugmentedDataset serves."""
    policy = Policy.parse(arm, inputs["policy_seed"])
    if folder is None:
        raise ConfigError(f"arm {arm} needs a cache with SR pictures (`srcache build`); give cache=")
    data = SRAugmentedDataset(
        catalog, folder[0], folder[1].recipe, policy, hr=pairs if "hr" in policy.kinds else None, size="mixed"
    )
    if data.measurements is not None:
        inputs["measurements"] = data.measurements
    made = ArmDataset(arm, catalog, partial(_served, data), inputs)
    made._tell = data.set_epoch
    return made


def _reader(arm: str, catalog: Catalog, pairs: Any, recipe: Recipe | None) -> Callable[[int], Pixels]:
    """How a picture of lr, hr or bicubic is read."""
    degradation = recipe.degradation if recipe else None
    if arm == "hr":
        items = open_items(catalog, pairs, degradation)
        return items.hr if pairs is not None else partial(_base, items)
    items = open_items(catalog, None, degradation)
    if arm == "lr":
        return items.lr
    if recipe is None:
        raise ConfigError("arm bicubic needs to know how large SR pictures are; give recipe= or cache=")
    return partial(_enlarged, items, recipe)


def _served(data: SRAugmentedDataset, index: int) -> Pixels:
    return np.asarray(data[index][0])


def _base(items: Items, index: int) -> Pixels:
    return items.decoded(index).rgb


def _enlarged(items: Items, recipe: Recipe, index: int) -> Pixels:
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


def _whole(catalog: Catalog) -> Catalog:
    if catalog.problems:
        names = listed([f"{problem.name} ({problem.reason})" for problem in catalog.problems])
        raise CatalogError(f"{len(catalog.problems)} images cannot be used: {names}; mend or remove them")
    return catalog
