"""Image quality and label safety on the page: real measurements, the distribution, what filters remove."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import Page, render

from srcache.study.report.data.labels import score
from srcache.study.report.sections.quality import histogram


def test_the_distribution_is_that_of_the_side_table(folder, results, tmp_path):
    path = tmp_path / results["safety"]["csv"]
    path.parent.mkdir(parents=True)
    path.write_bytes((folder / results["safety"]["csv"]).read_bytes())
    assert "36 SR images; from 0.31" in render(results, tmp_path)
    path.write_text("name,safe\n" + "x" * 200_000 + ",0.1\n")
    assert "36 SR images; from 0.31" in render(results, tmp_path), "of the results, where the table is no CSV"
    path.write_text("name,safe\nx,0.1\ny,\nz,nan\nw,word\nv,0.3\n")
    assert "2 SR images; from 0.10 to 0.30" in render(results, tmp_path)


@pytest.mark.medium
def test_a_real_measurement_of_quality_is_read(folder, results):
    pytest.importorskip("skimage")
    from srcache.study.quality.measure import measure_folders
    from srcache.study.quality.psnr_ssim import Convention

    report = measure_folders(folder / "pictures/hr", folder / "pictures/sr", ("psnr", "ssim"), Convention())
    plain = json.loads(json.dumps(report.plain()))
    page = Page(render({**results, "quality": {"sr": plain}}, folder))
    psnr = plain["metrics"]["psnr"]
    words = page.by_id("quality")["text"]
    assert score("psnr", psnr["mean"]) in words
    assert " to ".join(score("psnr", end) for end in psnr["interval"]) in words
    assert psnr["worst"][0]["name"] in words
    assert "scikit-image" in page.by_id("conventions")["text"]


@given(st.lists(st.floats(0, 1)), st.integers(1, 40))
def test_a_histogram_loses_nothing(values, steps):
    counts = histogram(values, steps)
    assert len(counts) == steps
    assert sum(counts) == len(values)
