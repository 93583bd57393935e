"""Label safety: numbers by independent oracles, one row per SR image however often interrupted, and no harm done."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from images import picture
from PIL import Image
from scipy.spatial.distance import cosine
from scipy.special import softmax
from skimage.metrics import peak_signal_noise_ratio

from srcache.cache.manifest import RecipeFolder, open_cache
from srcache.catalog.scanning import scan
from srcache.dataset.augmented import SRAugmentedDataset
from srcache.dataset.scores import ABOUT, TABLE, LabelScore, read_scores
from srcache.errors import BusyError, CacheError, CatalogError, ConfigError, DamagedError
from srcache.fill.run import fill
from srcache.fill.settings import FillSettings
from srcache.images import Pixels, decode, to_batch
from srcache.keys import entry_name, file_key
from srcache.maintain.export import export
from srcache.maintain.info import info
from srcache.maintain.prune import prune
from srcache.maintain.repair import repair
from srcache.maintain.verify import verify
from srcache.recipe.reading import load_recipe, resolve
from srcache.recipe.recipe import Recipe
from srcache.stores import Entry
from srcache.study.arms.augment import fit_to_size
from srcache.study.safety import measure as safety
from srcache.study.safety.classifier import open_classifier
from srcache.study.safety.measure import SafetyReport, measure_safety, pictures, summary
from srcache.study.safety.metrics import agreement, back_projection, feature_distance, safe
from srcache.study.train.networks import build_network, last_layer
from srcache.study.train.runs import TrainRun, write_finished, write_weights
from srcache.study.train.settings import TrainSettings

NOISY = resolve({"name": "noisy", "engine": "test-noise", "scale": 2})
LOUD = resolve({"name": "loud", "engine": "test-noise", "scale": 2, "options": {"strength": 0.7}})
PLAIN = load_recipe("bicubic", {"scale": 2})
SHRUNK = resolve(
    {"name": "shrunk", "engine": "resample", "scale": 2, "degradation": "lanczos/2", "options": {"filter": "bicubic"}}
)
VECTORS = arrays(np.float64, 4, elements=st.floats(-20, 20))


class Judge:
    """A network of random weights that looks at 6×6 pixels, and counts the pictures that it was shown."""

    name, size = "runs/judge", (6, 6)

    def __init__(self, digest: str = "judge-1", classes: tuple[str, ...] = ("bark", "gravel", "moss")) -> None:
        dice = np.random.default_rng(5)
        self.digest, self.classes = digest, classes
        self.inner, self.outer = dice.normal(0, 0.5, (108, 9)), dice.normal(0, 2, (9, 3))
        self.shown = 0
        self.stop_at, self.broken_at = 0, 0

    def prepare(self, rgb: Pixels) -> torch.Tensor:
        small = Image.fromarray(rgb).resize(self.size[::-1], Image.Resampling.BOX)
        return torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.shown += 1
        if self.shown == self.stop_at:
            raise KeyboardInterrupt
        logits, features = self.answers(images.numpy())
        if self.shown == self.broken_at:
            logits[0, 0] = np.nan
        return torch.from_numpy(logits), torch.from_numpy(features)

    def answers(self, images: Any) -> tuple[Any, Any]:
        features = np.maximum(0, (images.reshape(len(images), -1).astype(np.float64) - 0.4) @ self.inner)
        return features @ self.outer, features


@pytest.fixture
def hr(photos: Path) -> Path:
    """HR images of the photos' names, twice as large and not quite what they show."""
    for number, row in enumerate(scan(photos).rows):
        assert row.path is not None
        with Image.open(row.path) as image:
            large = np.asarray(image.convert("RGB").resize((2 * image.width, 2 * image.height))).astype(int)
        grain = np.random.default_rng(number).normal(0, 12, large.shape).astype(int)
        file = photos.parent / "hr" / Path(row.name).with_suffix(".bmp")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)).save(file)
    return photos.parent / "hr"


def built(photos: Path, recipe: Recipe, samples: int = 1) -> RecipeFolder:
    fill(scan(photos), recipe, photos.parent / "cache", FillSettings(samples=samples, device="cpu"))
    return open_cache(photos.parent / "cache").find(recipe)


def measured(folder: RecipeFolder, *sources: Any, judge: Judge | None = None, **options: Any) -> SafetyReport:
    return measure_safety(folder, pictures(folder, *sources), judge, **options)


