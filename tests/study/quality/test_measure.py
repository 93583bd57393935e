"""Measuring folders and caches: numbers that oracles confirm, images that fail alone, metrics of others."""

import math
from pathlib import Path

import caches
import numpy as np
import pytest
from images import picture
from PIL import Image
from quality_folders import BASIC, RGB, UP, noisy, rows_of, save

from srcache.errors import ConfigError, ImageError, MissingExtraError
from srcache.images import decode, resize
from srcache.recipe.degradation import Degradation
from srcache.study.prepare.lr import make_lr
from srcache.study.quality import measure as work
from srcache.study.quality import pyiqa_metrics
from srcache.study.quality.measure import QualitySettings, measure_folders
from srcache.study.quality.pairs import Pick
from srcache.study.quality.psnr_ssim import Convention, measure_image
from srcache.study.quality.pyiqa_metrics import Mode, Scorer, least_images
from srcache.study.quality.report import mean_text


@pytest.mark.medium
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


def test_sizes_must_match_unless_a_resize_is_stated(folders, tmp_path):
    hr, sr = folders
    save(sr / "b/9.png", picture(16, 20, 0))
    report = measure_folders(hr, sr, BASIC, RGB)
    assert [(one.source, one.reason) for one in report.failures] == [("b/9", "size_mismatch")]
    assert "the image is 20×16, its reference 40×32" in report.failures[0].detail
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


def test_broken_and_small_images_fail_alone(folders):
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
    with pytest.raises(ConfigError, match="not one of 1 pairs could be measured; a: the image is 20×16"):
        measure_folders(tmp_path / "hr", tmp_path / "lr", BASIC, RGB)


@pytest.fixture
def odd_sides(tmp_path):
    """References whose sides 4 does not divide, and what an x4 engine makes of their LR copies."""
    sides = [(40, 41), (42, 43), (43, 40), (45, 50), (47, 61)]
    for number, (height, width) in enumerate(sides):
        save(tmp_path / f"hr/{number}.png", picture(height, width, number))
    make_lr(tmp_path / "hr", tmp_path / "lr", 4)
    for number in range(len(sides)):
        lr = decode((tmp_path / f"lr/{number}.png").read_bytes())
        save(tmp_path / f"sr/{number}.png", resize(lr, (4 * lr.shape[0], 4 * lr.shape[1]), "lanczos"))
    return tmp_path


def test_sides_that_the_factor_does_not_divide_are_cut_so_that_every_pair_is_measured(odd_sides):
    report = measure_folders(odd_sides / "hr", odd_sides / "sr", BASIC, RGB)
    assert (report.failures, report.pairs) == ((), 5)
    for name, values in report.rows.items():
        image, reference = (decode((odd_sides / of / f"{name}.png").read_bytes()) for of in ("sr", "hr"))
        height, width = image.shape[:2]
        assert values["psnr"] == measure_image(image, reference[:height, :width], RGB).psnr
    psnr = report.summaries[0]
    assert (psnr.n, psnr.note, psnr.convention["mod_crop"]) == (5, "", 4)
    assert psnr.text.startswith("RGB, references cut to multiples of 4 (mod-crop), no crop")
    assert report.load_pair("2")[1].shape == (40, 40, 3), "the contact sheet shows what was compared"
    assert measure_folders(odd_sides / "hr", odd_sides / "sr", BASIC, Convention(mod_crop=4)).rows == report.rows


def test_lr_is_enlarged_to_what_it_shows_of_its_reference(odd_sides):
    how = Convention(resize="picture:bicubic")
    report = measure_folders(odd_sides / "hr", odd_sides / "lr", ("psnr",), how)
    lr, hr = (decode((odd_sides / of / "4.png").read_bytes()) for of in ("lr", "hr"))
    assert report.rows["4"]["psnr"] == measure_image(resize(lr, (44, 60), "bicubic"), hr[:44, :60], RGB).psnr
    assert report.summaries[0].convention["mod_crop"] == 4


def test_without_mod_crop_a_mean_says_that_it_is_over_a_part(odd_sides):
    (odd_sides / "sr/0.png").unlink()
    save(odd_sides / "sr/0.png", picture(40, 41, 3))
    report = measure_folders(odd_sides / "hr", odd_sides / "sr", ("psnr",), Convention(mod_crop=1))
    psnr = report.summaries[0]
    assert (psnr.n, psnr.note) == (1, "over 1 of 5 pairs; the others could not be measured")
    assert 'such as Convention(resize="picture:bicubic")' in report.failures[0].detail
    assert mean_text(psnr.plain(), report.pairs).endswith(" (n 1 of 5)")


def test_progress_counts_pairs(folders):
    seen = []
    measure_folders(*folders, BASIC, RGB, progress=lambda *at: seen.append(at))
    assert seen == [(place, 8) for place in range(1, 9)]


def _fake(name: str, kind: str, give, lower: bool = False) -> Scorer:
    convention = {"metric": name, "library": "fake", "weights": []} | ({"mode": "clean"} if kind == "set" else {})
    return Scorer(name=name, kind=kind, lower_better=lower, convention=convention, text="fake", net=give)


def test_scorers_get_cropped_images_in_the_unit_range(folders, fakes):
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
        **{"crop_border": 4, "resize": "none", "mod_crop": 1},
    }


def test_an_image_that_a_metric_cannot_measure_fails_for_that_metric_alone(folders, fakes):
    def give(image):
        assert float(image.min()) < float(image.max()), "no contrast"
        return image.mean()

    fakes["mean"] = _fake("mean", "single", give)
    for folder in folders:
        save(folder / "b/9.png", np.full((32, 40, 3), 7, np.uint8))
    report = measure_folders(*folders, ("mean", "ssim"), RGB)
    assert [(one.source, one.metric, one.reason) for one in report.failures] == [("b/9", "mean", "metric_failed")]
    assert "no contrast" in report.failures[0].detail
    assert [one.n for one in report.summaries] == [7, 8]
    assert rows_of(report)[-1] == {"name": "b/9", "mean": "", "ssim": "1.0"}


