"""Image quality of sets: pairs by name and never by order, numbers that oracles confirm, summaries, files, caches."""

import csv
import io
import json
import math
import shutil
from pathlib import Path

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image

from srcache.errors import CacheError, CatalogError, ConfigError, DamagedError, ImageError, MissingExtraError
from srcache.images import Pixels, resize
from srcache.maintain.export import export
from srcache.recipe.degradation import Degradation
from srcache.stores import Entry
from srcache.study import quality
from srcache.study.quality import measure as work
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.pairs import Pick
from srcache.study.quality.psnr_ssim import Convention, measure_image
from srcache.study.quality.pyiqa_metrics import Scorer
from srcache.study.quality.report import RESAMPLES, interval

RGB = Convention()
BASIC = ("psnr", "ssim")


def save(path: Path, rgb: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def noisy(rgb: Pixels, sigma: float, seed: int = 0) -> Pixels:
    dice = np.random.default_rng(seed)
    return (rgb + dice.normal(0, sigma, rgb.shape)).clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Eight references and pictures of growing noise, in two folders, under names whose order differs."""
    for number in range(8):
        clean = picture(32, 40, number)
        save(tmp_path / f"hr/b/{9 - number}.png", clean)
        save(tmp_path / f"sr/b/{9 - number}.{'bmp' if number % 2 else 'png'}", noisy(clean, 2 + 2 * number))
    return tmp_path / "hr", tmp_path / "sr"


def _table(report):
    return list(csv.DictReader(io.StringIO(report.csv_text())))


# Pairs


def test_pairs_are_found_by_name_whatever_suffix_or_order(folders):
    hr, sr = folders
    report = measure_folders(hr, sr, BASIC, RGB)
    assert list(report.rows) == [f"b/{place}" for place in range(2, 10)]
    for name, values in report.rows.items():
        clean = picture(32, 40, 9 - int(name[2:]))
        wanted = measure_image(noisy(clean, 2 + 2 * (9 - int(name[2:]))), clean, RGB)
        assert values == {"psnr": wanted.psnr, "ssim": wanted.ssim}


def test_missing_and_surplus_pictures_are_listed(folders):
    hr, sr = folders
    (sr / "b/9.png").unlink()
    (sr / "b/8.bmp").rename(sr / "b/eight.bmp")
    with pytest.raises(CatalogError) as caught:
        measure_folders(hr, sr, BASIC, RGB)
    assert f"2 missing in {sr}: b/8, b/9" in str(caught.value)
    assert f"1 surplus, not in {hr}: b/eight" in str(caught.value)


def test_a_dot_that_starts_no_suffix_belongs_to_the_name(tmp_path):
    for name in ("v1.2", "v1.3"):
        save(tmp_path / f"hr/{name}.png", picture(16, 16, 1))
        save(tmp_path / f"sr/{name}.png", picture(16, 16, 2))
    assert list(measure_folders(tmp_path / "hr", tmp_path / "sr", BASIC, RGB).rows) == ["v1.2", "v1.3"]


def test_two_pictures_of_one_name_are_refused(folders):
    hr, sr = folders
    shutil.copy(sr / "b/9.png", sr / "b/9.webp")
    with pytest.raises(CatalogError, match=r"several images of one name .*: b/9"):
        measure_folders(hr, sr, BASIC, RGB)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None])
def test_a_folder_without_images_is_refused(folders, tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(CatalogError, match=r"none is none|none has none"):
        measure_folders(folders[0], tmp_path / "none", BASIC, RGB)


def test_a_link_that_leads_elsewhere_is_told(folders, tmp_path):
    (folders[1] / "b/far.png").symlink_to(folders[0] / "b/9.png")
    with pytest.raises(CatalogError, match=r"b/far\.png is outside_root"):
        measure_folders(*folders, BASIC, RGB)


def test_a_recipe_of_a_folder_is_refused(folders):
    with pytest.raises(CacheError, match="no srcache cache"):
        measure_folders(*folders, BASIC, RGB, QualitySettings(pick=Pick(recipe="bicubic")))


# Numbers


def test_a_known_photo_has_its_known_scores(tmp_path):
    """Astronaut, 512 px, bicubic down and up by 4: the published conventions, to the digits that tools agree on."""
    photo = pytest.importorskip("skimage.data").astronaut()
    save(tmp_path / "hr/photo.png", photo)
    save(tmp_path / "lr/photo.png", Degradation(factor=4).apply(photo))
    found = {}
    for convention in (
        Convention(resize="picture:bicubic"),
        Convention(channel="y", crop_border=4, resize="picture:bicubic"),
    ):
        report = measure_folders(tmp_path / "hr", tmp_path / "lr", BASIC, convention)
        found[convention.channel] = report.rows["photo"]
    assert found["rgb"]["psnr"] == pytest.approx(25.37842, abs=2e-5)
    assert found["y"]["psnr"] == pytest.approx(26.83424, abs=2e-5)
    assert found["y"]["ssim"] == pytest.approx(0.84168, abs=1e-5)


def test_a_shift_by_a_constant_has_its_closed_form(tmp_path):
    flat = np.full((20, 20, 3), 100, np.uint8)
    save(tmp_path / "hr/a.png", flat)
    save(tmp_path / "sr/a.png", flat + np.uint8(10))
    report = measure_folders(tmp_path / "hr", tmp_path / "sr", ("psnr",), RGB)
    assert report.rows["a"]["psnr"] == pytest.approx(20 * math.log10(255 / 10))


def test_identical_pictures_are_infinite_and_said_to_be(folders):
    report = measure_folders(folders[0], folders[0], BASIC, RGB)
    psnr, ssim = report.summaries
    assert (psnr.mean, psnr.interval, psnr.note) == (math.inf, None, "8 of 8 pairs are identical")
    assert (ssim.mean, ssim.interval) == (1.0, (1.0, 1.0))
    plain = report.plain()["metrics"]["psnr"]
    assert (plain["mean"], plain["mean_reason"]) == (None, "identical pictures: infinite")
    assert _table(report)[0] == {"name": "b/2", "psnr": "inf", "ssim": "1.0"}


def test_sizes_must_match_unless_a_resize_is_stated(folders, tmp_path):
    hr, sr = folders
    save(sr / "b/9.png", picture(16, 20, 0))
    report = measure_folders(hr, sr, BASIC, RGB)
    assert [(one.source, one.reason) for one in report.failures] == [("b/9", "size_mismatch")]
    assert "the picture is 20×16, its reference 40×32" in report.failures[0].detail
    assert len(report.rows) == 7
    stated = measure_folders(hr, sr, BASIC, Convention(resize="picture:lanczos"))
    wanted = measure_image(resize(picture(16, 20, 0), (32, 40), "lanczos"), picture(32, 40, 0), RGB)
    assert stated.rows["b/9"]["psnr"] == wanted.psnr
    assert stated.failures == ()
    assert stated.plain()["metrics"]["psnr"]["convention"]["resize"] == "picture:lanczos"
    assert "picture resized (lanczos), no crop" in stated.summaries[0].text


def test_references_may_be_the_ones_that_are_resized(tmp_path):
    save(tmp_path / "hr/a.png", picture(32, 40, 0))
    save(tmp_path / "lr/a.png", picture(16, 20, 1))
    report = measure_folders(tmp_path / "hr", tmp_path / "lr", ("psnr",), Convention(resize="reference:box"))
    wanted = measure_image(picture(16, 20, 1), resize(picture(32, 40, 0), (16, 20), "box"), RGB)
    assert report.rows["a"]["psnr"] == wanted.psnr


@pytest.mark.parametrize("text", ["bicubic", "picture", "picture:cubic", "test:bicubic", ""])
def test_a_resize_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="picture or reference with a filter"):
        Convention(resize=text)


def test_broken_and_small_pictures_fail_alone(folders):
    hr, sr = folders
    (sr / "b/9.png").write_bytes(b"no image")
    for folder in (hr, sr):
        (folder / "b/8.bmp").unlink(missing_ok=True)
        save(folder / "b/8.png", picture(8, 8, 0))
    report = measure_folders(hr, sr, BASIC, RGB)
    assert [(one.source, one.reason) for one in report.failures] == [("b/8", "too_small"), ("b/9", "unreadable")]
    assert [one.n for one in report.summaries] == [6, 6]


def test_when_nothing_can_be_measured_it_is_an_error_with_reasons(tmp_path):
    save(tmp_path / "hr/a.png", picture(32, 40, 0))
    save(tmp_path / "lr/a.png", picture(16, 20, 0))
    with pytest.raises(ConfigError, match="not one of 1 pairs could be measured; a: the picture is 20×16"):
        measure_folders(tmp_path / "hr", tmp_path / "lr", BASIC, RGB)


def test_progress_counts_pairs(folders):
    seen = []
    measure_folders(*folders, BASIC, RGB, progress=lambda *at: seen.append(at))
    assert seen == [(place, 8) for place in range(1, 9)]


# Summaries


def test_a_summary_is_that_of_the_rows(folders):
    report = measure_folders(*folders, ("ssim", "psnr"), RGB)
    assert [one.metric for one in report.summaries] == ["ssim", "psnr"]
    for one in report.summaries:
        values = np.array([row[one.metric] for row in report.rows.values()])
        assert one.mean == pytest.approx(values.mean())
        assert one.median == pytest.approx(np.median(values))
        assert one.interval is not None
        assert values.min() < one.interval[0] < one.mean < one.interval[1] < values.max()
        assert one.n == 8
        assert [name for name, _ in one.worst] == ["b/2", "b/3", "b/4"]
        assert [name for name, _ in one.best] == ["b/9", "b/8", "b/7"]


def test_the_bootstrap_interval_is_scipys_and_seeded():
    values = np.random.default_rng(5).normal(30, 2, 60)
    low, high = interval(list(values), 0) or (0, 0)
    assert interval(list(values), 0) == (low, high)
    assert interval(list(values), 1) != (low, high)
    from scipy.stats import bootstrap

    wanted = bootstrap((values,), np.mean, n_resamples=20 * RESAMPLES, method="percentile", rng=3).confidence_interval
    width = wanted.high - wanted.low
    assert low == pytest.approx(wanted.low, abs=0.06 * width)
    assert high == pytest.approx(wanted.high, abs=0.06 * width)


@pytest.mark.parametrize("values", [[], [3.0], [1.0, math.inf]])
def test_there_is_no_interval_of_one_or_of_infinity(values):
    assert interval(values, 0) is None


def test_seconds_apart_the_same_measurement_is_the_same_document(folders):
    first, second = (measure_folders(*folders, BASIC, RGB).plain() for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_the_document_says_what_others_read(folders):
    plain = measure_folders(*folders, ("psnr",), Convention(channel="y", crop_border=2)).plain()
    assert list(plain) == [
        *("schema", "reference", "test", "recipe", "images", "metrics", "bootstrap", "skipped", "failures", "seconds"),
    ]
    assert plain["schema"] == "srcache.quality/1"
    psnr = plain["metrics"]["psnr"]
    assert list(psnr) == ["mean", "median", "interval", "n", "better", "worst", "best", "convention"]
    version = psnr["convention"].pop("version")
    assert version.split(".")[0].isdecimal()
    assert psnr["convention"] == {
        "metric": "psnr",
        "channel": "y",
        "crop_border": 2,
        "data_range": 255,
        "resize": "none",
        "library": "scikit-image",
    }
    assert plain["bootstrap"] == {"resamples": 2000, "level": 0.95, "seed": 0}


# Files


def test_table_summary_and_sheet_are_written(folders, tmp_path):
    report = measure_folders(*folders, BASIC, RGB)
    table, summary, sheet = report.write(tmp_path / "out")
    assert table.read_text() == report.csv_text()
    assert [row["name"] for row in _table(report)] == list(report.rows)
    assert float(_table(report)[0]["psnr"]) == report.rows["b/2"]["psnr"]
    assert json.loads(summary.read_text()) == report.plain()
    with Image.open(sheet) as drawn:
        assert drawn.height > 6 * 192, "three of the worst and three of the best"


def test_nothing_is_overwritten_unasked(folders, tmp_path):
    report = measure_folders(*folders, ("psnr",), RGB)
    report.write(tmp_path, "sr")
    with pytest.raises(ConfigError, match=r"already has sr\.csv, sr\.json, sr\.png"):
        report.write(tmp_path, "sr")
    report.write(tmp_path, "bicubic")
    report.write(tmp_path, "sr", replace=True)


def test_a_sheet_shows_each_picture_once(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"hr/{name}.png", picture(32, 40, 0))
        save(tmp_path / f"sr/{name}.png", noisy(picture(32, 40, 0), 9 if name == "a" else 3))
    report = measure_folders(tmp_path / "hr", tmp_path / "sr", BASIC, RGB)
    drawn = report.sheet()
    assert drawn is not None
    assert 2 * 192 < drawn.shape[0] < 4 * 192


# Metrics of others, without pyiqa: what is handed to them, and what is made of what they give


def _fake(name: str, kind: str, give, lower: bool = False) -> Scorer:
    convention = {"metric": name, "library": "fake", "weights": []} | ({"mode": "clean"} if kind == "set" else {})
    return Scorer(name=name, kind=kind, lower_better=lower, convention=convention, text="fake", net=give)


@pytest.fixture
def fakes(monkeypatch) -> dict[str, Scorer]:
    scorers: dict[str, Scorer] = {}
    monkeypatch.setattr(work, "require_metric", lambda name, **_: None)
    monkeypatch.setattr(work, "open_scorer", lambda name, **_: scorers[name])
    return scorers


def test_scorers_get_cropped_pictures_in_the_unit_range(folders, fakes):
    seen = []

    def give(first, second):
        seen.append((first, second))
        return (first - second).abs().mean()

    fakes["l1"] = _fake("l1", "pair", give, lower=True)
    report = measure_folders(*folders, ("l1", "psnr"), Convention(crop_border=4))
    assert all(tuple(one.shape) == (1, 3, 24, 32) for pair in seen for one in pair)
    assert all(0 <= float(one.min()) <= float(one.max()) <= 1 for pair in seen for one in pair)
    clean = picture(32, 40, 0)
    error = np.abs(noisy(clean, 2)[4:-4, 4:-4].astype(float) - clean[4:-4, 4:-4]).mean() / 255
    assert report.rows["b/9"]["l1"] == pytest.approx(error, rel=1e-5)
    first = report.summaries[0]
    assert ([name for name, _ in first.worst], first.lower_better) == (["b/2", "b/3", "b/4"], True)
    assert first.convention == {
        **{"metric": "l1", "library": "fake", "weights": []},
        **{"crop_border": 4, "resize": "none"},
    }


def test_a_picture_that_a_metric_cannot_measure_fails_for_that_metric_alone(folders, fakes):
    def give(picture):
        assert float(picture.min()) < float(picture.max()), "no contrast"
        return picture.mean()

    fakes["mean"] = _fake("mean", "single", give)
    for folder in folders:
        save(folder / "b/9.png", np.full((32, 40, 3), 7, np.uint8))
    report = measure_folders(*folders, ("mean", "ssim"), RGB)
    assert [(one.source, one.metric, one.reason) for one in report.failures] == [("b/9", "mean", "metric_failed")]
    assert "no contrast" in report.failures[0].detail
    assert [one.n for one in report.summaries] == [7, 8]
    assert _table(report)[-1] == {"name": "b/9", "mean": "", "ssim": "1.0"}


@pytest.mark.parametrize("bad", [lambda *_: float("nan"), lambda *_: [1, 2], lambda *_: {"other": 1}])
def test_what_is_no_number_is_a_failure(bad):
    scorer = _fake("odd", "single", bad)
    with pytest.raises(ImageError, match="odd") as caught:
        scorer.score(picture(8, 8), picture(8, 8))
    assert caught.value.reason == "metric_failed"


def test_a_set_metric_sees_exactly_the_compared_pictures(folders, fakes):
    laid = {}

    def give(pictures, references, **_):
        for folder in (pictures, references):
            laid[Path(folder).name] = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
        return 12.5

    fakes["fid"] = _fake("fid", "set", give, lower=True)
    (folders[1] / "b/9.png").write_bytes(b"")
    report = measure_folders(*folders, ("fid", "psnr"), Convention(crop_border=2))
    assert [len(laid[name]) for name in ("pictures", "references")] == [7, 7]
    assert np.array_equal(laid["references"][0], picture(32, 40, 7)[2:-2, 2:-2])
    assert np.array_equal(laid["pictures"][0], noisy(picture(32, 40, 7), 16)[2:-2, 2:-2])
    fid = report.summaries[0]
    assert (fid.mean, fid.median, fid.interval, fid.worst) == (12.5, None, None, ())
    assert "7 pictures" in fid.note
    assert list(_table(report)[0]) == ["name", "psnr"]
    assert report.plain()["metrics"]["fid"]["mean"] == 12.5


def test_chance_is_the_same_for_every_picture_and_leaves_no_trace(fakes):
    import torch

    scorer = _fake("random", "single", lambda _: torch.rand(()) + np.random.rand())
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    values = {scorer.score(picture(8, 8, seed), picture(8, 8)) for seed in range(3)}
    assert len(values) == 1
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])


def test_metrics_that_cannot_be_made_are_skipped_only_where_they_are_optional(folders, monkeypatch):
    def refuse(name, **_):
        raise MissingExtraError("pyiqa", "iqa", name)

    monkeypatch.setattr(work, "require_metric", refuse)
    with pytest.raises(MissingExtraError, match="lpips needs pyiqa"):
        measure_folders(*folders, ("psnr", "lpips"), RGB)
    report = measure_folders(*folders, ("psnr", "lpips"), RGB, QualitySettings(optional=True))
    assert [one.metric for one in report.summaries] == ["psnr"]
    assert [one.metric for one in report.skipped] == ["lpips"]
    with pytest.raises(ConfigError, match="at least one metric"):
        measure_folders(*folders, ("lpips",), RGB, QualitySettings(optional=True))


def test_a_refused_metric_stops_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "pair_up", lambda *_: pytest.fail("nothing is looked at yet"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises((ConfigError, MissingExtraError)):
        measure_folders(tmp_path, tmp_path, ("psnr", "no-such-metric"), RGB)


def test_the_presets_are_what_they_are_called():
    paper = quality.PRESETS["seesr-paper"]
    assert (paper.channel, paper.crop_border) == ("y", 0)
    assert paper.metrics == ("psnr", "ssim", "lpips", "dists", "fid", "niqe", "musiq", "maniqa-pipal", "clipiqa")
    assert quality.PRESETS["thesis-as-published"].metrics[:2] == ("pyiqa:psnry", "pyiqa:ssim")


# Caches


@pytest.fixture(scope="module")
def _home(tmp_path_factory) -> Path:
    """Photos, a cache of `bicubic` ×2 and of two samples of `noisy`, and the first exported under its names."""
    home = tmp_path_factory.mktemp("home")
    photos = caches.make_photos(home / "photos")
    (photos / "wörter/leer.png").unlink()
    caches.build(photos, home / "cache")
    caches.build(photos, home / "cache", "noisy", samples=2)
    export(home / "cache", home / "sr", "bicubic", names=True)
    export(home / "cache", home / "noise", "noisy", names=True)
    return home


@pytest.fixture
def home(_home, tmp_path) -> Path:
    return Path(shutil.copytree(_home, tmp_path / "home"))


UP = Convention(resize="reference:bicubic")


def _of(recipe: str, **more) -> QualitySettings:
    return QualitySettings(pick=Pick(recipe=recipe, **more))


def test_a_cache_is_measured_as_its_export(home):
    straight = measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
    exported = measure_folders(home / "photos", home / "sr", BASIC, UP)
    assert straight.rows == exported.rows
    assert len(straight.rows) == 6
    assert straight.recipe == caches.home(home / "cache").name
    assert exported.recipe is None


def test_one_of_several_samples_is_measured(home):
    found = [measure_folders(home / "photos", home / "cache", BASIC, UP, _of("noisy", sample=n)).rows for n in (0, 1)]
    assert found[0] != found[1]
    from srcache.images import decode

    name = "wörter/letzte"
    for sample in (0, 1):
        stored = decode((home / f"noise/{name}-{sample:03d}.png").read_bytes())
        up = resize(decode((home / f"photos/{name}.png").read_bytes()), stored.shape[:2], "bicubic")
        assert found[sample][name]["psnr"] == measure_image(stored, up, RGB).psnr
    with pytest.raises(CatalogError, match="6 missing"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("noisy", sample=2))


def test_a_cache_with_several_recipes_wants_to_know_which(home):
    with pytest.raises(CacheError, match=r"say which recipe of .*--recipe; it holds: bicubic-"):
        measure_folders(home / "photos", home / "cache", BASIC, UP)
    with pytest.raises(CacheError, match="no recipe 'lanczos'"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("lanczos"))


def test_the_catalog_that_fits_the_references_is_taken(home):
    part = home / "part"
    shutil.copytree(home / "photos/wörter", part / "wörter")
    caches.build(part, home / "cache")
    whole = measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
    some = measure_folders(part, home / "cache", BASIC, UP, _of("bicubic"))
    assert len(whole.rows) == 6
    assert some.rows == {name: row for name, row in whole.rows.items() if name.startswith("wörter/")}


def test_a_folder_within_the_names_is_measured_alone(home):
    settings = _of("bicubic", under="wörter")
    inner = measure_folders(home / "photos/wörter", home / "cache", BASIC, UP, settings)
    plain = measure_folders(home / "photos/wörter", home / "sr", BASIC, UP, QualitySettings(pick=Pick(under="wörter")))
    assert inner.rows == plain.rows
    assert sorted(inner.rows) == ["doppelt", "doppelt nochmal", "letzte", "日本"]


def test_catalogs_with_the_same_names_of_other_pictures_are_not_guessed(home):
    other = home / "other"
    for path in (home / "photos").rglob("*.*"):
        save(other / path.relative_to(home / "photos"), picture(20, 24, len(path.name)))
    caches.build(other, home / "cache")
    with pytest.raises(CacheError, match=r"several catalogs .*--catalog: ") as caught:
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
    first, second = str(caught.value).rpartition(": ")[2].split(", ")
    found = [
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic", catalog=digest[:12])).rows
        for digest in (first, second)
    ]
    assert found[0] == measure_folders(home / "photos", home / "sr", BASIC, UP).rows
    assert found[0] != found[1]
    with pytest.raises(CacheError, match="no catalog zz is known"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic", catalog="zz"))


def test_what_the_cache_lacks_is_missing(home):
    save(home / "photos/wörter/neu.png", picture(20, 24, 77))
    with pytest.raises(CatalogError, match=r"1 missing in .*cache: wörter/neu"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))


def test_a_damaged_entry_is_not_measured(home):
    with caches.opened(home / "cache", writable=True) as store:
        name = next(iter(store.names()))
        record = {**(store.record(name) or {}), "checksum": "0" * 32}
        payload = store.get(name) or b""
        key = next(name for name in (f"{'f' * 32}-000",))
        store.put_many([Entry(key, payload, record)])
    catalog = next((home / "cache/catalogs").glob("*.csv"))
    from hashlib import blake2b

    text = catalog.read_text().replace(name[:32], "f" * 32)
    (catalog.parent / f"{blake2b(text.encode(), digest_size=16).hexdigest()}.csv").write_text(text)
    for receipt in (caches.home(home / "cache") / "receipts").iterdir():
        receipt.unlink()
    catalog.unlink()
    with pytest.raises(DamagedError, match="is not what was written"):
        measure_folders(home / "photos", home / "cache", BASIC, UP, _of("bicubic"))
