"""Training shards: read by webdataset, datasets and tar; the same bytes each time; nothing left out in silence."""

import io
import json
import shutil
import subprocess
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache.cache.manifest import open_cache
from srcache.cache.receipts import KeptCatalog, KeptRow
from srcache.catalog.scanning import scan
from srcache.errors import CacheError, CatalogError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import decode
from srcache.keys import ImageKey, file_key
from srcache.maintain.export_shards import JoinSettings, export_join
from srcache.recipe.reading import load_recipe

FIELDS = {
    **{"key": str, "name": str, "label": str, "class": int, "recipe": str, "fingerprint": str, "samples": int},
    **{f"{kind}_{side}": int for kind in ("lr", "hr", "sr") for side in ("height", "width")},
    "notes": str,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """In `photos` 12 images of 2 classes, two of them equal; HR in `hr`; caches of both."""
    home = tmp_path_factory.mktemp("home")
    for label in ("ant", "bee"):
        for number in range(6):
            pixels = picture(24, 20 + number, 10 * (label == "bee") + number)
            for root, suffix, size in (("photos", ".png", (10, 12)), ("hr", ".bmp", (20 + number, 24))):
                file = home / root / label / f"{label} v1.{number}{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).resize(size).save(file)
    shutil.copy(home / "photos/ant/ant v1.0.png", home / "photos/bee/bee v1.0.png")
    caches.build(home / "photos", home / "cache")
    caches.build(home / "photos", home / "noisy", "noisy", samples=2)
    degraded = load_recipe("bicubic", {"scale": 2, "degradation": "bicubic/2"})
    fill(scan(home / "hr"), degraded, home / "degraded", FillSettings(device="cpu"))
    return home


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Each sample's members by suffix, as Python's own `tarfile` reads them, in their order."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as file:
            for member in file:
                number, _, suffix = member.name.partition(".")
                found.setdefault(number, {})[suffix] = file.extractfile(member).read()  # type: ignore[union-attr]
    return found


def about(sample: dict[str, bytes]) -> dict[str, Any]:
    return json.loads(sample["json"])


def export(home: Path, out: Path, cache: str = "cache", **settings: Any):
    return export_join(home / cache, out, JoinSettings(**settings))


def test_a_sample_joins_lr_hr_sr_and_label(home, tmp_path):
    report = export(home, tmp_path / "out", lr=home / "photos", hr=home / "hr")
    found = samples_of(tmp_path / "out")
    assert (report.failures, report.content.samples, len(found)) == ((), 12, 12)
    assert list(found) == [f"{number:08d}" for number in range(12)]
    stored = caches.contents(home / "cache")
    for sample in found.values():
        assert list(sample) == ["lr.png", "hr.png", "sr000.png", "cls", "json"] == list(report.content.members)
        row = about(sample)
        assert {name: type(value) for name, value in row.items()} == FIELDS
        assert sample["lr.png"] == (home / "photos" / row["name"]).read_bytes()
        assert file_key(home / "photos" / row["name"]) == row["key"]
        pair = home / "hr" / Path(row["name"]).with_suffix(".bmp")
        assert np.array_equal(decode(sample["hr.png"]), decode(pair.read_bytes()))
        assert np.array_equal(decode(sample["sr000.png"]), decode(stored[f"{row['key']}-000"]))
        assert int(sample["cls"]) == row["class"] == ["ant", "bee"].index(row["label"])
        for kind in ("lr.png", "hr.png", "sr000.png"):
            short = kind[:2]
            assert decode(sample[kind]).shape == (row[f"{short}_height"], row[f"{short}_width"], 3)
    names = [about(sample)["name"] for sample in found.values()]
    assert sorted(names) == sorted(row.name for row in scan(home / "photos").rows)
    assert "bee/bee v1.0.png" in names, "equal images under two names are two samples"


def test_with_a_degradation_lr_is_made_as_build_makes_it(home, tmp_path):
    export(home, tmp_path / "out", "degraded", hr=home / "hr")
    recipe = open_cache(home / "degraded").find().recipe
    for sample in samples_of(tmp_path / "out").values():
        row = about(sample)
        hr = decode((home / "hr" / row["name"]).read_bytes())
        assert list(sample) == ["lr.png", "hr.png", "sr000.png", "cls", "json"]
        assert np.array_equal(decode(sample["hr.png"]), hr)
        assert np.array_equal(decode(sample["lr.png"]), recipe.degradation.apply(hr))
        assert (row["hr_height"], row["lr_height"], row["sr_height"]) == (24, 12, 24)


def test_without_folders_only_sr_and_labels_go_in(home, tmp_path):
    report = export(home, tmp_path / "out", "noisy")
    assert report.content.members == ("sr000.png", "sr001.png", "cls", "json")
    for sample in samples_of(tmp_path / "out").values():
        row = about(sample)
        assert (row["hr_height"], row["lr_height"], row["sr_height"]) == (0, 12, 24)
        assert len(json.loads(row["notes"])) == 2
        assert sample["sr000.png"] != sample["sr001.png"]


def test_the_same_export_is_the_same_bytes_and_another_seed_another_order(home, tmp_path):
    words = {"lr": home / "photos", "shard_bytes": 20_000}
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        export(home, tmp_path / name, seed=seed, **words)
    assert caches.tree(tmp_path / "one") == caches.tree(tmp_path / "two")
    orders = [[about(sample)["name"] for sample in samples_of(tmp_path / name).values()] for name in ("one", "three")]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != sorted(orders[0])


def test_shards_keep_to_their_size_and_are_counted(home, tmp_path):
    report = export(home, tmp_path / "out", lr=home / "photos", shard_bytes=20_000)
    noted = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert len(noted["shards"]) == len(report.content.shards) > 1
    for shard in noted["shards"]:
        file = tmp_path / "out" / shard["file"]
        assert file.stat().st_size == shard["bytes"] <= 20_000
        with tarfile.open(file) as tar:
            assert len({member.name.partition(".")[0] for member in tar}) == shard["samples"]
    assert sum(shard["samples"] for shard in noted["shards"]) == noted["samples"] == 12
    assert report.bytes == sum(shard["bytes"] for shard in noted["shards"])


def test_a_sample_larger_than_a_shard_has_one_of_its_own(home, tmp_path):
    report = export(home, tmp_path / "out", shard_bytes=1)
    assert [shard.samples for shard in report.content.shards] == [1] * 12


def test_tar_lists_them(home, tmp_path):
    export(home, tmp_path / "out")
    words = ["tar", "tvf", str(tmp_path / "out/shard-000000.tar")]
    listed = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = listed.stdout.splitlines()
    assert len(lines) == 36
    assert all("1970" in line and line.startswith("-rw-r--r-- 0/0") for line in lines)
    assert listed.stderr == ""


@pytest.mark.medium
def test_webdataset_trains_from_them(home, tmp_path):
    import torch
    import webdataset as wds

    export(home, tmp_path / "out", lr=home / "photos", hr=home / "hr", shard_bytes=20_000)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webdataset's own
        data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(100).decode("torchrgb")
        rows = list(data.to_tuple("lr.png", "sr000.png", "cls", "json"))
    assert sorted(row["name"] for *_, row in rows) == sorted(row.name for row in scan(home / "photos").rows)
    stored = caches.pixels(home / "cache")
    for lr, sr, label, row in rows:
        assert (label, tuple(lr.shape), tuple(sr.shape)) == (row["class"], (3, 12, 10), (3, 24, 20))
        assert (sr * 255).round().byte().permute(1, 2, 0).numpy().tobytes() == stored[f"{row['key']}-000"]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 20, 2))
    before = net[1].weight.clone()
    images, labels = torch.stack([row[1] for row in rows]), torch.tensor([row[2] for row in rows])
    torch.nn.functional.cross_entropy(net(images), labels).backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert not torch.equal(before, net[1].weight)