@pytest.mark.parametrize("bad", [lambda *_: float("nan"), lambda *_: [1, 2], lambda *_: {"other": 1}])
def test_what_is_no_number_is_a_failure(bad):
    scorer = _fake("odd", "single", bad)
    with pytest.raises(ImageError, match="odd") as caught:
        scorer.score(picture(8, 8), picture(8, 8))
    assert caught.value.reason == "metric_failed"


def test_a_set_metric_sees_exactly_the_compared_images(folders, fakes):
    laid = {}

    def give(images, references, **_):
        for folder in (images, references):
            laid[Path(folder).name] = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())]
        return 12.5

    fakes["fid"] = _fake("fid", "set", give, lower=True)
    (folders[1] / "b/9.png").write_bytes(b"")
    report = measure_folders(*folders, ("fid", "psnr"), Convention(crop_border=2))
    assert [len(laid[name]) for name in ("images", "references")] == [7, 7]
    assert np.array_equal(laid["references"][0], picture(32, 40, 7)[2:-2, 2:-2])
    assert np.array_equal(laid["images"][0], noisy(picture(32, 40, 7), 16)[2:-2, 2:-2])
    fid = report.summaries[0]
    assert (fid.mean, fid.median, fid.interval, fid.worst) == (12.5, None, None, ())
    assert fid.note.startswith("over 7 of 8 pairs; the others could not be measured; of 7 images")
    assert list(rows_of(report)[0]) == ["name", "psnr"]
    assert report.plain()["metrics"]["fid"]["mean"] == 12.5


def test_a_set_of_one_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "require_metric", lambda *_, **__: pytest.fail("no weights are looked for"))
    for folder in ("hr", "sr"):
        save(tmp_path / folder / "a.png", picture(32, 40, 0))
    for names in (("fid",), ("psnr", "FID")):
        with pytest.raises(ConfigError, match=r"^fid needs at least 2 images, but there is 1$"):
            measure_folders(tmp_path / "hr", tmp_path / "sr", names, RGB)
    how = QualitySettings(optional=True)
    report = measure_folders(tmp_path / "hr", tmp_path / "sr", ("psnr", "fid"), RGB, how)
    assert [(one.metric, one.reason) for one in report.skipped] == [
        ("fid", "fid needs at least 2 images, but there is 1")
    ]
    assert [one.metric for one in report.summaries] == ["psnr"]


def test_a_set_of_which_one_could_be_measured_is_not_measured(tmp_path, fakes):
    fakes["fid"] = _fake("fid", "set", lambda *_, **__: pytest.fail("it would never end"), lower=True)
    for folder in ("hr", "sr"):
        save(tmp_path / folder / "a.png", picture(32, 40, 0))
        save(tmp_path / folder / "b.png", picture(32, 40, 1))
    (tmp_path / "sr/b.png").write_bytes(b"")
    report = measure_folders(tmp_path / "hr", tmp_path / "sr", ("fid", "psnr"), RGB)
    assert [(one.source, one.metric, one.reason) for one in report.failures] == [
        ("b", "", "empty"),
        ("(the whole set)", "fid", "too_few"),
    ]


@pytest.mark.parametrize("name", ["fid", "sfid", "fid_dinov2", "inception_score", "pyiqa:fid"])
def test_every_metric_states_its_least_n(name):
    assert (least_images(name), least_images("psnr"), least_images("lpips")) == (2, 1, 1)


def test_metrics_that_look_at_one_image_need_no_references(folders, fakes, tmp_path):
    fakes["mean"] = _fake("mean", "single", lambda image: image.mean())
    monkey = {"mean": Mode("single", False, {}), "lpips": Mode("pair", True, {})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyiqa_metrics, "known_metrics", lambda: monkey)
        report = measure_folders(None, folders[1], ("Mean",), Convention(crop_border=2))
        with pytest.raises(ConfigError, match="psnr, lpips compare images with references"):
            measure_folders(None, folders[1], ("PSNR", "lpips", "mean"), RGB)
        monkey |= {name: Mode("single", False, {}) for name in ("niqe", "piqe")}
        patch.setattr(work, "require_metric", pyiqa_metrics.require_metric)
        with pytest.raises(ConfigError, match=r"no metric is named 'nikqe' \(did you mean niqe"):
            measure_folders(None, folders[1], ("nikqe",), RGB)
    assert (report.plain()["reference"], report.pairs, report.summaries[0].n) == (None, 8, 8)
    assert report.rows["b/9"]["mean"] == pytest.approx(
        decode((folders[1] / "b/9.png").read_bytes())[2:-2, 2:-2].mean() / 255, rel=1e-5
    )
    assert len(report.write(tmp_path / "out")) == 3


def test_names_of_metrics_are_the_same_in_capitals(folders):
    report = measure_folders(*folders, ("PSNR", "psnr", "Ssim"), RGB)
    assert [one.metric for one in report.summaries] == ["psnr", "ssim"]


def test_chance_is_the_same_for_every_image_and_leaves_no_trace(fakes):
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


def test_a_cache_is_measured_as_its_export(home):
    straight = measure_folders(home / "photos", home / "cache", BASIC, UP, QualitySettings(pick=Pick(recipe="bicubic")))
    exported = measure_folders(home / "photos", home / "sr", BASIC, UP)
    assert straight.rows == exported.rows
    assert len(straight.rows) == 6
    assert straight.recipe == caches.home(home / "cache").name
    assert exported.recipe is None