def table(folder: RecipeFolder) -> dict[str, LabelScore]:
    found = read_scores(folder.path)
    assert found is not None
    return {row.name: row for row in found.rows}


def text(folder: RecipeFolder) -> str:
    return (folder.path / TABLE).read_text()


# --- formulas ---


@given(VECTORS, VECTORS)
def test_agreement_is_one_less_the_total_variation(left: Any, right: Any) -> None:
    expected = 1 - np.abs(softmax(left) - softmax(right)).sum() / 2
    assert agreement(left, right) == pytest.approx(expected, abs=1e-12)
    assert agreement(left, right) == agreement(right, left)
    assert 0 <= agreement(left, right) <= 1 == agreement(left, left)
    assert agreement(left + 3, right) == pytest.approx(expected, abs=1e-12)
    largest = max(
        abs(softmax(left)[list(some)].sum() - softmax(right)[list(some)].sum()) for some in ([0], [0, 1], [1, 3])
    )
    assert largest <= 1 - agreement(left, right) + 1e-12, "the largest difference over all sets of classes"


@given(VECTORS, VECTORS)
def test_feature_distance_is_the_cosine_distance(left: Any, right: Any) -> None:
    assume(min(np.linalg.norm(left), np.linalg.norm(right)) > 1e-6)
    assert feature_distance(left, right) == pytest.approx(cosine(left, right), abs=1e-9)
    assert feature_distance(left, 7 * left) == pytest.approx(0, abs=1e-9)
    assert feature_distance(left, -left) == pytest.approx(2, abs=1e-9)


def test_feature_distance_of_nothing() -> None:
    nothing, something = np.zeros(4), np.ones(4)
    assert feature_distance(nothing, nothing) == 0
    assert feature_distance(nothing, something) == feature_distance(something, nothing) == 1


@pytest.mark.parametrize("resample", ["bicubic", "lanczos"])
def test_back_projection_is_the_psnr_of_the_way_back(resample: str) -> None:
    lr, sr = picture(17, 23, 1), picture(34, 47, 2)
    small = np.asarray(Image.fromarray(sr).resize((23, 17), getattr(Image.Resampling, resample.upper())))
    psnr, error = back_projection(sr, lr, resample)
    assert psnr == pytest.approx(peak_signal_noise_ratio(lr, small, data_range=255), abs=1e-12)
    assert error == pytest.approx(np.abs(small.astype(float) - lr).mean(), abs=1e-12)
    assert back_projection(lr, lr, resample) == (math.inf, 0)


NUMBERS = st.tuples(st.floats(0, 100), st.floats(0, 1), st.floats(0, 2))


@given(NUMBERS, NUMBERS)
def test_safe_lies_from_0_to_1_and_rises_with_every_part(one: Any, other: Any) -> None:
    better = max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2])
    worse = min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2])
    assert 0 <= safe(*worse) <= safe(*one) <= safe(*better) <= 1
    assert safe(*one) <= safe(one[0])
    assert safe(*one) <= one[1]
    assert safe(math.inf, 1, 0) == 1


def test_what_safe_says_of_back_projection() -> None:
    told = {32: 0.9, 26: 0.8, 18: 0.5, 12: 0, 0: 0}
    assert {psnr: round(safe(psnr), 2) for psnr in told} == pytest.approx(told, abs=0.006)
    assert safe(math.inf) == 1
    assert safe(40, 0.3, 0.1) == 0.3
    assert safe(40, 0.9, 0.4) == 0.6
    assert safe(40, 0.9, 1.7) == 0


# --- whole measurements ---


def expected(photo: Path, sr: Pixels, large: Path | None, judge: Judge) -> dict[str, Any]:
    """What one row must say, by other people's functions."""
    with Image.open(photo) as image:
        lr = image.convert("RGB")
    back = np.asarray(Image.fromarray(sr).resize(lr.size, Image.Resampling.BICUBIC))
    seen = [Image.fromarray(sr), lr.resize((sr.shape[1], sr.shape[0]), Image.Resampling.BICUBIC)]
    if large is not None:
        with Image.open(large) as image:
            seen.append(image.resize((sr.shape[1], sr.shape[0]), Image.Resampling.BICUBIC))
    logits, features = judge.answers(np.stack([judge.prepare(np.asarray(one)).numpy() for one in seen]))
    psnr = peak_signal_noise_ratio(np.asarray(lr), back, data_range=255)
    agree = 1 - np.abs(softmax(logits[0]) - softmax(logits[-1])).sum() / 2
    distance = cosine(features[0], features[-1])
    labels = [judge.classes[one] for one in logits.argmax(1)]
    return {
        "agree": agree,
        "feature_distance": distance,
        "back_projection": psnr,
        "back_projection_error": np.abs(back.astype(float) - np.asarray(lr)).mean(),
        "safe": min(agree, 1 - distance, max(0, 1 - 4 * 10 ** (-psnr / 20))),
        "labels": (labels[1], labels[0], labels[2] if large else None),
    }


