"""Two sets against each other: differences of pairs, intervals as a reference gives them, no more said than shown."""

import csv
import json

import numpy as np
import pytest
from images import picture

from srcache.errors import CatalogError, ConfigError
from srcache.images import encode, resize
from srcache.study.quality.measure import QualitySettings
from srcache.study.quality.psnr_ssim import Convention
from srcache.study.quality.report import QualityReport, Summary
from srcache.study.quality.versus import _compare, _finish, _intervals, compare_folders, paired_intervals

BOTH = (QualitySettings(), QualitySettings())


def _folder(root, sigma, count=6, size=(24, 28)):
    for number in range(count):
        noise = np.random.default_rng([number, int(sigma)]).normal(0, sigma, (*size, 3)) if sigma else 0
        rgb = (picture(*size, number) + noise).clip(0, 255).round().astype(np.uint8)
        path = root / f"a/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(rgb, "png"))
    return root


@pytest.fixture
def sets(tmp_path):
    return _folder(tmp_path / "hr", 0), _folder(tmp_path / "one", 6), _folder(tmp_path / "two", 15)


def test_pairs_are_compared_with_means_counts_and_the_one_that_wins(sets, tmp_path):
    hr, one, two = sets
    found = compare_folders(hr, (one, two), ["PSNR", "ssim"], Convention(), BOTH)
    psnr = found.metrics[0]
    values = [[rows[name]["psnr"] for name in rows] for rows in (found.first.rows, found.second.rows)]
    assert (psnr.first, psnr.second) == pytest.approx((np.mean(values[0]), np.mean(values[1])))
    assert psnr.difference == pytest.approx(np.mean(np.subtract(*values)))
    assert (psnr.n, psnr.images, psnr.first_better, psnr.second_better, psnr.better) == (6, 6, 6, 0, "first")
    assert psnr.wide_low <= psnr.low <= psnr.difference <= psnr.high <= psnr.wide_high
    assert compare_folders(hr, (two, one), ["psnr"], Convention(), BOTH).metrics[0].better == "second"
    table, summary = found.write(tmp_path / "out")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["psnr difference"]) for row in rows] == pytest.approx(list(np.subtract(*values)))
    assert json.loads(summary.read_text())["metrics"]["psnr"]["wins"] == "first"
    with pytest.raises(ConfigError, match=r"already has compare\.csv, compare\.json"):
        found.write(tmp_path / "out")


def test_a_comparison_that_was_stopped_while_it_was_written_is_written_by_the_same_call(sets, tmp_path, monkeypatch):
    hr, one, two = sets
    found = compare_folders(hr, (one, two), ["psnr"], Convention(), BOTH)
    with monkeypatch.context() as patched:
        patched.setattr("srcache.study.quality.versus.Versions.plain", lambda _: _stop())
        with pytest.raises(KeyboardInterrupt):
            found.write(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("compare.*")] == ["compare.csv"]
    assert len(found.write(tmp_path / "out")) == 2
    with pytest.raises(ConfigError, match="already has"):
        found.write(tmp_path / "out")


def _stop():
    raise KeyboardInterrupt


def test_a_set_against_itself_is_not_shown_to_differ(sets):
    hr, one, _ = sets
    (psnr,) = compare_folders(hr, (one, one), ["psnr"], Convention(), BOTH).metrics
    assert (psnr.difference, psnr.low, psnr.high, psnr.better) == (0, 0, 0, None)


def test_images_equal_to_their_reference_are_left_out_and_counted(sets):
    hr, one, _ = sets
    (one / "a/3.png").write_bytes((hr / "a/3.png").read_bytes())
    (psnr,) = compare_folders(hr, (one, hr), ["psnr"], Convention(), BOTH).metrics
    assert (psnr.n, psnr.better, psnr.second_better) == (0, None, 5)
    assert "without 6 images of which one is its reference exactly" in psnr.note
    json.dumps(compare_folders(hr, (one, hr), ["psnr"], Convention(), BOTH).plain(), allow_nan=False)


