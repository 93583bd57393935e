"""Summaries and files of a measurement: intervals, documents that others read, tables, sheets."""

import json
import math

import numpy as np
import pytest
from images import picture
from PIL import Image
from quality_folders import BASIC, RGB, noisy, rows_of, save

from srcache.errors import ConfigError
from srcache.study.quality.measure import measure_folders
from srcache.study.quality.psnr_ssim import Convention
from srcache.study.quality.report import RESAMPLES, interval, mean_text


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
        *(
            "schema",
            "reference",
            "test",
            "recipe",
            "pairs",
            "images",
            "metrics",
            "bootstrap",
            "skipped",
            "failures",
            "seconds",
        ),
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
        "mod_crop": 1,
    }
    assert plain["bootstrap"] == {"resamples": 2000, "level": 0.95, "seed": 0}


def test_table_summary_and_sheet_are_written(folders, tmp_path):
    report = measure_folders(*folders, BASIC, RGB)
    table, summary, sheet = report.write(tmp_path / "out")
    assert table.read_text() == report.csv_text()
    assert [row["name"] for row in rows_of(report)] == list(report.rows)
    assert float(rows_of(report)[0]["psnr"]) == report.rows["b/2"]["psnr"]
    assert json.loads(summary.read_text()) == report.plain()
    with Image.open(sheet) as drawn:
        assert drawn.height > 6 * 192, "three of the worst and three of the best"


@pytest.mark.medium
def test_nothing_is_overwritten_unasked(folders, tmp_path):
    report = measure_folders(*folders, ("psnr",), RGB)
    report.write(tmp_path, "sr")
    with pytest.raises(ConfigError, match=r"already has sr\.csv, sr\.json, sr\.png"):
        report.write(tmp_path, "sr")
    report.write(tmp_path, "bicubic")
    report.write(tmp_path, "sr", replace=True)


@pytest.mark.medium
def test_a_report_that_was_stopped_while_it_was_written_is_written_by_the_same_call(folders, tmp_path, monkeypatch):
    report = measure_folders(*folders, ("psnr",), RGB)
    with monkeypatch.context() as patched:
        patched.setattr("srcache.study.quality.report.encode", lambda *_: _stop())
        with pytest.raises(KeyboardInterrupt):
            report.write(tmp_path, "sr")
    assert sorted(path.name for path in tmp_path.glob("sr.*")) == ["sr.csv", "sr.json"]
    assert len(report.write(tmp_path, "sr")) == 3
    with pytest.raises(ConfigError, match="already has"):
        report.write(tmp_path, "sr")


def _stop():
    raise KeyboardInterrupt


def test_a_sheet_shows_each_image_once(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"hr/{name}.png", picture(32, 40, 0))
        save(tmp_path / f"sr/{name}.png", noisy(picture(32, 40, 0), 9 if name == "a" else 3))
    report = measure_folders(tmp_path / "hr", tmp_path / "sr", BASIC, RGB)
    drawn = report.sheet()
    assert drawn is not None
    assert 2 * 192 < drawn.shape[0] < 4 * 192


def test_identical_images_are_infinite_and_said_to_be(folders):
    report = measure_folders(folders[0], folders[0], BASIC, RGB)
    psnr, ssim = report.summaries
    assert (psnr.mean, psnr.interval, psnr.note) == (math.inf, None, "8 of 8 pairs are identical")
    assert (ssim.mean, ssim.interval) == (1.0, (1.0, 1.0))
    plain = report.plain()["metrics"]["psnr"]
    assert (plain["mean"], plain["mean_reason"]) == (None, "identical pictures: infinite")
    assert rows_of(report)[0] == {"name": "b/2", "psnr": "inf", "ssim": "1.0"}


def test_one_pair_of_equal_images_does_not_make_a_mean_look_as_if_all_were_equal() -> None:
    found = {"mean": None, "mean_reason": "identical pictures: infinite", "n": 4}
    assert mean_text({**found, "median": 24.128}, 5) == "infinite, median 24.13 (n 4 of 5)"
    assert mean_text({**found, "median": None, "median_reason": "identical pictures: infinite"}, 4) == "identical (n 4)"