@pytest.mark.parametrize("with_hr", [True, False], ids=["hr", "no hr"])
def test_every_stored_image_is_measured_as_other_peoples_functions_would(photos: Path, hr: Path, with_hr: bool) -> None:
    folder, judge = built(photos, LOUD, samples=2), Judge()
    report = measured(folder, photos, hr if with_hr else None, judge=judge)
    assert (report.measured, report.known, report.absent, report.failures) == (24, 0, 0, ())
    rows, store = table(folder), folder.store()
    assert set(rows) == set(store.names()) == {row.name for row in report.rows}
    assert judge.shown == 24
    labels = set[tuple[str | None, str | None]]()
    for photo in scan(photos).rows:
        assert photo.path is not None
        for sample in (0, 1):
            row = rows[entry_name(photo.key, sample)]
            large = (hr / photo.name).with_suffix(".bmp") if with_hr else None
            wanted = expected(photo.path, decode(store.get(row.name) or b""), large, judge)
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
        "classifier": {"digest": "judge-1", "classes": ["bark", "gravel", "moss"]},
    }
    about = (folder.path / ABOUT).read_text()
    assert all(word in about for word in ("runs/judge", "total variation", '"torch"'))


def test_without_a_classifier_back_projection_alone_is_measured(photos: Path, hr: Path) -> None:
    folder = built(photos, NOISY)
    judged = measured(folder, photos, hr, judge=Judge())
    shutil.rmtree(photos.parent / "cache")
    folder = built(photos, NOISY)
    report = measured(folder, photos)
    assert text(folder).splitlines()[1].split(",")[5:7] == ["", ""]
    for row, other in zip(report.rows, judged.rows, strict=True):
        assert row.back_projection == other.back_projection
        assert row.safe == round(safe(row.back_projection), 6) >= other.safe
        assert math.isnan(row.agree)
        assert row.sr_label is row.lr_label is row.hr_label is None
    assert measured(folder, photos, hr).measured == 0, "HR says nothing where no classifier is asked"


def test_where_the_recipe_makes_lr_its_own_degradation_is_the_way_back(photos: Path) -> None:
    folder = built(photos, SHRUNK)
    report = measured(folder, None, photos, judge=Judge())
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
    assert measured(folder, None, tmp_path / "photos", judge=Judge()).rows[0].back_projection > 20