@pytest.mark.medium
@pytest.mark.parametrize("how", ["files", "folder"])
def test_datasets_reads_them(home, tmp_path, monkeypatch, how):
    import datasets

    monkeypatch.setattr("srcache.maintain.training_samples.SampleMaker._sr", _with_odd_notes())
    export(home, tmp_path / "out", "noisy", lr=home / "photos", hr=home / "hr", shard_bytes=30_000)
    words = {"cache_dir": str(tmp_path / "hf"), "split": "train"}
    if how == "files":
        found = datasets.load_dataset("webdataset", data_files=str(tmp_path / "out/*.tar"), **words)
    else:
        found = datasets.load_dataset(str(tmp_path / "out"), **words)
    assert len(found) == 12
    members = ("lr.png", "hr.png", "sr000.png", "sr001.png", "cls", "json")
    assert set(found.column_names) == {"__key__", "__url__", *members}
    written = samples_of(tmp_path / "out")
    for row in found:
        assert np.array_equal(np.asarray(row["sr001.png"]), decode(written[row["__key__"]]["sr001.png"]))
        assert row["json"] == about(written[row["__key__"]])


def _with_odd_notes():
    """The notes of every other image are of another type than those of the rest."""
    from srcache.maintain.training_samples import SampleMaker

    plain = SampleMaker._sr

    def odd(self, name):
        payload, record = plain(self, name)
        notes = [{"score": 1}, {"score": 0.5}, {}, {"tags": ["ä"], "score": None}][int(name[:2], 16) % 4]
        return payload, {**record, "notes": notes}

    return odd