def test_what_fails_in_one_is_compared_in_neither(sets):
    hr, one, two = sets
    (two / "a/0.png").write_bytes(b"no image")
    found = compare_folders(hr, (one, two), ["psnr"], Convention(), BOTH)
    assert (found.metrics[0].n, found.metrics[0].images) == (5, 6)
    assert "5 of 6 images could be measured in both" in found.metrics[0].note
    assert [one["set"] for one in found.plain()["failures"]] == ["second"]


def test_two_mod_crops_are_not_compared(tmp_path):
    hr, one = _folder(tmp_path / "hr", 0, size=(26, 30)), _folder(tmp_path / "one", 5, size=(26, 30))
    cut = tmp_path / "cut"
    for path in sorted(hr.rglob("*.png")):
        (cut / "a").mkdir(parents=True, exist_ok=True)
        (cut / "a" / path.name).write_bytes(encode(resize(picture(26, 30, 0)[:24, :28], (24, 28), "bicubic"), "png"))
    with pytest.raises(ConfigError, match=r"psnr was measured in two ways.*--mod-crop FACTOR"):
        compare_folders(hr, (one, cut), ["psnr"], Convention(), BOTH)
    with pytest.raises(CatalogError, match="do not pair by name"):
        compare_folders(hr, (one, _folder(tmp_path / "few", 5, 3, (26, 30))), ["psnr"], Convention(), BOTH)


def _report(rows, test, lower=True):
    values = list(rows.values())
    summary = Summary("niqe", float(np.mean(values)), len(values), lower, {}, "as is", median=float(np.median(values)))
    return QualityReport(
        reference=None,
        test=test,
        recipe=None,
        pairs=len(rows),
        rows={name: {"niqe": value} for name, value in rows.items()},
        summaries=(summary,),
    )


def test_without_references_lower_may_be_better_and_names_must_agree(monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    first = _report({f"{at}": 3 + rng.normal(0, 0.1) for at in range(20)}, "a")
    second = _report({f"{at}": 5 + rng.normal(0, 0.1) for at in range(20)}, "b")
    reports = {"a": first, "b": second, "c": _report({"x": 1.0}, "c")}
    monkeypatch.setattr(
        "srcache.study.quality.versus.measure_folders", lambda reference, test, *rest: reports[str(test)]
    )
    (niqe,) = compare_folders(None, ("a", "b"), ["niqe"], Convention(), BOTH).metrics
    assert (niqe.better, niqe.first_better, niqe.second_better) == ("first", 20, 0)
    assert niqe.difference < 0
    with pytest.raises(CatalogError, match=r"20 only in a: .*; 1 only in c: x"):
        compare_folders(None, ("a", "c"), ["niqe"], Convention(), BOTH)


def test_a_number_of_a_whole_set_has_no_interval():
    one, other = (Summary("fid", value, 9, True, {}, "as is") for value in (20.0, 30.0))
    report = _report({str(at): 1.0 for at in range(9)}, "a")
    found, values = _compare(one, other, (report, report))
    found = _finish(found, *_intervals([values], 0))
    assert (found.first, found.second, found.difference, found.n) == (20.0, 30.0, -10.0, 9)
    assert (found.low, found.better, found.first_better) == (None, None, 0)
    assert found.note.startswith("one number of a whole set")


def test_intervals_agree_with_scipys_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(5).exponential(2, 60)
    found = paired_intervals({"x": values, "one": [1.0], "infinite": [1.0, np.inf]}, 0.95, 0)
    reference = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=7)
    assert found["x"] == pytest.approx(tuple(reference.confidence_interval), abs=0.05)
    assert set(found) == {"x"}
    wide = paired_intervals({"x": values}, 0.99, 0)["x"]
    assert wide[0] < found["x"][0] < found["x"][1] < wide[1]