def test_a_picture_that_does_not_change_on_its_way_is_safe(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(tmp_path / "photos" / "flat.png")
    folder = built(tmp_path / "photos", PLAIN)
    report = measured(folder, tmp_path / "photos", judge=Judge())
    assert (report.rows[0].back_projection, report.rows[0].safe) == (math.inf, 1)
    assert table(folder)[report.rows[0].name].back_projection == math.inf
    assert report.plain()["quantiles"]["back_projection"]["0.5"] is None


def test_pictures_in_memory_are_measured_under_their_files_names(photos: Path) -> None:
    folder = built(photos, NOISY)
    whole = measured(folder, photos, judge=Judge())
    shutil.rmtree(photos.parent / "cache")
    folder = built(photos, NOISY)
    base = [(Image.open(row.path).convert("RGB"), 0) for row in scan(photos).rows if row.path]
    report = measured(folder, base, judge=Judge())
    assert [row.name for row in report.rows] == [row.name for row in whole.rows]
    assert [row.safe for row in report.rows] == [row.safe for row in whole.rows]
    assert report.rows[3].image == "item 3"


# --- once is enough ---


def test_only_what_has_no_row_is_measured(photos: Path, hr: Path) -> None:
    shutil.rmtree(photos / "bark")
    fill(scan(photos / "moss"), NOISY, photos.parent / "cache")
    folder, judge = open_cache(photos.parent / "cache").find(NOISY), Judge()
    report = measured(folder, photos, hr, judge=judge)
    assert (report.measured, report.known, report.absent, judge.shown) == (4, 0, 4, 4)
    built(photos, NOISY)
    report = measured(folder, photos, hr, judge=judge)
    assert (report.measured, report.known, report.absent, judge.shown) == (4, 4, 0, 8)
    before = text(folder), (folder.path / TABLE).stat().st_ino
    report = measured(folder, photos, hr, judge=judge)
    assert (report.measured, report.known, judge.shown) == (0, 8, 8)
    assert (text(folder), (folder.path / TABLE).stat().st_ino) == before
    again = measured(folder, photos, hr, judge=Judge(), again=True)
    assert (again.measured, text(folder)) == (8, before[0]), "by whatever way, the same table"


def test_an_interrupted_measurement_goes_on(photos: Path, hr: Path) -> None:
    folder, judge = built(photos, NOISY), Judge()
    judge.stop_at = 6
    with pytest.raises(KeyboardInterrupt):
        measured(folder, photos, hr, judge=judge)
    assert len(table(folder)) == 5
    judge.stop_at = 0
    report = measured(folder, photos, hr, judge=judge)
    assert (report.measured, report.known, judge.shown) == (7, 5, 13)
    interrupted = text(folder)
    measured(folder, photos, hr, judge=judge, again=True)
    assert text(folder) == interrupted


def test_a_killed_measurement_loses_little(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, judge, rows = built(photos, NOISY), Judge(), list[int]()
    monkeypatch.setattr(safety, "_WRITE_EVERY", -1)
    measured(folder, photos, judge=judge, progress=lambda _done, _all: rows.append(len(table(folder)) if rows else 0))
    assert rows == list(range(12)), "every row is on disk before the next picture is judged"


def test_another_classifier_or_reference_measures_anew(photos: Path, hr: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos, hr, judge=Judge())
    for judge, sources in (
        (Judge("judge-2"), (photos, hr)),
        (Judge("judge-2"), (photos, None)),
        (Judge("judge-2", ("x", "y", "z")), (photos, None)),
    ):
        report = measured(folder, *sources, judge=judge)
        assert (report.measured, report.known, judge.shown) == (12, 0, 12)
    assert {row.sr_label for row in table(folder).values()} <= {"x", "y", "z"}
    renamed = Judge("judge-2", ("x", "y", "z"))
    renamed.name = "moved/elsewhere"
    assert measured(folder, photos, judge=renamed).measured == 0, "where a run lies says nothing about it"


def test_a_classifiers_numbers_are_not_thrown_away_unasked(photos: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos, judge=Judge())
    before = text(folder)
    with pytest.raises(ConfigError, match=r"has a classifier's numbers.*--classifier.*--again"):
        measured(folder, photos)
    assert text(folder) == before
    assert measured(folder, photos, again=True).measured == 12
    assert measured(folder, photos, judge=Judge()).measured == 12


def test_rows_outlive_a_measurement_of_other_images_and_take_the_names_of_now(photos: Path) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos)
    report = measured(folder, photos / "moss")
    assert (report.measured, report.known, len(report.rows), len(table(folder))) == (0, 4, 4, 12)
    names = sorted(row.image for row in table(folder).values())
    assert names == sorted(
        [f"{label}/{label}{n}" for label in ("bark", "gravel") for n in range(4)] + [f"moss{n}" for n in range(4)]
    )
    assert [row.image for row in report.rows] == [f"moss{n}" for n in range(4)]


# --- what goes wrong ---


def test_what_cannot_be_measured_is_counted_and_tried_again(photos: Path, hr: Path) -> None:
    folder, judge = built(photos, NOISY), Judge()
    files = [row.path for row in scan(photos).rows if row.path]
    items, good = pictures(folder, photos, hr), files[2].read_bytes()
    files[2].write_bytes(good[:200])
    (hr / "bark" / "bark0.bmp").unlink()
    judge.broken_at = 4
    steps: list[tuple[int, int]] = []
    report = measure_safety(folder, items, judge, progress=lambda *step: steps.append(step))
    assert [(one.source, one.reason) for one in report.failures] == [
        ("bark/bark0.png", "unreadable"),
        ("bark/bark2.png", "truncated"),
        ("gravel/gravel1.png", "not_finite"),
    ]
    assert "classifier runs/judge" in report.failures[2].detail
    assert report.plain()["failed"] == {"not_finite": 1, "truncated": 1, "unreadable": 1}
    assert (report.measured, len(table(folder)), steps[-1]) == (9, 9, (12, 12))
    files[2].write_bytes(good)
    report = measure_safety(folder, items, judge)
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
        pictures(folder, None, hr)
    for sources in ((photos, None), (photos, hr), (None, None)):
        with pytest.raises(CatalogError, match=r"shrunk-.* makes LR from HR \(lanczos/2\); give HR images, and no LR"):
            pictures(shrunk, *sources)
    with pytest.raises(CacheError, match=r"has no SR image of these 12 images"):
        measured(folder, hr)
    assert not (folder.path / TABLE).exists()
    with folder.lock(), pytest.raises(BusyError):
        measured(folder, photos)


@pytest.mark.parametrize("name", [TABLE, ABOUT])
def test_a_table_that_is_not_ours_is_kept_unless_it_is_meant(photos: Path, name: str) -> None:
    folder = built(photos, NOISY)
    measured(folder, photos)
    good = text(folder)
    (folder.path / name).write_text("mine")
    with pytest.raises(DamagedError, match=name):
        measured(folder, photos)
    assert (folder.path / name).read_text() == "mine"
    measured(folder, photos, again=True)
    assert text(folder) == good


# --- no harm done ---


def test_images_are_not_touched_and_the_cache_is_whole(photos: Path, tmp_path: Path) -> None:
    folder = built(photos, NOISY)
    cache = photos.parent / "cache"
    before = {name: folder.store().get(name) for name in folder.store().names()}
    measured(folder, photos, judge=Judge())
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


# --- a trained run as the classifier ---


def finished_run(folder: Path, network: str, size: int) -> TrainRun:
    """A run folder as a training leaves it, with fresh weights."""
    torch.manual_seed(3)
    settings = TrainSettings(network=network, size=size, device="cpu")
    made = build_network(network, 3, (size, size))
    folder.mkdir(parents=True)
    run = TrainRun(
        folder=folder,
        arm="hr",
        classes=("bark", "gravel", "moss"),
        settings=settings,
        inputs={},
        history=(),
        best_epoch=1,
        metrics={},
        balance={},
        versions={},
        device="cpu",
        weights=write_weights(folder / "model.safetensors", made.state_dict()),
        seconds=0.0,
        stopped=False,
    )
    write_finished(run)
    return run


@pytest.fixture
def _untouched_chance() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.usefixtures("_untouched_chance")
@pytest.mark.parametrize(("network", "size", "features"), [("small:4", 16, 16), ("torchvision:squeezenet1_1", 32, 512)])
def test_a_run_answers_with_logits_and_what_went_into_its_last_layer(
    tmp_path: Path, make_image: Callable[..., Pixels], network: str, size: int, features: int
) -> None:
    run = finished_run(tmp_path / "run", network, size)
    judge = open_classifier(tmp_path / "run", "cpu")
    images = [make_image(40, 20, seed) for seed in range(3)]
    batch = torch.stack([judge.prepare(image) for image in images])
    assert torch.equal(batch, to_batch([fit_to_size(image, (size, size), "pad") for image in images]))
    with torch.inference_mode():
        logits, inner = judge(batch)
        whole = run.network()
        assert torch.equal(logits, whole(batch))
        assert inner.shape == (3, features)
        layer = last_layer(whole)
        if isinstance(layer, torch.nn.Linear):
            assert torch.allclose(layer(inner), logits)
    other = finished_run(tmp_path / "other", network, 2 * size)
    assert judge.classes == ("bark", "gravel", "moss")
    stretched = replace(run, settings=replace(run.settings, fit="stretch"))
    assert len({judge.digest, open_classifier(other, "cpu").digest, open_classifier(stretched, "cpu").digest}) == 3
    assert open_classifier(run, "cpu").digest == judge.digest


@pytest.mark.usefixtures("_untouched_chance")
def test_a_run_judges_a_cache(photos: Path, hr: Path, tmp_path: Path) -> None:
    finished_run(tmp_path / "run", "small:4", 16)
    folder = built(photos, NOISY)
    report = measure_safety(folder, pictures(folder, photos, hr), open_classifier(tmp_path / "run", "cpu"))
    assert report.measured == 12
    assert all(0 <= row.agree <= 1 and row.sr_label for row in report.rows)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = measure_safety(folder, pictures(folder, photos, hr), open_classifier(tmp_path / "moved", "cpu"))
    assert (again.measured, again.known) == (0, 12)