def test_images_that_are_not_there_are_listed_and_left_out(home, tmp_path):
    shutil.copytree(home / "photos", tmp_path / "photos")
    (tmp_path / "photos/ant/leer.png").touch()
    (tmp_path / "photos/bee/kaputt.png").write_bytes(b"no image")
    caches.build(tmp_path / "photos", tmp_path / "cache")
    report = export(tmp_path, tmp_path / "out", lr=tmp_path / "photos")
    assert sorted((failed.source, failed.reason) for failed in report.failures) == [
        ("ant/leer.png", "absent"),
        ("bee/kaputt.png", "absent"),
    ]
    assert len(samples_of(tmp_path / "out")) == report.content.samples == 12


def test_a_sample_without_all_of_its_sr_images_is_left_out(home, tmp_path):
    cache = Path(shutil.copytree(home / "noisy", tmp_path / "cache"))
    name = next(name for name in caches.contents(cache, "noisy") if name.endswith("-001"))
    folder = caches.only(cache, "noisy")
    kept = {one: (payload, None) for one, payload in caches.contents(cache, "noisy").items() if one != name}
    with caches.opened(cache, "noisy") as store:
        entries = [caches.Entry(one, payload, store.record(one)) for one, (payload, _) in kept.items()]
    shutil.rmtree(folder.store_path)
    with caches.opened(cache, "noisy", writable=True) as store:
        store.put_many(entries)
    report = export_join(cache, tmp_path / "out")
    rows = [row.name for row in scan(home / "photos").rows if row.key == name[:32]]
    assert [(failed.name, failed.source, failed.reason) for failed in report.failures] == [
        (name, row, "absent") for row in sorted(rows, key=[f.source for f in report.failures].index)
    ]
    assert report.content.samples == 12 - len(rows)


