"""Measuring label safety: every number by independent functions, a row per SR image however often interrupted."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import picture
from PIL import Image
from safety_study import LOUD, NOISY, PLAIN, SHRUNK, RandomClassifier, built
from scipy.spatial.distance import cosine
from scipy.special import softmax
from skimage.metrics import peak_signal_noise_ratio

from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.scores import ABOUT, TABLE, LabelScore, read_scores
from srcache.errors import BusyError, CacheError, CatalogError, ConfigError, DamagedError
from srcache.fill.run import fill
from srcache.images import Pixels, decode
from srcache.keys import entry_name, file_key
from srcache.maintain.export import export
from srcache.maintain.info import info
from srcache.maintain.prune import prune
from srcache.maintain.repair import repair
from srcache.maintain.verify import verify
from srcache.stores import Entry
from srcache.study.prepare.lr import make_lr
from srcache.study.safety import measure as safety
from srcache.study.safety.measure import SafetyReport, measure_safety, source_images, summary
from srcache.study.safety.metrics import safe

pytestmark = pytest.mark.medium


def measured(
    folder: RecipeFolder, *sources: Any, classifier: RandomClassifier | None = None, **options: Any
) -> SafetyReport:
    return measure_safety(folder, source_images(folder, *sources), classifier, **options)


def table(folder: RecipeFolder) -> dict[str, LabelScore]:
    found = read_scores(folder.path)
    assert found is not None
    return {row.name: row for row in found.rows}


def save(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def text(folder: RecipeFolder) -> str:
    return (folder.path / TABLE).read_text()


def expected(photo: Path, sr: Pixels, large: Path | None, classifier: RandomClassifier) -> dict[str, Any]:
    """What one row must hold, by independent functions."""
    with Image.open(photo) as image:
        lr = image.convert("RGB")
    back = np.asarray(Image.fromarray(sr).resize(lr.size, Image.Resampling.BICUBIC))
    seen = [Image.fromarray(sr), lr.resize((sr.shape[1], sr.shape[0]), Image.Resampling.BICUBIC)]
    if large is not None:
        with Image.open(large) as image:
            seen.append(image.resize((sr.shape[1], sr.shape[0]), Image.Resampling.BICUBIC))
    logits, features = classifier.answers(np.stack([classifier.prepare(np.asarray(one)).numpy() for one in seen]))
    psnr = peak_signal_noise_ratio(np.asarray(lr), back, data_range=255)
    agree = 1 - np.abs(softmax(logits[0]) - softmax(logits[-1])).sum() / 2
    distance = cosine(features[0], features[-1])
    labels = [classifier.classes[one] for one in logits.argmax(1)]
    return {
        "agree": agree,
        "feature_distance": distance,
        "back_projection": psnr,
        "back_projection_error": np.abs(back.astype(float) - np.asarray(lr)).mean(),
        "safe": min(agree, 1 - distance, max(0, 1 - 4 * 10 ** (-psnr / 20))),
        "labels": (labels[1], labels[0], labels[2] if large else None),
    }


def test_hr_is_compared_without_what_mod_crop_cut_away(tmp_path: Path) -> None:
    """It is the part that LR shows; a recipe that shrinks HR itself shrinks all of it."""
    for number in range(3):
        pixels = picture(19, 18, number)
        pixels[16:] = pixels[:, 16:] = 255 - pixels[0, 0]
        save(pixels, tmp_path / f"hr/{number}.png")
        save(pixels[:16, :16], tmp_path / f"lr/{number}.png")
    make_lr(tmp_path / "hr", tmp_path / "low", 4)
    whole = built(tmp_path / "lr", PLAIN)
    parts = [source_images(whole, tmp_path / "low", tmp_path / "hr"), source_images(whole, tmp_path / "lr", None)]
    for place in range(3):
        low, large = parts[0].lr(place), parts[0].hr(place)
        assert (low.shape, large.shape) == ((4, 4, 3), (19, 18, 3))
        shown = safety._Measurement(whole, parts[0], whole.store(), None)._shown(place, low)
        assert np.array_equal(shown, parts[1].lr(place)), "the top-left part whose sides 4 divides"
    shrunk = built(tmp_path / "hr", SHRUNK)
    own = source_images(shrunk, None, tmp_path / "hr")
    assert safety._Measurement(shrunk, own, shrunk.store(), None)._shown(0, own.lr(0)).shape == (19, 18, 3)


def test_an_image_for_which_memory_runs_out_is_one_failure(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seen = built(photos, PLAIN), list[int]()

    def once(data: bytes) -> Pixels:
        seen.append(1)
        if len(seen) == 2:
            raise MemoryError
        return decode(data)

    monkeypatch.setattr(safety, "decode", once)
    report = measured(folder, photos)
    assert ([one.reason for one in report.failures], report.measured) == (["out_of_memory"], 11)


def test_files_that_cannot_be_read_are_told_with_the_others(photos: Path) -> None:
    folder = built(photos, PLAIN)
    (photos / "moss/gone.png").symlink_to(photos / "nowhere")
    (photos / "moss/loop").symlink_to(photos)
    report = measured(folder, photos)
    assert [(one.source, one.reason) for one in report.failures] == [("moss/gone.png", "unreadable")]
    assert (report.measured, len(report.rows)) == (12, 12)


@pytest.mark.parametrize("with_hr", [True, False], ids=["hr", "no hr"])
def test_every_stored_image_is_measured_as_independent_functions_would(photos: Path, hr: Path, with_hr: bool) -> None:
    folder, classifier = built(photos, LOUD, samples=2), RandomClassifier()
    report = measured(folder, photos, hr if with_hr else None, classifier=classifier)
    assert (report.measured, report.known, report.absent, report.failures) == (24, 0, 0, ())
    rows, store = table(folder), folder.store()
    assert set(rows) == set(store.names()) == {row.name for row in report.rows}
    assert classifier.shown == 24
    labels = set[tuple[str | None, str | None]]()
    for photo in scan(photos).rows:
        assert photo.path is not None
        for sample in (0, 1):
            row = rows[entry_name(photo.key, sample)]
            large = (hr / photo.name).with_suffix(".bmp") if with_hr else None
            wanted = expected(photo.path, decode(store.get(row.name) or b""), large, classifier)
            assert (row.image, row.key, row.sample) == (photo.name.rpartition(".")[0], photo.key, sample)
            assert (row.lr_label, row.sr_label, row.hr_label) == wanted.pop("labels")
            assert {name: getattr(row, name) for name in wanted} == pytest.approx(wanted, abs=1e-6)
            labels.add((row.lr_label, row.sr_label))
    assert any(before != after for before, after in labels)
    assert len({after for _, after in labels}) > 1
    assert len({row.safe for row in rows.values()}) > 20
    convention = report.convention
    assert convention == {
        "version": 1,
        "filter": "bicubic",
        "reference": "hr" if with_hr else "lr",
        "classifier": {"digest": "random-1", "classes": ["bark", "gravel", "moss"]},
        **({"hr": "without what mod-crop cuts away"} if with_hr else {}),
    }
    about = (folder.path / ABOUT).read_text()
    assert all(word in about for word in ("runs/random", "total variation", '"torch"'))


def test_without_a_classifier_back_projection_alone_is_measured(photos: Path, hr: Path) -> None:
    folder = built(photos, NOISY)
    classified = measured(folder, photos, hr, classifier=RandomClassifier())
    shutil.rmtree(photos.parent / "cache")
    folder = built(photos, NOISY)
    report = measured(folder, photos)
    assert text(folder).splitlines()[1].split(",")[5:7] == ["", ""]
    for row, other in zip(report.rows, classified.rows, strict=True):
        assert row.back_projection == other.back_projection
        assert row.safe == round(safe(row.back_projection), 6) >= other.safe
        assert math.isnan(row.agree)
        assert row.sr_label is row.lr_label is row.hr_label is None
    assert measured(folder, photos, hr).measured == 0, "HR says nothing where no classifier is asked"


def test_where_the_recipe_makes_lr_its_own_degradation_is_the_way_back(photos: Path) -> None:
    folder = built(photos, SHRUNK)
    report = measured(folder, None, photos, classifier=RandomClassifier())
    assert report.convention["filter"] == "lanczos"
    assert report.convention["reference"] == "hr"
    for place, photo in enumerate(scan(photos).rows):
        assert photo.path is not None
        with Image.open(photo.path) as image:
            lr = np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS))
        sr = Image.fromarray(decode(folder.store().get(entry_name(photo.key, 0)) or b""))
        back = np.asarray(sr.resize((lr.shape[1], lr.shape[0]), Image.Resampling.LANCZOS))
        assert report.rows[place].back_projection == pytest.approx(
            peak_signal_noise_ratio(lr, back, data_range=255), abs=1e-6
        )


def test_an_odd_size_comes_back_to_the_size_of_lr(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture(23, 31, 3)).save(tmp_path / "photos" / "odd.png")
    folder = built(tmp_path / "photos", SHRUNK)
    assert measured(folder, None, tmp_path / "photos", classifier=RandomClassifier()).rows[0].back_projection > 20


def test_an_image_that_does_not_change_on_its_way_is_safe(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(tmp_path / "photos" / "flat.png")
    folder = built(tmp_path / "photos", PLAIN)
    report = measured(folder, tmp_path / "photos", classifier=RandomClassifier())
    assert (report.rows[0].back_projection, report.rows[0].safe) == (math.inf, 1)
    assert table(folder)[report.rows[0].name].back_projection == math.inf
    assert report.plain()["quantiles"]["back_projection"]["0.5"] is None


def test_images_in_memory_are_measured_under_their_files_names(photos: Path) -> None:
    folder = built(photos, NOISY)
    files = measured(folder, photos, classifier=RandomClassifier())
    shutil.rmtree(photos.parent / "cache")
    folder = built(photos, NOISY)
    base = [(Image.open(row.path).convert("RGB"), 0) for row in scan(photos).rows if row.path]
    report = measured(folder, base, classifier=RandomClassifier())
    assert [row.name for row in report.rows] == [row.name for row in files.rows]
    assert [row.safe for row in report.rows] == [row.safe for row in files.rows]
    assert report.rows[3].image == "item 3"


def test_only_what_has_no_row_is_measured(photos: Path, hr: Path) -> None:
    shutil.rmtree(photos / "bark")
    fill(scan(photos / "moss"), NOISY, photos.parent / "cache")
    folder, classifier = open_cache(photos.parent / "cache").find(NOISY), RandomClassifier()
    report = measured(folder, photos, hr, classifier=classifier)
    assert (report.measured, report.known, report.absent, classifier.shown) == (4, 0, 4, 4)
    built(photos, NOISY)
    report = measured(folder, photos, hr, classifier=classifier)
    assert (report.measured, report.known, report.absent, classifier.shown) == (4, 4, 0, 8)
    before = text(folder), (folder.path / TABLE).stat().st_ino
    report = measured(folder, photos, hr, classifier=classifier)
    assert (report.measured, report.known, classifier.shown) == (0, 8, 8)
    assert (text(folder), (folder.path / TABLE).stat().st_ino) == before
    again = measured(folder, photos, hr, classifier=RandomClassifier(), again=True)
    assert (again.measured, text(folder)) == (8, before[0]), "by whatever way, the same table"


def test_an_interrupted_measurement_goes_on(photos: Path, hr: Path) -> None:
    folder, classifier = built(photos, NOISY), RandomClassifier()
    classifier.stop_at = 6
    with pytest.raises(KeyboardInterrupt):
        measured(folder, photos, hr, classifier=classifier)
    assert len(table(folder)) == 5
    classifier.stop_at = 0
    report = measured(folder, photos, hr, classifier=classifier)
    assert (report.measured, report.known, classifier.shown) == (7, 5, 13)
    interrupted = text(folder)
    measured(folder, photos, hr, classifier=classifier, again=True)
    assert text(folder) == interrupted


def test_a_killed_measurement_loses_little(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, classifier, rows = built(photos, NOISY), RandomClassifier(), list[int]()
    monkeypatch.setattr(safety, "_WRITE_EVERY", -1)
    measured(
        folder,
        photos,
        classifier=classifier,
        progress=lambda _done, _all: rows.append(len(table(folder)) if rows else 0),
    )
    assert rows == list(range(12)), "every row is on disk before the next image is classified"


def test_another_classifier_or_reference_measures_anew(photos: Path, hr: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos, hr, classifier=RandomClassifier())
    for classifier, sources in (
        (RandomClassifier("random-2"), (photos, hr)),
        (RandomClassifier("random-2"), (photos, None)),
        (RandomClassifier("random-2", ("x", "y", "z")), (photos, None)),
    ):
        report = measured(folder, *sources, classifier=classifier)
        assert (report.measured, report.known, classifier.shown) == (12, 0, 12)
    assert {row.sr_label for row in table(folder).values()} <= {"x", "y", "z"}
    renamed = RandomClassifier("random-2", ("x", "y", "z"))
    renamed.name = "moved/elsewhere"
    assert measured(folder, photos, classifier=renamed).measured == 0, "where a run lies says nothing about it"


def test_a_classifiers_numbers_are_not_thrown_away_unasked(photos: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos, classifier=RandomClassifier())
    before = text(folder)
    with pytest.raises(ConfigError, match=r"has a classifier's numbers.*--classifier.*--again"):
        measured(folder, photos)
    assert text(folder) == before
    assert measured(folder, photos, again=True).measured == 12
    assert measured(folder, photos, classifier=RandomClassifier()).measured == 12


def test_rows_outlive_a_measurement_of_other_images_and_take_todays_names(photos: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos)
    report = measured(folder, photos / "moss")
    assert (report.measured, report.known, len(report.rows), len(table(folder))) == (0, 4, 4, 12)
    names = sorted(row.image for row in table(folder).values())
    assert names == sorted(
        [f"{label}/{label}{n}" for label in ("bark", "gravel") for n in range(4)] + [f"moss{n}" for n in range(4)]
    )
    assert [row.image for row in report.rows] == [f"moss{n}" for n in range(4)]


def test_renamed_images_get_todays_names_also_beside_new_ones(photos: Path) -> None:
    shutil.copytree(photos, photos.parent / "all")
    shutil.rmtree(photos / "gravel")
    folder = built(photos, NOISY)
    measured(folder, photos)
    (photos.parent / "all" / "moss").rename(photos.parent / "all" / "ferns")
    fill(scan(photos.parent / "all"), NOISY, photos.parent / "cache")
    report = measured(folder, photos.parent / "all")
    assert (report.measured, report.known) == (4, 8)
    assert {row.image.partition("/")[0] for row in report.rows} == {"bark", "ferns", "gravel"}


def test_what_cannot_be_measured_is_counted_and_tried_again(photos: Path, hr: Path) -> None:
    folder, classifier = built(photos, NOISY), RandomClassifier()
    files = [row.path for row in scan(photos).rows if row.path]
    items, good = source_images(folder, photos, hr), files[2].read_bytes()
    files[2].write_bytes(good[:200])
    (hr / "bark" / "bark0.bmp").unlink()
    classifier.broken_at = 4
    steps: list[tuple[int, int]] = []
    report = measure_safety(folder, items, classifier, progress=lambda *step: steps.append(step))
    assert [(one.source, one.reason) for one in report.failures] == [
        ("bark/bark0.png", "unreadable"),
        ("bark/bark2.png", "truncated"),
        ("gravel/gravel1.png", "not_finite"),
    ]
    assert "classifier runs/random" in report.failures[2].detail
    assert report.plain()["failed"] == {"not_finite": 1, "truncated": 1, "unreadable": 1}
    assert (report.measured, len(table(folder)), steps[-1]) == (9, 9, (12, 12))
    files[2].write_bytes(good)
    report = measure_safety(folder, items, classifier)
    assert (report.measured, report.known, len(report.failures)) == (2, 9, 1)


def test_a_damaged_sr_image_is_counted(photos: Path) -> None:
    folder = built(photos / "bark", NOISY)
    store = folder.store(writable=True)
    key = file_key(photos / "moss" / "moss0.png")
    store.put_many([Entry(entry_name(key, 0), b"not an image", {})])
    shutil.copy(photos / "moss" / "moss0.png", photos / "bark" / "moss0.png")
    report = measured(folder, photos / "bark")
    assert [(one.name, one.reason) for one in report.failures] == [(entry_name(key, 0), "unreadable")]
    assert f"the SR image {key}-000 cannot be decoded" in report.failures[0].detail
    assert report.measured == 4


def test_what_cannot_be_asked_is_refused(photos: Path, hr: Path, tmp_path: Path) -> None:
    folder, shrunk = built(photos, NOISY), built(photos, SHRUNK)
    with pytest.raises(CatalogError, match=r"noisy-.* was made from LR images; give them"):
        source_images(folder, None, hr)
    for sources in ((photos, None), (photos, hr), (None, None)):
        with pytest.raises(CatalogError, match=r"shrunk-.* makes LR from HR \(lanczos/2\); give HR images, and no LR"):
            source_images(shrunk, *sources)
    with pytest.raises(CacheError, match=r"has no SR image of these 12 images"):
        measured(folder, hr)
    assert not (folder.path / TABLE).exists()
    with folder.lock(), pytest.raises(BusyError):
        measured(folder, photos)
    seen: list[str] = []

    def again(_done: int, _all: int) -> None:
        with pytest.raises(BusyError, match="is being measured by process"):
            measured(folder, photos)
        seen.append("busy")

    measured(folder, photos, progress=again)
    assert len(seen) == 12


@pytest.mark.parametrize("name", [TABLE, ABOUT])
def test_a_table_that_is_not_ours_is_kept_unless_all_is_measured_again(photos: Path, name: str) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos)
    good = text(folder)
    (folder.path / name).write_text("mine")
    with pytest.raises(DamagedError, match=name):
        measured(folder, photos)
    assert (folder.path / name).read_text() == "mine"
    measured(folder, photos, again=True)
    assert text(folder) == good


def test_images_are_not_touched_and_the_cache_is_intact(photos: Path, tmp_path: Path) -> None:
    folder = built(photos, NOISY)
    cache = photos.parent / "cache"
    before = {name: folder.store().get(name) for name in folder.store().names()}
    measured(folder, photos, classifier=RandomClassifier())
    assert {name: folder.store().get(name) for name in folder.store().names()} == before
    assert verify(cache).ok
    assert info(cache).recipes[0].entries == 12
    assert not repair(cache).changed
    assert export(cache, tmp_path / "out").files == 12
    assert sorted(path.name for path in (tmp_path / "out").glob("safety*")) == []
    assert len(SRAugmentedDataset(photos, cache, policy="sr")) == 12
    assert len(table(folder)) == 12
    assert fill(scan(photos), NOISY, cache).added == 0
    prune(cache, ["noisy"], yes=True)
    assert not folder.path.exists()


def test_the_summary_counts_and_orders() -> None:
    keys = [f"{number:032x}" for number in range(100)]
    rows = [
        LabelScore(image=key, key=key, sample=0, safe=n / 100, back_projection=float(n), back_projection_error=1.0)  # type: ignore[arg-type]
        for n, key in enumerate(keys)
    ]
    found = summary(rows)
    assert found["rows"] == 100
    assert found["safe_above"] == {"0.5": 49, "0.8": 19, "0.9": 9, "0.95": 4}
    assert set(found["quantiles"]) == {"safe", "back_projection", "back_projection_error"}
    assert list(found["quantiles"]["safe"].values()) == [0.0, 0.04, 0.24, 0.49, 0.74, 0.94, 0.99]
    assert summary([]) == {
        "rows": 0,
        "quantiles": {},
        "safe_above": dict.fromkeys(("0.5", "0.8", "0.9", "0.95"), 0),
    }
