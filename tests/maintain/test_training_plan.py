"""What goes into an exported training set: its order, its classes, and images that are left out."""

import shutil
from pathlib import Path

import pytest

from srcache.cache.manifest import open_cache
from srcache.catalog.scanning import scan
from srcache.errors import CacheError
from srcache.keys import file_key
from srcache.maintain.training_plan import JoinSettings, training_plan


def planned(cache: Path, progress=lambda done, total: None, **settings):
    return training_plan(open_cache(cache), JoinSettings(**{"recipe": "bicubic", **settings}), progress)


def names(plan) -> list[str]:
    return [sample.row.name for sample in plan.samples]


def test_without_a_seed_the_order_is_the_catalogs(built, cache):
    with planned(cache, seed=None) as plan:
        rows = [row.name for row in scan(built / "photos").rows]
        assert names(plan) == [name for name in rows if name in names(plan)]
        assert plan.classes == ("Möwen & Co", "wörter")
    with planned(cache, seed=3) as shuffled, planned(cache, seed=3) as again:
        assert names(shuffled) == names(again) != names(plan)
        assert sorted(names(shuffled)) == sorted(names(plan))


def test_images_without_sr_are_listed_and_the_rest_is_made(built, cache):
    steps = []
    with planned(cache, lambda *step: steps.append(step), seed=None, lr=built / "photos") as plan:
        made = list(plan.made())
    assert [(failed.source, failed.reason) for failed in plan.failures] == [("wörter/leer.png", "absent")]
    assert len(made) == len(plan.samples) == 6
    assert steps[-1] == (12, 12)


def test_classes_are_numbered_as_they_were_asked_for(cache):
    with planned(cache, classes=("wörter", "Möwen & Co")) as plan:
        assert {(sample.row.label, sample.number) for sample in plan.samples} == {("wörter", 0), ("Möwen & Co", 1)}
    with pytest.raises(CacheError, match="expected different classes of the catalog"), planned(cache, classes=("x",)):
        pass


def test_files_of_one_kind_are_made_alike_unless_they_may_be_mixed(built, cache, tmp_path):
    photos = Path(shutil.copytree(built / "photos", tmp_path / "photos"))
    jpeg = photos / "Möwen & Co/v1.2 final.jpg"
    suffixes = {}
    for mixed in (False, True):
        settings = JoinSettings(recipe="bicubic", lr=photos)
        with training_plan(open_cache(cache), settings, lambda *_: None, mixed=mixed) as plan:
            for sample, members in zip(plan.samples, plan.made(), strict=True):
                if sample.row.key == file_key(jpeg):
                    suffixes[mixed] = members[0]
    assert suffixes[False][0] == "lr.png"
    assert suffixes[True] == ("lr.jpg", jpeg.read_bytes())