def test_a_damaged_sr_image_is_left_out(home, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    data = caches.only(cache).store_path / "data.mdb"
    name, payload = list(caches.contents(cache).items())[3]
    place = data.read_bytes().index(payload)
    with data.open("r+b") as file:
        file.seek(place + len(payload) // 2)
        file.write(b"damaged!")
    report = export_join(cache, tmp_path / "out")
    assert {failed.reason for failed in report.failures} == {"damaged"}
    assert len(report.failures) + report.content.samples == 12
    assert all(about(sample)["key"] != name[:32] for sample in samples_of(tmp_path / "out").values())


@pytest.mark.parametrize(
    ("names", "classes", "order"),
    [
        (["b/1.png", "a/2.png", "10/3.png", "9/4.png"], ["b", "a", "10", "9"], ["10", "9", "a", "b"]),
        (["x1.png", "x2.png", "x3.png"], ["3", "2", "0"], ["0", "1", "2", "3"]),
        (["x1.png", "x2.png", "x3.png"], ["2.0", "10.0", "1.0"], ["0", "1.0", "2.0", *"3456789", "10.0"]),
        (["x1.png", "x2.png"], ["", ""], []),
    ],
)
def test_classes_are_numbered_as_folders_or_csv_files_number_them(tmp_path, names, classes, order):
    lines = ["path,label" if any(classes) else "path"]
    for number, (name, label) in enumerate(zip(names, classes, strict=True)):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(8, 9, number)).save(file)
        lines.append(f"{name},{label}" if any(classes) else name)
    (tmp_path / "photos/list.csv").write_text("\n".join(lines))
    catalog = scan(tmp_path / "photos/list.csv")
    recipe = load_recipe(caches.recipe_file(tmp_path, "bicubic"))
    fill(catalog, recipe, tmp_path / "cache", FillSettings(device="cpu"))
    report = export_join(tmp_path / "cache", tmp_path / "out")
    assert list(report.content.classes) == order
    for sample in samples_of(tmp_path / "out").values():
        row = about(sample)
        assert ("cls" in sample) == bool(order)
        assert row["class"] == (order.index(row["label"]) if order else -1)


def test_where_an_image_has_no_label_there_is_no_cls(home, tmp_path):
    catalog = scan(home / "photos")
    catalog = replace(catalog, rows=(replace(catalog.rows[0], label=None), *catalog.rows[1:]))
    fill(catalog, load_recipe("bicubic", {"scale": 2}), tmp_path / "cache", FillSettings(device="cpu"))
    assert export_join(tmp_path / "cache", tmp_path / "out").content.classes == ()
    for sample in samples_of(tmp_path / "out").values():
        assert list(sample) == ["sr000.png", "json"]
        assert about(sample)["class"] == -1


def test_some_classes_only(home, tmp_path):
    report = export(home, tmp_path / "out", classes=("bee",))
    assert (report.content.samples, report.content.classes, report.failures) == (6, ("bee",), ())
    assert {about(sample)["class"] for sample in samples_of(tmp_path / "out").values()} == {0}
    report = export(home, tmp_path / "turned", classes=("bee", "ant"))
    assert {about(one)["label"]: one["cls"] for one in samples_of(tmp_path / "turned").values()} == {
        "bee": b"0",
        "ant": b"1",
    }
    for wrong in (("cat",), ("bee", "bee"), ("",)):
        with pytest.raises(CacheError, match=r"expected different classes of the catalog \(ant, bee\), but got"):
            export(home, tmp_path / "wrong", classes=wrong)


def test_a_catalog_may_be_chosen(home, tmp_path):
    cache = Path(shutil.copytree(home / "cache", tmp_path / "cache"))
    first = set(open_cache(cache).catalogs())
    shutil.copytree(home / "photos/ant", tmp_path / "few/ant")
    caches.build(tmp_path / "few", cache)
    (digest,) = first
    last = export_join(cache, tmp_path / "last")
    assert (last.content.samples, last.others) == (6, (digest,))
    chosen = export_join(cache, tmp_path / "all", JoinSettings(catalog=digest[:6]))
    assert (chosen.content.samples, chosen.others) == (12, ())
    with pytest.raises(CacheError, match=r"0 catalogs of .* begin with 'xyz'; it has: "):
        export_join(cache, tmp_path / "none", JoinSettings(catalog="xyz"))


def test_wrong_folders_are_refused_before_anything_is_written(home, tmp_path):
    for settings, error, message in (
        ({"lr": home / "hr"}, CatalogError, r"no image of the catalog can be taken from .*hr \(missing 12; the first"),
        ({"lr": home / "photos/ant"}, CatalogError, "missing 12"),
        ({"lr": home / "photos", "hr": home / "cache"}, CatalogError, r"photos and .*cache \(no_hr 12"),
        ({"lr": home / "nowhere"}, CacheError, "expected a folder of images, but .*nowhere is none"),
    ):
        with pytest.raises(error, match=message):
            export(home, tmp_path / "out", **settings)
        assert not (tmp_path / "out").exists()
    with pytest.raises(CacheError, match=r"makes LR of its source images \(bicubic/2\), .* leave --lr"):
        export(home, tmp_path / "out", "degraded", lr=home / "photos")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png", ""])
def test_a_catalog_never_leads_out_of_the_folders(home, tmp_path, monkeypatch, name):
    key = next(iter(caches.contents(home / "cache")))[:32]
    catalog = KeptCatalog("0" * 32, (KeptRow(ImageKey(key), name, ""),))
    monkeypatch.setattr("srcache.maintain.training_plan.chosen_catalog", lambda *_: catalog)
    with pytest.raises(CacheError, match="expected names below the folder, but the catalog has: "):
        export(home, tmp_path / "out", lr=home / "photos")


def test_the_destination_must_be_new(home, tmp_path):
    export(home, tmp_path / "out")
    with pytest.raises(CacheError, match="exists and is not empty"):
        export(home, tmp_path / "out")
    with pytest.raises(CacheError, match="lies in the cache"):
        export(home, home / "cache/out")


def test_a_stopped_export_leaves_only_whole_shards(home, tmp_path, monkeypatch):
    def stop(done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr("srcache.maintain.export_shards.throttled", lambda progress: progress)
    with pytest.raises(KeyboardInterrupt):
        export_join(home / "cache", tmp_path / "out", JoinSettings(shard_bytes=20_000), stop)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == ".unfinished"
    assert len(names) > 1
    for name in names[1:]:
        with tarfile.open(tmp_path / "out" / name) as file:
            assert file.getmembers()


def test_a_stopped_export_is_begun_anew_by_the_same_command(home, tmp_path):
    export(home, tmp_path / "expected", lr=home / "photos")
    (tmp_path / "out").mkdir()
    for name in (".unfinished", "shard-000000.tar", "shard-000077.tar", ".shard-000001.tar.abc", ".README.md.xyz"):
        (tmp_path / "out" / name).write_text("left behind")
    with pytest.raises(CatalogError):
        export(home, tmp_path / "out", lr=home / "hr")
    assert len(list((tmp_path / "out").iterdir())) == 5, "a mistake costs nothing"
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(CacheError, match=r"an export that was stopped, and beside it mine\.txt; choose a new"):
        export(home, tmp_path / "out", lr=home / "photos")
    (tmp_path / "out/mine.txt").unlink()
    export(home, tmp_path / "out", lr=home / "photos")
    assert caches.tree(tmp_path / "out") == caches.tree(tmp_path / "expected")


@pytest.mark.parametrize("looks", [False, True])
def test_progress_counts_both_passes(home, tmp_path, looks):
    seen, total = [], 24 if looks else 12
    settings = JoinSettings(lr=home / "photos" if looks else None)
    export_join(home / "cache", tmp_path / "out", settings, lambda *at: seen.append(at))
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_members_have_plain_headers(home, tmp_path):
    export(home, tmp_path / "out")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out/shard-000000.tar").read_bytes())) as file:
        for member in file:
            assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
            assert member.isreg()
